"""Writes what was found in folders as a gin file, with the questions that remain."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

from data_pipelines.domains.folder import WITH_MASKS
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io.patterns import is_pattern
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
_IGNORED_SHARE = 0.01
_MAX_STRAY = 16
_MAX_RATIO = 0.1


class _Table(NamedTuple):
    """A table that names what masks hold.

    Attributes:
        place: the file, or the pattern of files of which each mask has one.
        kind: "ids" or "colors".
        names: id, or colour -> name; of several files the last one's.
        classes: all names but "ignore", in the files' order.
    """

    place: str
    kind: str
    names: dict
    classes: list[str]


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
    labels = _describe_labels(draft, source, found)
    places = {source: found}
    if target is None:
        draft.questions.append("TARGET is the folder of the unlabelled images.")
    else:
        places[target] = layouts.find_layout(target)
        _bind_place(draft, "TARGET", target, places[target], masks=None)
        if places[target].masks is not None:
            _compare_labels(draft, target, places[target], *labels)
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
    if any(what.startswith("prediction") for what in found.unused):
        draft.questions.append(f"Write predictions to another folder than {root}; move these.")
    if found.others:
        draft.questions.append(
            f"Other masks of {root} fit as many images, and are not used, such as "
            f"{', '.join(found.others[:_SHOWN])}."
        )


def _describe_labels(draft, root, found):
    """Binds what masks hold; returns its kind, and all ids or colours that are bound."""
    if found.names is not None:
        _bind_names(draft, found.names)
        return "names", ()
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
    table = _choose_table(draft, root, found, content)
    if table is not None:
        labels = _bind_table(draft, root, content, table)
    elif content.kind == "ids":
        labels = _bind_ids(draft, content)
    else:
        labels = _bind_colors(draft, content)
    if content.kind == "lossy colors":
        draft.bindings["NEAREST_COLOR"] = True
        draft.questions.append("The masks are JPEG files; masks in PNG would be exact.")
    return labels


def _bind_names(draft, names):
    background = next((name for name in names if name.lower() == "background"), None)
    rest = [name for name in names if name != background]
    draft.bindings["CLASS_NAMES"] = [background or "background", *rest]
    draft.bindings["BACKGROUND"] = draft.bindings["CLASS_NAMES"][0]
    draft.questions.append("BACKGROUND is the class of the pixels that no annotation covers.")


def _choose_table(draft, root, found, content):
    """Returns the table that names most of what the masks hold; None where none names the half."""
    tables = [_read_table(root, place, paths) for place, paths in found.tables.items()]
    shares = [_share_covered(table.kind, table.names, content) for table in tables]
    best = tables[shares.index(max(shares))] if max(shares, default=0) > 0.5 else None
    others = [
        f"{table.place} ({', '.join(table.classes[:_SHOWN])})"
        for table in tables
        if best is None or table.names != best.names
    ]
    if others:
        what = "Other tables were found, and"
        if best is None:
            what = "Masks hold other values than the tables that were found, which"
        draft.questions.append(f"{what} are not used: {'; '.join(others[:_SHOWN])}.")
    return best


def _read_table(root, place, paths):
    colors: dict[color_tables.Color, str] = {}
    ids: dict[int, str] = {}
    classes: dict[str, None] = {}
    for path in paths:
        data = files.read_bytes(os.path.join(root, path), 1 << 26)
        own_colors, own_ids = color_tables.parse_file(data, path)
        colors.update(own_colors)
        ids.update(own_ids)
        names = [*own_colors.values(), *(own_ids[key] for key in sorted(own_ids))]
        classes.update(dict.fromkeys(name for name in names if name != "ignore"))
    return _Table(place, "colors" if colors else "ids", colors or ids, list(classes))


def _share_covered(kind, names, content):
    """Returns for how much of what masks hold there are names."""
    if not content.pixels:
        return 1.0
    if content.kind == "lossy colors" or (content.kind == "colors" and kind == "ids"):
        return float(kind == "colors")
    pixels = content.colors if kind == "colors" else content.pixels
    # All kinds of masks have black pixels, and many tables lack them.
    pixels = {value: pixels[value] for value in pixels if value not in (0, (0, 0, 0))} or pixels
    known = [pixels[value] for value in pixels if value in names]
    return max(len(known) / len(pixels), sum(known) / sum(pixels.values()))


def _bind_table(draft, root, content, table):
    place, kind, names, classes = table
    draft.bindings["COLOR_TABLE"] = place if is_pattern(place) else os.path.join(root, place)
    draft.bindings["CLASS_NAMES"] = classes
    draft.questions.append(
        "CLASS_NAMES has all names of the table. A name that is to be ignored: take it out, and "
        'bind ID_TABLE = {"NAME": 255}.'
    )
    held = content.colors if kind == "colors" else content.pixels
    stray = {value: held[value] for value in held if value not in names}
    if content.kind == "lossy colors" or not stray:
        return kind, names
    problem = f"{place} lacks {kind} that the masks hold: {_list_shares(stray)}"
    if kind == "colors" and len(stray) > _MAX_STRAY:
        draft.bindings["NEAREST_COLOR"] = True
        advice = "Smooth edges hold so many: each counts as the nearest one of the table."
    elif is_pattern(place):
        advice = "Add them to these files."
    elif kind == "colors":
        colors: dict[str, list] = {}
        for value, name in [*names.items(), *dict.fromkeys(stray, "ignore").items()]:
            colors.setdefault(name, []).append(value)
        draft.bindings["COLOR_TABLE"] = {
            name: listed if listed[1:] else listed[0] for name, listed in colors.items()
        }
        advice = 'They are "ignore" in COLOR_TABLE; give them a class if they are one.'
    else:
        del draft.bindings["COLOR_TABLE"]
        ids = {value: classes.index(name) for value, name in names.items() if name in classes}
        draft.bindings["ID_TABLE"] = {**ids, **dict.fromkeys(stray, IGNORE_ID)}
        advice = "They are 255 in ID_TABLE, ignored; give them a class if they are one."
    draft.questions.append(f"{problem}. {advice}")
    return kind, {**names, **stray}


def _bind_ids(draft, content):
    pixels = content.pixels
    ids = [value for value in pixels if value != IGNORE_ID]
    shades = {value // 32 for value in ids[1:]}
    if {0, IGNORE_ID} <= set(pixels) <= {0, 1, IGNORE_ID} and content.binary:
        draft.bindings["CLASS_NAMES"] = ["background", "object"]
        draft.bindings["ID_TABLE"] = {0: 0, **dict.fromkeys([*ids[1:], IGNORE_ID], 1)}
        if 1 in pixels:
            draft.questions.append(
                "Some masks hold 1 and others 255, as files of 1 bit and of 8 do; both are bound "
                'to "object".'
            )
    elif pixels.get(0, 0) + pixels.get(IGNORE_ID, 0) > 0.5 and shades == set(range(8)):
        draft.bindings["CLASS_NAMES"] = ["background", "object"]
        draft.bindings["COLOR_TABLE"] = {"background": (0, 0, 0), "object": (255, 255, 255)}
        draft.bindings["NEAREST_COLOR"] = True
        draft.questions.append(
            "The masks hold black, white and greys of all shades, as smooth edges do: a grey "
            "counts as the nearest of both."
        )
        return "colors", content.colors
    else:
        draft.bindings["CLASS_NAMES"] = [f"class_{value}" for value in ids]
        # In channels of colours 255 is ignored only if the table says so.
        if ids != list(range(len(ids))) or (content.note and IGNORE_ID in pixels):
            table = {value: index for index, value in enumerate(ids)}
            draft.bindings["ID_TABLE"] = {
                **table,
                **({IGNORE_ID: IGNORE_ID} if IGNORE_ID in pixels else {}),
            }
        if pixels.get(IGNORE_ID, 0) > _IGNORED_SHARE:
            draft.questions.append(
                f"255 ({100 * pixels[IGNORE_ID]:.2g} %) is ignored; give it a class if it is one."
            )
    draft.questions.append(
        "The files do not say what the ids mean: name the classes in CLASS_NAMES, in this order. "
        "An id that is no class: 255 in ID_TABLE."
    )
    return "ids", pixels


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
    return "colors", colors


def _compare_labels(draft, root, found, kind, values):
    """Asks for a table of the target's own where its masks hold what the source's do not."""
    if found.names is not None:
        extra = [name for name in found.names if name not in draft.bindings["CLASS_NAMES"]]
        problem = f"label {', '.join(extra[:_SHOWN])}, which CLASS_NAMES lacks"
        binding = "id_table"
    else:
        content = pictures.summarize(layouts.sample_masks(found))
        own_kind = content.kind.removeprefix("lossy ")
        if kind == "colors" and _share_covered(kind, values, content) > 0.5:
            own_kind = kind
        held = content.colors if own_kind == "colors" else content.pixels
        nearest = own_kind == kind and "NEAREST_COLOR" in draft.bindings
        extra = {value: held[value] for value in held if value not in values and not nearest}
        problem = f"hold {own_kind} that those of the source lack: {_list_shares(extra)}"
        binding = "color_table" if own_kind == "colors" else "id_table"
        if {own_kind, kind} == {"ids", "colors"}:
            other = "id_table" if own_kind == "colors" else "color_table"
            binding += f", with target/folder.Folder.{other} = None"
    if extra:
        draft.questions.append(
            f"The masks of {root} {problem}. Unless the bindings of the source are right for them, "
            f"bind target/folder.Folder.{binding}."
        )


def _find_main_colors(colors):
    """Returns frequent colours that are far apart: others come from compression and edges."""
    kept = {}
    for color in sorted(colors, key=lambda color: -colors[color]):
        if colors[color] > _MAIN_SHARE and all(math.dist(color, k) > _MAIN_DISTANCE for k in kept):
            kept[color] = colors[color]
    return kept


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
