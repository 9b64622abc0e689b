"""The bindings of classes: what masks hold, and the tables that name it."""

from __future__ import annotations

import math
import os
from collections.abc import Container
from collections.abc import Mapping
from typing import NamedTuple

from data_pipelines.io import files
from data_pipelines.io.patterns import is_pattern
from data_pipelines.labels import color_tables
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.scanning import layout as layouts
from data_pipelines.scanning import pictures
from data_pipelines.scanning.draft import Draft
from data_pipelines.scanning.layout import Layout

_SHOWN = 12
_MAIN_SHARE = 0.001
_MAIN_DISTANCE = 40
_IGNORED_SHARE = 0.01
_MAX_STRAY = 16
_BINDINGS = {"ids": "id_table", "colors": "color_table"}


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


def bind_labels(draft: Draft, root: str, found: Layout) -> tuple[str, Container]:
    """Binds what masks hold.

    Args:
        draft: gets bindings, facts and questions.
        root: folder of the masks.
        found: its layout, with masks.

    Returns:
        What they hold, "names", "ids" or "colors", and those that are bound, but for names.
    """
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
        ids = {
            value: IGNORE_ID if name == "ignore" else classes.index(name)
            for value, name in names.items()
        }
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
                f"255 ({100 * pixels[IGNORE_ID]:.3g} %) is ignored; give it a class if it is one."
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


def compare_labels(draft: Draft, root: str, found: Layout, kind: str, values: Container) -> None:
    """Asks for a table of the target's own where its masks hold what the source's do not.

    Args:
        draft: gets a question.
        root: the target's folder.
        found: its layout, with masks.
        kind: what `bind_labels` returned for the source.
        values: the same.
    """
    if found.names is not None:
        names = [name for name in found.names if name not in draft.bindings["CLASS_NAMES"]]
        if not names:
            return
        problem = f"label {', '.join(names[:_SHOWN])}, which CLASS_NAMES lacks"
        binding = _BINDINGS["ids"]
    else:
        content = pictures.summarize(layouts.sample_masks(found))
        own_kind = content.kind.removeprefix("lossy ")
        if kind == "colors" and _share_covered(kind, values, content) > 0.5:
            own_kind = kind
        held = content.colors if own_kind == "colors" else content.pixels
        nearest = own_kind == kind and "NEAREST_COLOR" in draft.bindings
        extra = {value: held[value] for value in held if value not in values and not nearest}
        if not extra:
            return
        problem = f"hold {own_kind} that those of the source lack: {_list_shares(extra)}"
        binding = _BINDINGS[own_kind]
        if kind in _BINDINGS and kind != own_kind:
            binding += f", with target/folder.Folder.{_BINDINGS[kind]} = None"
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


def _list_shares(pixels: Mapping) -> str:
    most = sorted(pixels, key=lambda key: -pixels[key])
    shown = ", ".join(f"{key} {100 * pixels[key]:.3g} %" for key in most[:_SHOWN])
    return shown + (f", and {len(most) - _SHOWN} more" if len(most) > _SHOWN else "")
