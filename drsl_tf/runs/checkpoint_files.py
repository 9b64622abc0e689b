"""The files of checkpoints: listing, verification, reading, publishing and deletion.

A checkpoint is `ckpt-N.index` and `ckpt-N.data-...`. The index is renamed last and deleted first,
so a checkpoint with an index is complete unless it is corrupted, which its checksums detect.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from data_pipelines.io import whole_files
from drsl_tf import files

_NAME = re.compile(r"ckpt-(\d+)\.(index|data-\d+-of-\d+)")
_STATE = "checkpoint"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_ASIDE = "unreadable"


class Newest(NamedTuple):
    """The newest checkpoint of a folder that can be read.

    Attributes:
        path: without a suffix; None if there is none.
        shapes: of its variables, as `read_shapes` returns them.
        unreadable: paths of newer checkpoints that cannot be read.
    """

    path: str | None
    shapes: dict[str, list[int]]
    unreadable: list[str]


def list_checkpoints(folder: str) -> list[str]:
    """Lists the checkpoints of a folder.

    TensorFlow's state file beside them is ignored: it may be truncated or out of date.

    Args:
        folder: may be absent.

    Returns:
        Paths without a suffix, the newest first.
    """
    numbers = {int(m.group(1)) for m in _match_names(folder) if m.group(2) == "index"}
    return [os.path.join(folder, f"ckpt-{number}") for number in sorted(numbers, reverse=True)]


def read_shapes(path: str) -> dict[str, list[int]]:
    """Reads a whole checkpoint, which verifies every checksum.

    Args:
        path: a checkpoint.

    Returns:
        Shapes of its variables by name, such as "model/0003" or "counters/step".

    Raises:
        ValueError: it is truncated or corrupted; the message names the cause.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        for key in shapes:
            reader.get_tensor(key)
    except (tf.errors.OpError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # The reader converts some of TensorFlow's errors to Python's.
        raise ValueError(getattr(error, "message", None) or str(error)) from error
    return {
        key.removesuffix(_VALUE): shape for key, shape in shapes.items() if key.endswith(_VALUE)
    }


def open_checkpoint(path: str) -> Callable[[str], np.ndarray]:
    """Opens a checkpoint to read its variables.

    Args:
        path: a checkpoint whose files `read_shapes` has read.

    Returns:
        A function that returns the value of the variable of a name.
    """
    reader = tf.train.load_checkpoint(path)
    return lambda name: reader.get_tensor(name + _VALUE)


def number_name(index: int) -> str:
    """Returns the last part of the name of a list's variable: they sort as their numbers do."""
    return f"{index:04d}"


def find_newest(folder: str) -> Newest:
    """Finds the newest checkpoint that can be read; a warning names each that cannot.

    Args:
        folder: may be absent.

    Returns:
        The checkpoint, and the newer ones that cannot be read.
    """
    unreadable: list[str] = []
    for path in list_checkpoints(folder):
        try:
            return Newest(path, read_shapes(path), unreadable)
        except ValueError as error:
            unreadable.append(path)
            logging.warning(
                "The checkpoint %s cannot be read (%s); looking for the one before it.",
                path,
                error,
            )
    return Newest(None, {}, unreadable)


def number_next(folder: str) -> int:
    """Returns the next checkpoint's number, above all that the folder ever held.

    Args:
        folder: may be absent.

    Returns:
        At least 1.
    """
    aside = os.path.join(folder, _ASIDE)
    matches = [*_match_names(folder), *_match_names(aside)]
    return 1 + max((int(match.group(1)) for match in matches), default=0)


def put_in_place(partial: str, folder: str) -> str:
    """Moves a newly written checkpoint into its folder.

    Args:
        partial: a folder that holds only the checkpoint.
        folder: the destination.

    Returns:
        Its path.
    """
    names = [match.string for match in _match_names(partial)]
    for name in names:
        whole_files.sync(os.path.join(partial, name))
    for name in sorted(names, key=lambda name: name.endswith(".index")):
        whole_files.rename_whole(os.path.join(partial, name), os.path.join(folder, name))
    return os.path.join(folder, names[0].split(".")[0])


def clear_away(folder: str, keep: int) -> None:
    """Deletes all but the newest checkpoints and updates TensorFlow's state file.

    Args:
        folder: holds the checkpoints.
        keep: number of checkpoints to keep.
    """
    _delete_others(folder, [os.path.basename(path) for path in list_checkpoints(folder)[:keep]])


def keep_apart(path: str, folder: str) -> None:
    """Copies a checkpoint to a separate folder, replacing the one there.

    Args:
        path: the checkpoint.
        folder: the destination; created if absent.
    """
    partial = os.path.join(folder, whole_files.PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    whole_files.make_folder(partial)
    parent, name = os.path.split(path)
    for file in _list_files(parent, name):
        shutil.copyfile(os.path.join(parent, file), os.path.join(partial, file))
    put_in_place(partial, folder)
    os.rmdir(partial)
    _delete_others(folder, [name])


def _delete_others(folder, kept):
    """Deletes all checkpoints except those in `kept`, which lists the newest first."""
    lines = [f'model_checkpoint_path: "{kept[0]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in reversed(kept)]
    files.write_text(os.path.join(folder, _STATE), "\n".join(lines) + "\n")
    old = [m.string for m in _match_names(folder) if m.string.split(".")[0] not in kept]
    for name in sorted(old, key=lambda name: not name.endswith(".index")):
        os.remove(os.path.join(folder, name))


def set_aside(path: str) -> None:
    """Moves an unreadable checkpoint to a separate folder.

    Args:
        path: the checkpoint.
    """
    folder, name = os.path.split(path)
    aside = os.path.join(folder, _ASIDE)
    os.makedirs(aside, exist_ok=True)
    for file in _list_files(folder, name):
        os.replace(os.path.join(folder, file), os.path.join(aside, file))


def _list_files(folder, name):
    """Lists the files of one checkpoint."""
    return [m.string for m in _match_names(folder) if m.string.split(".")[0] == name]


def _match_names(folder):
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [match for match in map(_NAME.fullmatch, names) if match]
