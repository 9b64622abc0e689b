"""Finds out where the images and masks of an unknown folder are, and how they pair."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator

import numpy as np
from absl import logging

from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.io import color_masks
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.scanning import inventory
from data_pipelines.scanning import pictures

_SAMPLE = 4
_MAX_CLASSES = 100
_MAX_BINARY = 40
_MAX_MASKS = 1000
_MAX_VALUES = 300_000_000


@dataclasses.dataclass
class Layout:
    """Where the files of a folder are, in the words of `folder.Folder`.

    Attributes:
        images: `Folder.images`.
        masks: `Folder.masks`; None without masks.
        mask_suffix: `Folder.mask_suffix`.
        splits: `Folder.splits`.
        image_paths: all images.
        mask_paths: the masks of the pairs, as `Folder` names them.
        without_mask: number of images without a mask, where there are masks.
        trained: number of masks of the split "train".
        others: masks of other kinds, of which as many fit; the first of each kind.
        unused: what other files are -> their paths.
        tables: files that name the colours or ids of masks; or the pattern of files of which each
            mask has one -> these files.
        names: names in the polygons, for masks that are JSON.
        damaged: masks that `sample_masks` could not decode.
    """

    images: str
    masks: str | None
    mask_suffix: str
    splits: dict[str, str]
    image_paths: list[str]
    mask_paths: list[str]
    without_mask: int
    trained: int
    others: list[str]
    unused: dict[str, list[str]]
    tables: dict[str, list[str]]
    names: list[str] | None = None
    damaged: list[str] = dataclasses.field(default_factory=list)


def find_layout(root: str) -> Layout:
    """Looks at a folder.

    Args:
        root: a local folder.

    Returns:
        Its layout.

    Raises:
        UserError: there is no image.
    """
    if "://" in root:
        raise UserError(f"{root}: the scan reads local folders only; copy a sample to one.")
    if not os.path.isdir(root):
        raise UserError(f"There is no folder {os.path.abspath(root)}.")
    found = inventory.take_inventory(root)
    photos = found.photos
    if not photos:
        kinds = ", ".join(sorted({os.path.splitext(path)[1] or path for path in found.paths})[:10])
        masks = sum(map(len, found.masks[-1:]))
        raise UserError(
            f"{os.path.abspath(root)} holds no photo among its {len(found.paths)} file(s)"
            f"{f' ({kinds})' if kinds else ''}; images are {', '.join(Folder.image_suffixes)}"
            + (f", and {masks} of them look like masks." if masks else ".")
        )
    best = Layout(_place_images(found), None, "", {}, [], [], 0, 0, [], {}, {})
    labels: dict[str, list[str]] = {}
    seen: set[str] = set()
    with files.listed_once(), _without_notes():
        for most, description in _list_descriptions(root, found):
            if most < len(labels):
                continue
            tried = _try(root, description)
            new = {file for listed in tried.values() for file in listed}
            if len(tried) > len(labels):
                labels, seen, best.others = tried, new, []
                best.images, best.masks, best.mask_suffix, best.names = description
            elif labels and len(tried) == len(labels) and seen.isdisjoint(new):
                best.others.append(os.path.relpath(min(new), root).replace("\\", "/"))
                seen |= new
        best.splits = _find_splits(photos, best)
        if best.masks is not None:
            description = best.images, best.masks, best.mask_suffix, best.names
            best.trained = len(_try(root, description, {"train": best.splits["train"]}))
            best.tables = _sort_tables(root, description, found.tables, len(labels))
    best.image_paths = [os.path.join(root, path) for path in photos]
    best.mask_paths = list(labels)
    if best.masks is not None:
        best.without_mask = len(photos) - len(labels)
    best.unused = _count_unused(root, found, best, labels)
    return best


@contextlib.contextmanager
def _without_notes():
    """Leaves out what readers note in the log: most descriptions that are tried do not apply."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _place_images(found):
    """Returns the folder of the images, or their pattern where predictions are in it."""
    folder = _common_folder(found.photos)
    if any(path.startswith(f"{folder}/" if folder else "") for path in found.predictions):
        return _describe(found.photos)
    return folder or "."


def _sort_tables(root, description, tables, count):
    """Returns `Layout.tables`, those of all masks first."""
    groups = collections.defaultdict(list)
    for path in tables:
        groups[re.sub(r"\d+", "#", path)].append(path)
        groups[os.path.splitext(path)[1]].append(path)
    patterns = {
        _describe(paths): paths
        for paths in groups.values()
        if 1 < len(paths) >= count
        and len(_try(root, description, color_table=_describe(paths))) == count
    }
    own = {path for paths in patterns.values() for path in paths}
    return {**{path: [path] for path in tables if path not in own}, **patterns}


