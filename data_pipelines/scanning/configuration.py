"""Writes what was found in folders as a gin file, with the questions that remain."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping
from typing import Any

from data_pipelines.domains.folder import WITH_MASKS
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels import color_tables
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.scanning import inventory
from data_pipelines.scanning import layout as layouts
from data_pipelines.scanning import pictures

_SAMPLED = 40
_MAX_SIDE = 640
_STEP = 8
_SHOWN = 12
_MAIN_SHARE = 0.001
_MAIN_DISTANCE = 40


class Draft:
    """An unfinished configuration.

    Attributes:
        bindings: macro -> value, in the order of the file.
        facts: what was found, a line each.
        questions: what could not be told, a line each.
    """

    def __init__(self) -> None:
        self.bindings: dict[str, Any] = {}
        self.facts: list[str] = []
        self.questions: list[str] = []

    def write(self, command: str) -> str:
        """Returns the text of the gin file.

        Args:
            command: the command that wrote it.
        """
        lines = [f"# Written by: {command}"]
        lines += [f"# {line}" for line in self.facts]
        lines += [f"# TO DO: {line}" for line in self.questions]
        lines += ["# Lines below the include replace its own; lines above it do not."]
        lines += ["", 'include "folder.gin"', ""]
        lines += [f"{name} = {_to_gin(value)}" for name, value in self.bindings.items()]
        return "\n".join(lines) + "\n"


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
    _describe_labels(draft, source, found)
    if target is None:
        draft.questions.append("TARGET is the folder of the unlabelled images.")
        size_of = found
    else:
        size_of = layouts.find_layout(target)
        _bind_place(draft, "TARGET", target, size_of, masks=None)
    _choose_size(draft, size_of)
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
    for line in _list_unused(found):
        draft.facts.append(f"{root}: not used: {line}.")
    if any(what.startswith("prediction") for what in found.unused):
        draft.questions.append(f"Write predictions to another folder than {root}; move these.")
    if found.others:
        draft.questions.append(
            f"Other masks of {root} fit as many images, and are not used, such as "
            f"{', '.join(found.others[:_SHOWN])}."
        )


def _describe_labels(draft, root, found):
    if found.names is not None:
        _bind_names(draft, found.names)
        return
    content = pictures.summarize(layouts.sample_masks(found))
    if content.note:
        draft.facts.append(f"Masks: {content.note}.")
    draft.facts.append(f"Masks hold {content.kind}: {_list_shares(content.pixels)}.")
    if found.damaged:
        draft.questions.append(
            f"{len(found.damaged)} mask(s) cannot be decoded, such as {found.damaged[0]}."
        )
    if content.count + len(found.damaged) < len(found.mask_paths):
        draft.questions.append(
            f"{content.count} of {len(found.mask_paths)} masks were opened; others may hold more."
        )
    if found.table_pattern is not None:
        draft.bindings["COLOR_TABLE"] = found.table_pattern
        _bind_table_names(draft, [os.path.join(root, path) for path in found.tables])
    elif found.tables:
        path = os.path.join(root, found.tables[0])
        draft.bindings["COLOR_TABLE"] = path
        _bind_table_names(draft, [path])
        if len(found.tables) > 1:
            others = ", ".join(found.tables[1:])
            draft.questions.append(f"Other tables were found, and are not used: {others}.")
    elif content.kind == "ids":
        _bind_ids(draft, content)
    else:
        _bind_colors(draft, content)
    if content.kind == "lossy colors":
        draft.bindings["NEAREST_COLOR"] = True
        draft.questions.append("The masks are JPEG files; masks in PNG would be exact.")


def _bind_names(draft, names):
    background = next((name for name in names if name.lower() == "background"), None)
    rest = [name for name in names if name != background]
    draft.bindings["CLASS_NAMES"] = [background or "background", *rest]
    draft.bindings["BACKGROUND"] = draft.bindings["CLASS_NAMES"][0]
    draft.questions.append("BACKGROUND is the class of the pixels that no annotation covers.")


def _bind_table_names(draft, paths):
    names: dict[str, None] = {}
    for path in paths:
        colors, ids = color_tables.parse_file(files.read_bytes(path, 1 << 26), path)
        names.update(dict.fromkeys([*colors.values(), *(ids[key] for key in sorted(ids))]))
    draft.bindings["CLASS_NAMES"] = [name for name in names if name != "ignore"]
    draft.questions.append(
        "CLASS_NAMES has all names of the table. A name that is to be ignored: take it out, and "
        'bind ID_TABLE = {"NAME": 255}.'
    )


def _bind_ids(draft, content):
    pixels = content.pixels
    ids = [value for value in pixels if value != IGNORE_ID]
    if set(pixels) == {0, IGNORE_ID}:
        draft.bindings["CLASS_NAMES"] = ["background", "object"]
        draft.bindings["ID_TABLE"] = {0: 0, IGNORE_ID: 1}
    else:
        draft.bindings["CLASS_NAMES"] = [f"class_{value}" for value in ids]
        # In channels of colours 255 is ignored only if the table says so.
        if ids != list(range(len(ids))) or (content.note and IGNORE_ID in pixels):
            table = {value: index for index, value in enumerate(ids)}
            draft.bindings["ID_TABLE"] = {
                **table,
                **({IGNORE_ID: IGNORE_ID} if IGNORE_ID in pixels else {}),
            }
    draft.questions.append(
        "The files do not say what the ids mean: name the classes in CLASS_NAMES, in this order. "
        "An id that is no class: 255 in ID_TABLE."
    )


def _bind_colors(draft, content):
    colors = content.pixels
    if content.kind == "lossy colors" or len(colors) > IGNORE_ID:
        colors = _find_main_colors(colors)
        rest = 1 - sum(colors.values())
        draft.questions.append(
            f"{len(colors)} colours were chosen as those of classes. {100 * rest:.2g} % of the "
            "pixels inside areas have others: colours near these, and those of rare classes, which "
            "you have to add."
        )
    names = [f"class_{index}" for index in range(len(colors))]
    draft.bindings["CLASS_NAMES"] = names
    draft.bindings["COLOR_TABLE"] = dict(zip(names, colors))
    draft.questions.append(
        "The files do not say what the colours mean: name the classes in CLASS_NAMES and "
        'COLOR_TABLE. A colour that is no class: "ignore" in COLOR_TABLE alone.'
    )


def _find_main_colors(colors):
    """Returns frequent colours that are far apart: others come from compression and edges."""
    kept = {}
    for color in sorted(colors, key=lambda color: -colors[color]):
        if colors[color] > _MAIN_SHARE and all(math.dist(color, k) > _MAIN_DISTANCE for k in kept):
            kept[color] = colors[color]
    return kept


def _choose_size(draft, found):
    heights, widths = [], []
    problem = ""
    for path in inventory.take_evenly(found.image_paths, _SAMPLED):
        try:
            data = files.read_bytes(path, pictures.MAX_BYTES)
            header = decoding.read_picture_header(data)
        except UserError as error:
            problem = f"{path} {error}"
            continue
        heights.append(header.height)
        widths.append(header.width)
    if not heights:
        raise UserError(f"None of {len(found.image_paths)} images can be read: {problem}.")
    height, width = statistics.median(heights), statistics.median(widths)
    kinds = len(set(zip(heights, widths)))
    draft.facts.append(
        f"Images are {height:g} x {width:g} (height x width)"
        f"{f', the median of {kinds} sizes' if kinds > 1 else ''}."
    )
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = tuple(max(_STEP, _STEP * round(scale * side / _STEP)) for side in (height, width))
    draft.bindings["SIZE"] = size
    draft.bindings["CROP"] = tuple(min(256, side) for side in size)


def _list_shares(pixels: Mapping) -> str:
    most = sorted(pixels, key=lambda key: -pixels[key])
    shown = ", ".join(f"{key} {100 * pixels[key]:.2g} %" for key in most[:_SHOWN])
    return shown + (f", and {len(most) - _SHOWN} more" if len(most) > _SHOWN else "")


def _to_gin(value):
    """Returns a value as gin reads it; strings in double quotes, as the shipped files have."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        inner = ", ".join(f"{_to_gin(key)}: {_to_gin(item)}" for key, item in value.items())
        text = "{" + inner + "}"
        if len(text) > 80:
            rows = [f"    {_to_gin(key)}: {_to_gin(item)}," for key, item in value.items()]
            return "{\n" + "\n".join(rows) + "\n}"
        return text
    if isinstance(value, list):
        return "[" + ", ".join(map(_to_gin, value)) + "]"
    return repr(value)
