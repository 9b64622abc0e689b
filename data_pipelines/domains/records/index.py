"""The index beside a split's TFRecord files: where the bytes of each image and label are."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import Annotated
from typing import Literal

import pydantic

from data_pipelines.errors import UserError
from data_pipelines.io import files
from data_pipelines.io import json_models
from data_pipelines.io import record_files
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace

SUFFIX = ".index.json"

_SCHEMA = 2
_SHARD_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]*{re.escape(record_files.SUFFIX)}")
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_-]+")
# Files have no places that do not fit into 64 bits.
_Bytes = Annotated[int, pydantic.Field(ge=0, lt=2**62)]


def _check_shard_name(name: str) -> str:
    if not _SHARD_NAME.fullmatch(name):
        raise ValueError("this is not the name of a TFRecord file in the index's own folder")
    return name


def _check_pair_name(name: str) -> str:
    # The name becomes the path of predictions and pseudo-labels.
    if {"", ".", ".."} & set(name.split("/")) or "\\" in name or "\0" in name:
        raise ValueError("a file of this name could lead out of a folder")
    return name


def _check_label_space(space: LabelSpace) -> LabelSpace:
    declared = label_spaces.DECLARED_SPACES.get(space.name)
    if declared is not None and space != declared():
        raise ValueError(f"its classes are not those of {space.name}")
    return space


class Part(json_models.VersionedModel):
    """A part of a record, and the image or label in it.

    Attributes:
        offset: of the part in its shard, in bytes.
        length: of the part, in bytes.
        crc32: checksum of the part.
        start: of the image or label within the part, in bytes.
        size: of the image or label, in bytes.
    """

    offset: _Bytes
    length: _Bytes
    crc32: Annotated[int, pydantic.Field(ge=0, lt=2**32)]
    start: _Bytes
    size: _Bytes


class Entry(json_models.VersionedModel):
    """One image and its label, in one `tf.train.Example`.

    Attributes:
        name: the pair's name.
        shard: place of its file in the index's list of shards.
        image: the record from its start to the end of the image; without a label, all of it.
        label: the rest of the record; None without a label.
    """

    name: Annotated[str, pydantic.AfterValidator(_check_pair_name)]
    shard: pydantic.NonNegativeInt
    image: Part
    label: Part | None


class RecordIndex(json_models.VersionedModel):
    """What one split's TFRecord files hold.

    Attributes:
        split: name of the split.
        domain: name of the data set that it was written from.
        label_space: classes of the labels.
        has_labels: whether every image has a label.
        count: number of pairs.
        shards: names of the files, all in the index's own folder.
        entries: the pairs.
    """

    split: str
    domain: str
    label_space: Annotated[LabelSpace, pydantic.AfterValidator(_check_label_space)]
    has_labels: bool
    count: pydantic.PositiveInt
    shards: tuple[Annotated[str, pydantic.AfterValidator(_check_shard_name)], ...]
    entries: tuple[Entry, ...]

    @pydantic.model_validator(mode="after")
    def _check_entries(self):
        if self.count != len({entry.name for entry in self.entries}):
            raise ValueError(
                f"count is {self.count}, but {len(self.entries)} entries are listed, or a name "
                "twice"
            )
        for entry in self.entries:
            if entry.shard >= len(self.shards):
                raise ValueError(f"{entry.name!r} is in shard {entry.shard} of {len(self.shards)}")
            if (entry.label is not None) != self.has_labels:
                raise ValueError(f"has_labels is {self.has_labels}, but not of {entry.name!r}")
        return self


class _IndexFile(json_models.VersionedModel):
    """An index as a file.

    Attributes:
        version: of the format of index and records.
        sha256: checksum of the index.
        index: the index.
    """

    version: Literal[2] = pydantic.Field(alias="schema")
    sha256: str
    index: RecordIndex


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
    """Returns the path of a split's index."""
    return files.join_path(root, split + SUFFIX)


def format_index(index: RecordIndex) -> str:
    """Writes an index as text.

    Args:
        index: the index.

    Returns:
        JSON with the index and its checksum.
    """
    content = index.model_dump(mode="json")
    return json.dumps({"schema": _SCHEMA, "sha256": _hash(content), "index": content}) + "\n"


def read_index(root: str, split: str) -> RecordIndex:
    """Reads the index of a split.

    Args:
        root: folder of the index and its shards.
        split: name of the split.

    Returns:
        The index; nothing in it leads out of `root`.

    Raises:
        UserError: it is missing, damaged, no index or one of another version, or names a path that
            leads elsewhere; names the file, the field and the command that writes it.
    """
    path = locate_index(root, split)
    try:
        content = json_models.read_model(path, _IndexFile)
        if content.sha256 != _hash(content.index.model_dump(mode="json")):
            raise UserError(
                f"{files.describe_path(path)} was changed after it was written (its sha256 "
                "differs)."
            )
        if content.index.split != split:
            raise UserError(
                f"{files.describe_path(path)} is invalid: field 'index.split': the file's name "
                f"says {split!r} (it is {content.index.split!r})."
            )
    except UserError as error:
        raise UserError(
            f"{error} This is the index of the split's records: remove the files of the split and "
            "write it again by python -m data_pipelines.write_records --domain=READER "
            f"--root=LOOSE_FILES --split={shlex.quote(split)} --output={shlex.quote(root)}"
        ) from error
    return content.index


def _hash(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
