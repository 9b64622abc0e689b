"""Pixels of every class in every label map, counted once and stored."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.io import files
from data_pipelines.io import whole_files
from data_pipelines.map_ahead import count_threads
from data_pipelines.map_ahead import map_ahead

# Increased whenever the meaning of the counts changes, which makes older files invalid.
_SCHEMA = 2


def count_pixels(
    pairs: Sequence[Pair],
    read_label: Callable[[str], np.ndarray],
    class_names: Sequence[str],
    *,
    domain: Domain | None = None,
    path: str | None = None,
    description: str = "counting classes",
) -> np.ndarray:
    """Counts the pixels of every class in every label map.

    Args:
        pairs: images with label maps.
        read_label: path -> (H, W) uint8, classes 0..C-1 or 255.
        class_names: names of the C classes.
        domain: the reader whose tables `read_label` applies, if any; they are part of the
            fingerprint.
        path: JSON file of the counts; read instead of the labels if it was computed from the same
            files (by path, size and modification time) and the same tables, otherwise written.
            None stores nothing.
        description: text of the progress bar.

    Returns:
        (len(pairs), C) int64.
    """
    fingerprint = _take_fingerprint(pairs, class_names, domain)
    kept = None if path is None else _read(path, fingerprint, (len(pairs), len(class_names)))
    if kept is not None:
        return kept

    def count(pair):
        label = read_label(pair.label_path)
        return np.bincount(label.reshape(-1), minlength=256)[: len(class_names)].copy()

    from data_pipelines.progress import make_progress_bar

    workers = count_threads()
    with make_progress_bar(len(pairs), description, "label") as bar:
        rows = []
        for row in map_ahead(count, pairs, workers):
            rows.append(row)
            bar.update(1)
    counts = np.array(rows, np.int64).reshape(len(pairs), len(class_names))
    if path is not None:
        _write(path, fingerprint, pairs, class_names, counts)
    return counts


def _take_fingerprint(pairs, class_names, domain):
    labels = [pair.label_path for pair in pairs]
    tables = []
    if domain is not None:
        tables = [sorted(domain.id_table().items()), domain.label_key()]
        labels = [path for label in labels for path in domain.label_files(label)]
    files_read = [[path, files.read_status(path)] for path in dict.fromkeys(labels)]
    content = [_SCHEMA, list(class_names), tables, files_read]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read(path, fingerprint, shape):
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "r") as file:
            content = json.loads(file.read())
        counts = np.array(list(content["images"].values()), np.int64)
        return counts if content["fingerprint"] == fingerprint and counts.shape == shape else None
    except (tf.errors.OpError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        # Absent or invalid: the labels are counted again.
        return None


def _write(path, fingerprint, pairs, class_names, counts):
    import tensorflow as tf

    total = counts.sum(axis=0)
    content = {
        "schema": _SCHEMA,
        "fingerprint": fingerprint,
        "class_names": list(class_names),
        "pixels": dict(zip(class_names, total.tolist())),
        "images": {pair.name: row for pair, row in zip(pairs, counts.tolist())},
    }
    try:
        whole_files.make_folder(os.path.dirname(path))
        whole_files.write_whole(
            path, lambda file: file.write((json.dumps(content) + "\n").encode()), shared=True
        )
    except (OSError, tf.errors.OpError) as error:
        logging.warning(
            "The class statistics %s cannot be written: %s",
            files.describe_path(path),
            getattr(error, "message", error),
        )