def _join_names(listed):
    """Returns the names of all files, without those that every mask may have."""
    names = dict.fromkeys(name for names in listed.values() for name in names)
    return [name for name in names if name not in ("ignore", "__ignore__", "_background_")]


def _common_folder(paths):
    return os.path.commonpath([os.path.dirname(path) or "." for path in paths]).strip(".")


def _list_descriptions(root, found):
    """Yields (most pairs, (images, masks, mask_suffix, names in the masks)), the simplest first."""
    photos, labelme, coco = found.photos, found.labelme, found.coco
    images = _place_images(found)
    for group in found.masks:
        for masks, classes in _list_layers(root, photos, group):
            place = images
            # A folder has the pictures of its sub-folders too, and so would have these masks.
            if images == "." or masks.startswith(f"{images}/"):
                place = "/".join(filter(None, (_common_folder(photos), f"*{_find_ending(photos)}")))
            yield len(group), (place, masks, "", classes)
    shapes = (list(labelme), sorted(_join_names(labelme)))
    for group, names in [*((group, None) for group in found.masks), shapes]:
        if not group:
            continue
        folder = _common_folder(group) or "."
        suffix = _trim(os.path.commonprefix([inventory.stem(path)[::-1] for path in group]))[::-1]
        for ending in ("", suffix):
            if ending or images != folder:
                yield len(group), (images, folder, ending, names)
        yield len(group), (_describe(photos), _describe(group), "", names)
        anywhere = _describe(photos, any_depth=True), _describe(group, any_depth=True)
        yield len(group), (*anywhere, "", names)
    places = [_describe(list(coco)).replace("*", "{split}")] if len(coco) > 1 else []
    for place in (*places, *coco):
        names = _join_names(coco if place in places else {place: coco[place]})
        for folder in (images, _describe(photos)):
            yield len(photos), (folder, place, "", names)


def _list_layers(root, photos, group):
    """Yields (masks, classes) for masks that may be a picture for each class."""
    stems = set(map(inventory.stem, photos))
    own = [inventory.stem(path) for path in group]
    parents = [os.path.basename(os.path.dirname(path)) for path in group]
    folder = os.path.dirname(group[0])
    above = os.path.dirname(folder)
    places = [("{name}/{class}", above, parents, own), ("{class}/{name}", above, own, parents)]
    for mark in "_-.":
        names, _, classes = zip(*(text.rpartition(mark) for text in own))
        places.append((f"{{name}}{mark}{{class}}", folder, names, classes))
    for place, start, names, classes in places:
        kinds = sorted(set(classes))
        if not (set(names) <= stems and 1 < len(kinds) < _MAX_CLASSES):
            continue
        # A folder that is named as an image holds its classes. A folder of another name may be that
        # of a scene, and an ending that of another kind of mask.
        if place == "{name}/{class}" or (
            len(group) > len(set(names))
            and not any(map(inventory.find_split_word, kinds))
            and _are_binary(root, [path for _, path in sorted(zip(classes, group))])
        ):
            yield "/".join(filter(None, (start, f"{place}.*"))), kinds


def _are_binary(root, paths):
    """Returns whether masks hold 0 and at most one other value; samples are opened."""
    for path in inventory.take_evenly(paths, _MAX_BINARY):
        mask = pictures.read_mask(os.path.join(root, path))
        values = [] if mask is None else np.unique(color_masks.pack(color_masks.to_rgb(mask)))
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            return False
    return True


def _trim(text):
    """Cuts a common start of names behind its last separator, so that it cuts no name."""
    return text[: re.search(r"[^\W_]*$", text).start()] or (text if text.isalpha() else "")


def _find_ending(paths):
    """Returns the ending of paths in a pattern, which ignores case."""
    endings = {ending.lower(): ending for _, ending in map(os.path.splitext, paths)}
    return endings.popitem()[1] if len(endings) == 1 else ".*"


