"""Inspection of an experiment's data before training."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from data_pipelines.batches import training_batches
from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.io import decoding
from data_pipelines.io import files as data_files
from drsl_tf import files
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.figures import contact_sheet
from drsl_tf.runs.run_directory import RunDirectory

_SHOWN_SIZES = 5


def inspect_experiment(
    gin_files: Sequence[str], gin_params: Sequence[str], run_dir: str, path: str, count: int = 4
) -> str:
    """Audits an experiment's data, describes them and draws a contact sheet.

    Args:
        gin_files: configuration files.
        gin_params: bindings that override them.
        run_dir: directory of the later run, which reuses the audit and the counts.
        path: the PNG to write.
        count: images of each domain.

    Returns:
        The description, a text of several lines.

    Raises:
        UserError: the configuration or the data cannot be used.
    """
    experiment = Experiment(gin_files, gin_params)
    data = experiment.get("data")
    data.audit(RunDirectory(run_dir).audit)
    if experiment.get("schedule").rounds:
        data.check_target()
    data.check_scored()
    text = describe_data(data)
    sections = list_examples(data, seed=experiment.get("settings").seed, count=count)
    sheet = contact_sheet.draw_contact_sheet(sections, data.label_space)
    files.write_png(path, sheet)
    return text


def describe_data(data: AdaptationData) -> str:
    """Describes every split: images, sizes, and pixels by class.

    Args:
        data: audited data.

    Returns:
        Text of several lines.
    """
    names = data.label_space.class_names
    lines = []
    for role, (domain, split, pairs) in data.list_splits().items():
        counts = data.count_classes(role)
        labelled = "without labels" if counts is None else "with labels"
        lines.append(f"{role}: {domain.name}, split {split!r}: {len(pairs)} images {labelled}")
        sizes = _count_sizes(domain, pairs)
        shown = [f"{h} x {w} ({n})" for (h, w), n in sizes.most_common(_SHOWN_SIZES)]
        more = f" and {len(sizes) - _SHOWN_SIZES} more" if len(sizes) > _SHOWN_SIZES else ""
        lines.append(f"  height x width (images): {', '.join(shown)}{more}")
        if counts is not None:
            total = sum(height * width * n for (height, width), n in sizes.items())
            lines += _format_classes(names, counts, total)
            absent = [name for name, n in zip(names, counts.sum(axis=0)) if not n]
            if absent:
                lines.append(f"  warning: no label here holds {', '.join(absent)}")
        lines.append("")
    if "eval" not in data.list_splits():
        lines += ["eval: the target's evaluation split has no labels; scores will be null", ""]
    return "\n".join(lines)


def list_examples(data: AdaptationData, *, seed: int, count: int) -> list[contact_sheet.Section]:
    """Lists the first images that training draws, augmented.

    Args:
        data: audited data.
        seed: the experiment's seed.
        count: images of each domain.

    Returns:
        One section for the source and one for the target, as in the first steps of rounds of stored
        pseudo-labels without a sampler or miner, the target with its own labels if it has any.
    """
    source, target = data.make_source_stream(), data.make_true_target_stream()
    streams = {"target": target} if source is None else {"source": source, "target": target}
    steps = max(-(-count // stream.batch_size) for stream in streams.values())
    batches = training_batches.make_training_batches(
        source, target, steps=steps, seed=seed, round_index=0
    )
    drawn: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {role: [] for role in streams}
    for batch in batches.as_numpy_iterator():
        for role in streams:
            half = batch[role]
            drawn[role] += zip(half["image"], half["label"])
    sections = []
    for role, stream in streams.items():
        domain, split, _ = data.list_splits()[role]
        note = ""
        if role == "target":
            has = stream.read_label is not None
            note = "; its own labels, which it never trains on" if has else "; it has no labels"
        pairs = [
            pair
            for step in range(steps)
            for pair in training_batches.list_batch(
                stream, role, step=step, seed=seed, round_index=0
            )
        ]
        examples = [
            contact_sheet.Example(pair.name, image, None if stream.read_label is None else label)
            for pair, (image, label) in zip(pairs[:count], drawn[role])
        ]
        height, width = examples[0].image.shape[:2]
        title = f"{role}: {domain.name}, {split}, cropped to {height} x {width}{note}"
        sections.append(contact_sheet.Section(title, examples))
    return sections


def _count_sizes(domain, pairs):
    """Counts the (height, width) of images, read from their headers."""
    sizes = collections.Counter()
    for pair in pairs:
        content = data_files.read_bytes(pair.image_path, domain.max_bytes)
        header = decoding.read_picture_header(content, domain.max_pixels)
        sizes[header.height, header.width] += 1
    return sizes


def _format_classes(names, counts, total):
    width = max(len("class"), *(len(name) for name in (*names, "ignored")))
    pixels = counts.sum(axis=0)
    lines = [f"  {'class':<{width}}  {'pixels (%)':>10}  {'in images':>9}"]
    for name, share, images in zip(names, pixels / total, (counts > 0).sum(axis=0)):
        lines.append(f"  {name:<{width}}  {100 * share:>10.3f}  {images:>9}")
    ignored = 1 - pixels.sum() / total
    lines.append(f"  {'ignored':<{width}}  {100 * ignored:>10.3f}")
    return lines
