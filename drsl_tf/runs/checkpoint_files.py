"""The files of checkpoints: listed, proven readable, put in place and cleared away.

A checkpoint is `ckpt-N.index` and `ckpt-N.data-...`. The index takes its name last and loses it
first, so a checkpoint with an index is whole unless the disk spoilt it; checksums tell that.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import NamedTuple

import tensorflow as tf
from absl import logging

from data_pipelines.io import whole_files
from drsl_tf import files

_NAME = re.compile(r"ckpt-(\d+)\.(index|data-\d+-of-\d+)")
_STATE = "checkpoint"
_ASIDE = "unreadable"


class Newest(NamedTuple):
    """The newest checkpoint of a folder that can be read.

    Attributes:
        path: without an ending; None where there is none.
        shapes: of its variables, by key.
        unreadable: paths of newer ones, which cannot be read.
    """

    path: str | None
    shapes: dict[str, list[int]]
    unreadable: list[str]


def list_checkpoints(folder: str) -> list[str]:
    """Lists the checkpoints of a folder.

    The state file that TensorFlow keeps beside them is not asked: it may be torn, or lag behind.

    Args:
        folder: may be absent.

    Returns:
        Paths without an ending, the newest first.
    """
    numbers = {int(m.group(1)) for m in _match_names(folder) if m.group(2) == "index"}
    return [os.path.join(folder, f"ckpt-{number}") for number in sorted(numbers, reverse=True)]


def read_shapes(path: str) -> dict[str, list[int]]:
    """Reads a checkpoint to its end, which checks every checksum.

    Args:
        path: a checkpoint.

    Returns:
        Shapes by key.

    Raises:
        ValueError: it is torn or spoilt; says how.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        for key in shapes:
            reader.get_tensor(key)
        return shapes
    except (tf.errors.OpError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # The reader turns some of TensorFlow's errors into Python's own.
        raise ValueError(getattr(error, "message", None) or str(error)) from error


def find_newest(folder: str) -> Newest:
    """Finds the newest checkpoint that can be read; a warning names each that cannot.

    Args:
        folder: may be absent.

    Returns:
        What was found.
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
    """Numbers the checkpoint to come, above everything that has lain in the folder.

    Args:
        folder: may be absent.

    Returns:
        At least 1.
    """
    aside = os.path.join(folder, _ASIDE)
    matches = [*_match_names(folder), *_match_names(aside)]
    return 1 + max((int(match.group(1)) for match in matches), default=0)


def put_in_place(partial: str, folder: str) -> str:
    """Moves a checkpoint just written to where it is found.

    Args:
        partial: a folder that holds nothing but the checkpoint.
        folder: where it goes.

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
    """Deletes all but the newest checkpoints, and tells TensorFlow which those are.

    Args:
        folder: of the checkpoints.
        keep: how many stay.
    """
    _delete_others(folder, [os.path.basename(path) for path in list_checkpoints(folder)[:keep]])


def keep_apart(path: str, folder: str) -> None:
    """Copies a checkpoint to a folder of its own, in the place of the one there.

    Args:
        path: the checkpoint.
        folder: where the copy goes; made if it is absent.
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
    """Deletes all checkpoints but those of the names kept, the newest first."""
    lines = [f'model_checkpoint_path: "{kept[0]}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in reversed(kept)]
    files.write_text(os.path.join(folder, _STATE), "\n".join(lines) + "\n")
    old = [m.string for m in _match_names(folder) if m.string.split(".")[0] not in kept]
    for name in sorted(old, key=lambda name: not name.endswith(".index")):
        os.remove(os.path.join(folder, name))


def set_aside(path: str) -> None:
    """Moves a checkpoint that cannot be read out of the way, without deleting it.

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
