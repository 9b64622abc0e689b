"""The index beside a split's TFRecord files: what lies where, and in which classes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any

from data_pipelines.errors import UserError
from data_pipelines.io import files
from data_pipelines.io import record_files
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace

SUFFIX = ".index.json"

_SCHEMA = 1
_MAX_BYTES = 1_000_000_000
_SHARD_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]*{re.escape(record_files.SUFFIX)}")
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One image and its label.

    Attributes:
        name: the pair's name.
        shard: place of its file in the index's list of shards.
        image: offset and length in bytes, and checksum, of the image's record.
        label: the same of the label's; None without a label.
    """

    name: str
    shard: int
    image: tuple[int, int, int]
    label: tuple[int, int, int] | None


@dataclasses.dataclass(frozen=True)
class RecordIndex:
    """What one split's TFRecord files hold.

    Attributes:
        split: name of the split.
        domain: name of the data set that it was written from.
        label_space: classes of the labels.
        has_labels: whether every image has a label.
        shards: names of the files, all in the index's own folder.
        entries: the pairs, sorted by name.
    """

    split: str
    domain: str
    label_space: LabelSpace
    has_labels: bool
    shards: list[str]
    entries: list[Entry]


def check_split_name(split: str) -> None:
    """Refuses a split whose name cannot be part of a file's.

    Args:
        split: the name.

    Raises:
        UserError: it holds more than letters, digits, "_" and "-".
    """
    if not _SPLIT_NAME.fullmatch(split):
        raise UserError(
            f"The split {split!r} cannot name files; use letters, digits, '_' and '-' only."
        )


def locate_index(root: str, split: str) -> str:
    """Gives the path of a split's index."""
    return files.join_path(root, split + SUFFIX)


def format_index(index: RecordIndex) -> str:
    """Writes an index as text.

    Args:
        index: the index.

    Returns:
        JSON with a checksum over everything else in it.
    """
    space = index.label_space
    content = {
        "schema": _SCHEMA,
        "split": index.split,
        "domain": index.domain,
        "label_space": space.name,
        "class_names": list(space.class_names),
        "palette": [list(color) for color in space.palette],
        "has_labels": index.has_labels,
        "count": len(index.entries),
        "shards": index.shards,
        "entries": [[e.name, e.shard, *e.image, *(e.label or ())] for e in index.entries],
    }
    return json.dumps({**content, "sha256": _hash(content)}) + "\n"


def read_index(root: str, split: str) -> RecordIndex:
    """Reads the index of a split.

    Args:
        root: folder of the index and its shards.
        split: name of the split.

    Returns:
        The index; nothing in it leads out of `root`.

    Raises:
        UserError: it is missing, damaged or no index, or names a path that leads elsewhere.
    """
    path = locate_index(root, split)
    try:
        content = json.loads(files.read_bytes(path, _MAX_BYTES))
        checksum = content.pop("sha256")
        if checksum != _hash(content):
            raise UserError("was changed after it was written (its sha256 differs)")
        if content["schema"] != _SCHEMA:
            raise UserError(f"has the schema {content['schema']!r}, not {_SCHEMA}")
        return _parse(content, split)
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error if isinstance(error, UserError) else f"is not an index: {error!r}"
        raise UserError(
            f"{files.describe_path(path)}, the index of the split's records, {reason}. Write the "
            "split again by python -m data_pipelines.write_records."
        ) from error


def _parse(content: dict[str, Any], split: str) -> RecordIndex:
    shards = content["shards"]
    for name in shards:
        if not _SHARD_NAME.fullmatch(name):
            raise UserError(f"names the shard {name!r}, which is not a file of its folder")
    has_labels = bool(content["has_labels"])
    entries = [_parse_entry(row, len(shards), has_labels) for row in content["entries"]]
    if content["split"] != split or content["count"] != len(entries) or not entries:
        raise UserError(
            f"says that it lists {content['count']} pairs of the split {content['split']!r}, but "
            f"lists {len(entries)}"
        )
    if len({entry.name for entry in entries}) < len(entries):
        raise UserError("lists a name twice")
    return RecordIndex(
        split=split,
        domain=str(content["domain"]),
        label_space=_find_space(content),
        has_labels=has_labels,
        shards=shards,
        entries=sorted(entries, key=lambda entry: entry.name),
    )


def _parse_entry(row, num_shards, has_labels):
    name, shard, *numbers = row
    # The name becomes the path of predictions and pseudo-labels.
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\\" in name or "\0" in name:
        raise UserError(f"lists the name {name!r}, which could lead out of a folder")
    numbers = [int(number) for number in numbers]
    if not 0 <= shard < num_shards or min(numbers) < 0 or len(numbers) != 3 + 3 * has_labels:
        raise UserError(f"lists {name!r} at a place that cannot be: {row[1:]}")
    return Entry(name, shard, tuple(numbers[:3]), tuple(numbers[3:]) or None)


def _find_space(content) -> LabelSpace:
    """Gives the declared space where it is one, so that it equals other readers'."""
    names, palette = content["class_names"], [tuple(color) for color in content["palette"]]
    declared = label_spaces.DECLARED_SPACES.get(content["label_space"])
    if declared is not None:
        space = declared()
        if list(space.class_names) == names and [tuple(c) for c in space.palette] == palette:
            return space
    return label_spaces.custom(name=content["label_space"], class_names=names, palette=palette)


def _hash(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
