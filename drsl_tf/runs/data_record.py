"""The record of the files and classes that a run reads: `data.json`.

The roots of the data sets are no part of what a run is, so that it resumes after its data moved;
the lists of files below them are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Literal

import pydantic
from absl import logging

from data_pipelines.errors import UserError
from data_pipelines.io.json_models import VersionedModel
from drsl_tf import files
from drsl_tf.runs.run_directory import RunDirectory

_CHOICES = (
    "Otherwise choose another --run_dir, or start over with --fresh, which keeps the old run."
)


class FileList(files.Entry):
    """The audited files of a split.

    Attributes:
        root: the data set's folder, which may change.
        split: the split's name.
        images: number of images.
        digest: hash of the files' names below the root and of their sizes.
    """

    root: str
    split: str
    images: int
    digest: str


class DataRecord(files.Entry, VersionedModel):
    """The content of `data.json`.

    Attributes:
        version: of this format.
        class_names: names of the classes, in the order of their ids.
        lists: the lists by their role: "source", "source_2", ..., "target", "eval".
    """

    version: Literal[1] = pydantic.Field(alias="schema")
    class_names: list[str]
    lists: dict[str, FileList]


def read_class_names(run_dir: str) -> list[str] | None:
    """Reads the names of a run's classes.

    Args:
        run_dir: the run's directory.

    Returns:
        The names in the order of their ids; None for a run without a record.

    Raises:
        UserError: the record cannot be read.
    """
    path = RunDirectory(run_dir).data
    return _read(path).class_names if os.path.isfile(path) else None


def record_data(
    run_dir: str, class_names: Sequence[str], lists: Mapping[str, FileList], *, resumed: bool
) -> None:
    """Checks that a resumed run reads the files that it began with, and writes the record.

    Lists that changed below an unchanged root are logged as a warning: a file was fixed, added or
    removed.

    Args:
        run_dir: the run's directory.
        class_names: names of the classes.
        lists: the present lists by role.
        resumed: whether the run has a checkpoint.

    Raises:
        UserError: the classes differ from the recorded ones; a list below another root differs, or
            one appeared or vanished while a root changed; or a record cannot be read or written.
    """
    path = RunDirectory(run_dir).data
    record = DataRecord(schema=1, class_names=list(class_names), lists=dict(lists))
    if resumed and os.path.isfile(path):
        old = _read(path)
        if old.class_names != record.class_names:
            raise UserError(
                f"{run_dir} holds a run of other classes: {', '.join(old.class_names)}; they are "
                f"{', '.join(class_names)} now. Bind the old ones. {_CHOICES}"
            )
        if old.lists == record.lists:
            return
        moved = any(old.lists[role].root != lists[role].root for role in {*old.lists} & {*lists})
        for role in sorted({*old.lists, *lists}):
            _compare(run_dir, role, old.lists.get(role), lists.get(role), moved)
    files.write_json(path, record.as_json())


def _read(path):
    return files.read_model(path, DataRecord, "Put a copy of it back, or start with --fresh.")


def _compare(run_dir, role, old, new, moved):
    if old is None or new is None:
        what = f"the run had {'no' if old is None else 'a'} list {role!r} of files"
    elif old.digest == new.digest:
        if old.root != new.root:
            logging.info("%s moved from %s to %s: the files are equal.", role, old.root, new.root)
        return
    else:
        what = (
            f"{role} had {old.images} images in {old.root} and has {new.images} in {new.root}, "
            "with other names or sizes"
        )
        moved = old.root != new.root
    if moved:
        raise UserError(
            f"{run_dir} holds a run on other files: {what}. A run resumes where its data set was "
            f"moved whole. Bind the root of an unchanged copy. {_CHOICES}"
        )
    logging.warning("The files of this run changed: %s. Later batches are other ones.", what)
