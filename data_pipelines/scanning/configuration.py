"""Drafts the configuration of what was found in folders."""

from __future__ import annotations

import math
import os
import statistics

from data_pipelines.domains.folder import WITH_MASKS
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.scanning import inventory
from data_pipelines.scanning import label_bindings
from data_pipelines.scanning import layout as layouts
from data_pipelines.scanning import pictures
from data_pipelines.scanning.draft import Draft

_SAMPLED = 40
_MAX_SIDE = 640
_STEP = 8
_SHOWN = 12
_MAX_RATIO = 0.1


def draft_configuration(source: str, target: str | None) -> Draft:
    """Looks at the folders and drafts their configuration.

    Args:
        source: folder of the labelled images.
        target: folder of the unlabelled ones; None leaves it to the user.

    Returns:
        The draft.

    Raises:
        UserError: a folder has no images, or the source no masks.
    """
    draft = Draft()
    found = layouts.find_layout(source)
    if found.masks is None:
        raise UserError(
            f"{os.path.abspath(source)} holds {len(found.image_paths)} image(s) and no mask that "
            "fits their names; the first folder is the labelled one, and one export: of several in "
            "it, name one. Masks are pictures of ids or colours, files of LabelMe, or a COCO file. "
            "Other files: "
            f"{'; '.join(_list_unused(found)) or 'none'}."
        )
    _bind_place(draft, "SOURCE", source, found, masks="masks")
    labels = label_bindings.bind_labels(draft, source, found)
    places = {source: found}
    if target is None:
        draft.questions.append("TARGET is the folder of the unlabelled images.")
    else:
        places[target] = layouts.find_layout(target)
        _bind_place(draft, "TARGET", target, places[target], masks=None)
        if places[target].masks is not None:
            label_bindings.compare_labels(draft, target, places[target], *labels)
    _choose_size(draft, places)
    return draft


def _list_unused(found):
    return [f"{len(paths)} x {what}, such as {paths[0]}" for what, paths in found.unused.items()]


def _bind_place(draft, prefix, root, found, masks):
    draft.bindings[prefix] = root
    for name, value, default in (
        ("IMAGES", found.images, "images"),
        ("MASKS", found.masks, masks),
    ):
        if value != default:
            draft.bindings[f"{prefix}_{name}"] = value
    if found.mask_suffix:
        draft.bindings[f"{prefix}_MASK_SUFFIX"] = found.mask_suffix
    splits = dict(found.splits)
    if prefix == "TARGET":
        splits.setdefault("val", WITH_MASKS)
        default_splits = {"train": "", "val": WITH_MASKS}
    else:
        default_splits = {"train": ""}
    if splits != default_splits:
        draft.bindings[f"{prefix}_SPLITS"] = splits
    with_masks = f", {len(found.mask_paths)} with a mask" if found.mask_paths else ""
    draft.facts.append(f"{root}: {len(found.image_paths)} image(s){with_masks}.")
    if found.without_mask and found.splits == {"train": ""} and prefix == "SOURCE":
        draft.questions.append(
            f"{found.without_mask} image(s) of {root} have no mask; the inspection names them and "
            "says how to leave them out."
        )
    untrained = len(found.mask_paths) - found.trained
    if untrained and prefix == "SOURCE":
        in_pattern = "{split}" in found.images + found.masks
        advice = "" if in_pattern else '; SOURCE_SPLITS = {"train": ""} trains on all'
        draft.facts.append(
            f'{root}: {untrained} image(s) with a mask are not in the split "train", and not '
            f"trained on{advice}."
        )
    for line in _list_unused(found):
        draft.facts.append(f"{root}: not used: {line}.")
    if prefix == "TARGET" and inventory.PREDICTIONS & set((found.masks or "").split("/")):
        draft.questions.append(
            "TARGET_MASKS count as true labels: if they are predictions, leave the binding out."
        )
    if any(what.startswith("prediction") for what in found.unused):
        draft.questions.append(f"Write predictions to another folder than {root}; move these.")
    if found.others:
        draft.questions.append(
            f"Other masks of {root} fit as many images, and are not used, such as "
            f"{', '.join(found.others[:_SHOWN])}."
        )


def _choose_size(draft, places):
    """Binds a size of the most frequent aspect ratio of the images of the last place."""
    sizes = {root: _sample_sizes(found.image_paths) for root, found in places.items()}
    *_, listed = sizes.values()
    ratios = [round(_log_ratio(*size), 1) for size in listed]
    mode = statistics.mode(ratios)
    usual = [size for size, ratio in zip(listed, ratios) if ratio == mode]
    height, width = map(statistics.median, zip(*usual))
    kinds = len(set(listed))
    draft.facts.append(
        f"Images are {height:g} x {width:g} (height x width)"
        f"{f', the median of the most frequent shape of {kinds} sizes' if kinds > 1 else ''}."
    )
    for root, listed in sizes.items():
        others = [
            size
            for size in listed
            if abs(_log_ratio(*size) - _log_ratio(height, width)) > _MAX_RATIO
        ]
        if others:
            draft.questions.append(
                f"{len(others)} of {len(listed)} images of {root} that were looked at have another "
                f"aspect ratio than SIZE, such as {others[0][0]} x {others[0][1]}, and are "
                "distorted to it: crop them, or bind SOURCE_SIZE or TARGET_SIZE."
            )
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = tuple(max(_STEP, _STEP * round(scale * side / _STEP)) for side in (height, width))
    draft.bindings["SIZE"] = size
    draft.bindings["CROP"] = tuple(min(256, side) for side in size)


def _sample_sizes(paths):
    """Returns (height, width) of some images."""
    sizes = []
    problem = ""
    for path in inventory.take_evenly(paths, _SAMPLED):
        try:
            header = decoding.read_picture_header(files.read_bytes(path, pictures.MAX_BYTES))
        except UserError as error:
            problem = f"{path} {error}"
            continue
        sizes.append((header.height, header.width))
    if not sizes:
        raise UserError(f"None of {len(paths)} images can be read: {problem}.")
    return sizes


def _log_ratio(height, width):
    return math.log(width / height)
