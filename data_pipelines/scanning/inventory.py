"""What kinds of files a folder holds: photos, masks, tables and annotations."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import re
from collections.abc import Sequence

from data_pipelines.domains.folder import Folder
from data_pipelines.io import files
from data_pipelines.labels import color_tables
from data_pipelines.scanning import pictures

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "test", "testing"),
}
"""Split -> words that folders of its images are named by, the preferred one first."""

_SAMPLE = 4
_SPLIT_WORDS = tuple(word for words in SPLITS.values() for word in words)
_MASK_WORDS = re.compile(
    r"(?<![a-z])(masks?|labels?(ids)?|seg[a-z]*|semantic[a-z]*|annot[a-z]*|gt(fine|coarse)?|ids?)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_USUAL_WORDS = re.compile(r"semantic|labelids|class", re.IGNORECASE)
_OTHER_WORDS = re.compile(r"instance|colou?r|depth", re.IGNORECASE)
# The folders that predictions are written to, and those that the user's own data have not.
PREDICTIONS = {"ids", "color", "overlay", "confidence"}
_PREDICTIONS_ONLY = ({"overlay", "ids"}, {"overlay", "color"}, {"confidence", "ids"})
_JUNK = ("thumbs.db", "desktop.ini", "readme.md", "readme.txt", "license", "license.txt")
_MAX_JSON = 1 << 30
_MAX_TABLE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The files of a folder; paths are relative to it, POSIX, sorted.

    Attributes:
        paths: all files but hidden ones and those of operating systems.
        photos: images.
        masks: groups of masks of one kind, and larger groups of them; the usual ones first.
        predictions: pictures that a model wrote, which are neither images nor masks.
        tables: files that name the colours or ids of masks.
        labelme: LabelMe's file -> names of its shapes.
        coco: COCO's file -> names of its categories.
    """

    paths: list[str]
    photos: list[str]
    masks: list[tuple[str, ...]]
    predictions: set[str]
    tables: list[str]
    labelme: dict[str, list[str]]
    coco: dict[str, list[str]]


def take_inventory(root: str) -> Inventory:
    """Sorts the files of a folder by kind; of pictures only samples are opened.

    Args:
        root: a local folder.

    Returns:
        The files.

    Raises:
        UserError: a folder cannot be listed, or links lead to a folder above.
    """
    listed = files.list_other_files(root, ())
    paths = [path for path in listed if os.path.basename(path).lower() not in _JUNK]
    predictions = _find_predictions(paths)
    photos, masks = _sort_pictures(
        root,
        [p for p in paths if p.lower().endswith(Folder.image_suffixes) and p not in predictions],
    )
    groups = _group_masks(masks, len(photos))
    return Inventory(paths, photos, groups, predictions, *_sort_texts(root, paths))


def take_evenly(paths: Sequence[str], count: int) -> list[str]:
    """Chooses paths at even distances, in an order that spreads them.

    Args:
        paths: in any order.
        count: maximum number of paths to choose.

    Returns:
        The paths; a quarter of them, from the first on, covers the whole range too.
    """
    step = max(1.0, len(paths) / count)
    chosen = [paths[int(index * step)] for index in range(min(count, len(paths)))]
    return [path for start in range(4) for path in chosen[start::4]]


def find_split_word(name: str) -> str | None:
    """Returns the word for a split that a folder is named by, such as train2017; or None."""
    word = name.lower().rstrip("0123456789")
    return word if word in _SPLIT_WORDS else None


def stem(path: str) -> str:
    """Returns the name of a file without its ending."""
    return os.path.splitext(os.path.basename(path))[0]


def _find_predictions(paths):
    """Returns the files in folders that hold nothing but the outputs of `drsl_tf.predict`."""
    entries = collections.defaultdict(set)
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            entries["/".join(parts[:depth])].add(parts[depth])
    folders = tuple(
        f"{folder}/"
        for folder, names in entries.items()
        if names <= PREDICTIONS and any(own <= names for own in _PREDICTIONS_ONLY)
    )
    return {path for path in paths if path.startswith(folders)}