def _describe(paths, any_depth=False):
    """Returns a pattern that matches paths: what differs between them is a wildcard."""
    stems = [inventory.stem(path) for path in paths]
    start = _trim(os.path.commonprefix(stems)) if len(paths) > 1 else ""
    end = (
        _trim(os.path.commonprefix([stem[::-1] for stem in stems]))[::-1] if len(paths) > 1 else ""
    )
    ending = _find_ending(paths)
    same = len(paths) > 1 and len(set(stems)) == 1
    name = stems[0] + ending if same else f"{start}*{end}{ending}"
    if any_depth:
        return "/".join(filter(None, (_common_folder(paths), name.replace("*", "{name}", 1))))
    folders = [os.path.dirname(path).split("/") for path in paths]
    if len({len(parts) for parts in folders}) > 1:
        return _describe(paths, any_depth=True)
    parts = []
    for column in zip(*folders):
        values = set(column)
        splits = len(values) > 1 and all(map(inventory.find_split_word, values))
        parts.append("{split}" if splits else column[0] if len(values) == 1 else "*")
    return "/".join(filter(None, (*parts, name)))


def _try(root, description, splits=None, color_table=None):
    """Returns the masks that a description pairs with images -> their files.

    There are none where the description does not apply, and without masks whose files are missing.
    """
    images, masks, suffix, names = description
    try:
        domain = Folder(
            root=root, images=images, masks=masks, mask_suffix=suffix,
            class_names=["background", *(n for n in names or "a" if n != "background")],
            splits=splits or _list_split_folders(root, images, masks), color_table=color_table,
        )  # fmt: skip
        pairs = [p for split in domain.splits for p in domain.list_pairs(split) if p.label_path]
        found = [p.label_path for p in pairs if domain.has_label(p.label_path)]
        labels = {path: domain.label_files(path) for path in found}
        # Wide patterns, as those of several exports at once, have masks among the images.
        images_found = {pair.image_path for pair in pairs}
        if any(file in images_found for listed in labels.values() for file in listed):
            return {}
        if names is not None:
            # Annotations count only if they can be drawn; a damaged one is the audit's to name.
            labels = labels if any(_can_draw(domain, path) for path in found[:_SAMPLE]) else {}
        return labels
    except UserError:
        return {}


def _can_draw(domain, path):
    try:
        domain.load_label(path)
    except UserError:
        return False
    return True


def _list_split_folders(root, images, masks):
    """Returns the splits with which to try a description."""
    if "{split}" not in images + masks:
        return {"train": ""}
    place = images.partition("{split}")[0]
    folder = os.path.join(root, place)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return {name: name for name in sorted(names) if inventory.find_split_word(name)}


def _find_splits(photos, layout):
    """Returns the splits that sub-folders name; all images are "train" without them."""
    if "{split}" in layout.images:
        depth = layout.images.split("/").index("{split}")
    elif "*" in layout.images or "{name}" in layout.images:
        return {"train": ""}
    else:
        depth = 0 if layout.images == "." else len(layout.images.split("/"))
    folders = {path.split("/")[depth] for path in photos if path.count("/") > depth}
    by_word = {inventory.find_split_word(name): name for name in sorted(folders)}
    splits = {}
    for split, words in inventory.SPLITS.items():
        match = next((by_word[word] for word in words if word in by_word), None)
        if match is not None:
            splits[split] = match
    return splits if "train" in splits else {"train": ""}


def _count_unused(root, found, layout, labels):
    used = {*found.photos, *found.tables}
    for file in {file for listed in labels.values() for file in listed}:
        used.add(os.path.relpath(file, root).replace("\\", "/"))
    unused: dict[str, list[str]] = {}
    masks = {path for group in found.masks for path in group}
    for path in found.paths:
        if path not in used:
            kind = "other picture of few colours" if path in masks else "file"
            kind = "prediction" if path in found.predictions else kind
            unused.setdefault(f"{kind} *{os.path.splitext(path)[1].lower()}", []).append(path)
    bound = set(layout.splits.values())
    depth = 0 if layout.images in (".", "") else layout.images.count("/") + 1
    if bound != {""} and "{split}" not in layout.images:
        for path in layout.image_paths:
            parts = os.path.relpath(path, root).replace("\\", "/").split("/")
            if len(parts) - 1 > depth and parts[depth] not in bound:
                what = f"image in {parts[depth]}, which is no split here"
                unused.setdefault(what, []).append("/".join(parts))
    return unused


def sample_masks(layout: Layout) -> Iterator[decoding.Mask]:
    """Decodes masks of a layout, one at a time.

    Args:
        layout: with masks that are pictures.

    Yields:
        Masks at even distances, as many as are decoded in about ten seconds.
    """
    read = 0
    for path in inventory.take_evenly(layout.mask_paths, _MAX_MASKS):
        mask = pictures.read_mask(path)
        if mask is None:
            layout.damaged.append(path)
        else:
            yield mask
            read += mask.pixels.size
        if read > _MAX_VALUES:
            return