def _sort_pictures(root, paths):
    """Returns the photos, and the masks by (folder, suffix, words); samples are opened."""
    words = {path: re.findall(r"[^\W\d_]+", stem(path)) for path in paths}
    suffixes = {path: os.path.splitext(path)[1].lower() for path in paths}
    counts = collections.Counter(suffixes.values())
    counts.update((suffixes[path], word) for path in paths for word in set(words[path]))
    parts = collections.defaultdict(list)
    for path, suffix in suffixes.items():
        often = max(1, counts[suffix] // 5)
        common = tuple(word for word in words[path] if counts[suffix, word] > often)
        parts[re.sub(r"\d+", "#", os.path.dirname(path)), suffix, common].append(path)
    photos, masks = [], {}
    doubtful = {}
    for key, members in parts.items():
        sample = take_evenly(members, _SAMPLE)
        decoded = [pictures.read_mask(os.path.join(root, path)) for path in sample]
        votes = [pictures.looks_like_mask(mask) for mask in decoded if mask is not None]
        if not votes or sum(votes) * 2 <= len(votes):
            photos += members
        elif _MASK_WORDS.search("/".join((key[0], *key[2]))):
            masks[key] = members
        else:
            doubtful[key] = members
    for key, members in doubtful.items():
        # Few colours, but no word that says mask: images where there are no others.
        if photos:
            masks[key] = members
    if not photos:
        photos = [path for members in doubtful.values() for path in members]
    return sorted(photos), masks


def _group_masks(masks, num_photos):
    """Returns lists of masks of one kind: those in folders of one name, then those in all.

    Those of a part of the images, such as of a city, are last: most need no try then.
    """
    groups = collections.defaultdict(list)
    kinds = collections.Counter((folder, suffix, words[-1:]) for folder, suffix, words in masks)
    for (folder, suffix, words), members in masks.items():
        # The same kind of mask is in several folders: one for each split, scene or city.
        names = [p for p in folder.split("/") if p != "#" and not find_split_word(p.strip("#"))]
        last = words[-1:]
        # Two kinds in one folder may end in the same word, such as "segmentation".
        for kind in dict.fromkeys([words, last] if kinds[folder, suffix, last] > 1 else [last]):
            groups[kind, suffix, *names[-1:]] += members
            groups[kind, suffix, None] += members
        groups[None, suffix, None] += members
    ordered = sorted(
        groups,
        key=lambda key: (2 * len(groups[key]) < num_photos, key.count(None), _rank_kind(key)),
    )
    return list({tuple(sorted(groups[key])): None for key in ordered})


def _rank_kind(key):
    """Returns a number that is lower for what the masks of classes are usually named."""
    kind, _, *names = key
    text = " ".join([*(kind or ()), *filter(None, names)])
    return bool(_OTHER_WORDS.search(text)) - bool(_USUAL_WORDS.search(text))


def _sort_texts(root, paths):
    """Returns tables of colours or ids, and LabelMe's and COCO's files, each with its names."""
    tables, labelme, coco = [], {}, {}
    for path in paths:
        suffix = os.path.splitext(path)[1].lower()
        limit = {".json": _MAX_JSON, ".txt": _MAX_TABLE, ".csv": _MAX_TABLE}.get(suffix, 0)
        full = os.path.join(root, path)
        try:
            if os.path.getsize(full) > limit:
                continue
            with open(full, "rb") as file:
                data = file.read()
            content = json.loads(data) if suffix == ".json" else None
            keys = set(content) if isinstance(content, dict) else set()
            if {"images", "annotations", "categories"} <= keys:
                coco[path] = [str(c.get("name")) for c in content["categories"]]
                continue
            if {"shapes", "imageHeight"} <= keys:
                labelme[path] = [str(shape.get("label")) for shape in content["shapes"]]
                continue
            colors, ids = color_tables.parse_file(data, path)
        except (AttributeError, OSError, RecursionError, TypeError, ValueError):
            continue  # It is none of these, whatever its keys are called.
        # A list of numbered pictures is no table of ids.
        names = (*colors.values(), *ids.values())
        if not all(name.lower().endswith(Folder.image_suffixes) for name in names):
            tables.append(path)
    return tables, labelme, coco
