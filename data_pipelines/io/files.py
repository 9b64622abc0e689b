"""Listing and bounded reading of files on any file system that TensorFlow supports.

The path of a record in a TFRecord file (`data_pipelines.io.record_files`) is read like a file's.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from collections.abc import Sequence

from data_pipelines.errors import UserError
from data_pipelines.io import record_files

MAX_DEPTH = 12
"""Maximum depth of folders; deeper ones come from links to a folder above."""

_listed: contextvars.ContextVar[dict | None] = contextvars.ContextVar("listed", default=None)
_NEVER_FOLDERS = (
    ".png", ".jpg", ".jpeg", ".jfif", ".json", ".txt", ".md", ".zip", ".bmp", ".tif", ".webp",
)  # fmt: skip


def describe_path(path: str) -> str:
    """Returns an absolute path for a message; paths with a scheme are unchanged."""
    return path if "://" in path else os.path.abspath(path)


def join_path(root: str, *parts: str) -> str:
    """Joins POSIX parts to a path; empty parts and "." add nothing.

    Args:
        root: a path, or "" for a relative result.
        *parts: relative paths.

    Returns:
        The path.
    """
    kept = "/".join(part.strip("/") for part in parts if part not in ("", "."))
    if not kept or root in ("", "."):
        return kept or root
    return root + kept if root.endswith("/") else f"{root}/{kept}"


def cut_root(path: str, root: str) -> str:
    """Returns a path that `join_path` made, relative to its root again."""
    return path if root in ("", ".") else path[len(root) :].lstrip("/")


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Remembers, in this thread, what folders contain: remote file systems list them slowly.

    Inside, and in an outer one, changes of folders that were listed are not seen.
    """
    token = _listed.set({} if _listed.get() is None else _listed.get())
    try:
        yield
    finally:
        _listed.reset(token)


def _call_once(function, path):
    """Calls a function of a path; inside `listed_once`, once for each path."""
    listed = _listed.get()
    if listed is None:
        return function(path)
    if (function, path) not in listed:
        listed[function, path] = function(path)
    return listed[function, path]


def is_hidden(name: str) -> bool:
    """Returns whether listings leave out a file or folder of this name."""
    # Synology's servers keep a folder of thumbnails, "@eaDir/IMG_1.JPG/", beside photos.
    return name.startswith(".") or name == "@eaDir"


def is_folder(path: str) -> bool:
    """Returns whether a path is an accessible folder."""
    return _call_once(_is_folder, path)


def _is_folder(path):
    import tensorflow as tf

    try:
        return tf.io.gfile.isdir(path)
    except tf.errors.OpError:
        return False


def list_files(root: str, suffixes: Sequence[str]) -> list[str]:
    """Lists the files under a folder, including sub-folders, without hidden ones.

    Args:
        root: an existing folder.
        suffixes: lower-case suffixes of the names, such as ".png"; compared without case.

    Returns:
        Paths relative to `root`, POSIX, sorted.

    Raises:
        UserError: a folder cannot be read, or folders are deeper than `MAX_DEPTH`.
    """
    return sorted(_collect(root, tuple(suffixes))[0])


def list_other_files(root: str, suffixes: Sequence[str]) -> list[str]:
    """Lists the files under a folder that `list_files` with the same suffixes does not.

    Args:
        root: an existing folder.
        suffixes: as in `list_files`.

    Returns:
        Paths relative to `root`, POSIX, sorted, without hidden files.

    Raises:
        UserError: as `list_files`.
    """
    return sorted(_collect(root, tuple(suffixes))[1])


def _collect(root, suffixes):
    """Returns the files with one of the suffixes, and the others."""
    found: list[str] = []
    others: list[str] = []
    _collect_folder(root, "", suffixes, 0, found, others)
    return found, others


def _collect_folder(root, folder, suffixes, depth, found, others):
    if depth > MAX_DEPTH:
        raise UserError(
            f"{describe_path(join_path(root, folder))}: folders are more than {MAX_DEPTH} deep, "
            "probably through a link to a folder above itself; remove the link."
        )
    for entry in _call_once(_list_folder, join_path(root, folder)):
        if is_hidden(entry):
            continue
        relative = f"{folder}/{entry}" if folder else entry
        # Names of known file types are never checked for being folders: each check is a call,
        # which is slow on remote file systems.
        if entry.lower().endswith(suffixes):
            found.append(relative)
        elif not entry.lower().endswith(_NEVER_FOLDERS) and is_folder(join_path(root, relative)):
            _collect_folder(root, relative, suffixes, depth + 1, found, others)
        else:
            others.append(relative)


def _list_folder(path):
    import tensorflow as tf

    try:
        return [entry.rstrip("/") for entry in tf.io.gfile.listdir(path)]
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise UserError(f"{describe_path(path)} cannot be listed: {error}") from error


def read_status(path: str) -> tuple[int, int] | None:
    """Reads a file's size and modification time.

    Args:
        path: any path that TensorFlow reads.

    Returns:
        (bytes, nanoseconds), for a record those of its shard; None where the file is missing.
    """
    record = record_files.parse_path(path)
    if record is not None:
        path = record.shard
    if "://" not in path:
        # TensorFlow rounds the time of local files to seconds.
        try:
            local = os.stat(path)
        except OSError:
            return None
        return local.st_size, local.st_mtime_ns
    import tensorflow as tf

    try:
        status = tf.io.gfile.stat(path)
    except tf.errors.OpError:
        return None
    return status.length, status.mtime_nsec


def read_bytes(path: str, limit: int) -> bytes:
    """Reads a whole file.

    Args:
        path: any path that TensorFlow reads.
        limit: maximum number of bytes.

    Returns:
        The content, at least one byte.

    Raises:
        UserError: the file is missing, unreadable, empty or larger than `limit`; names no path.
    """
    record = record_files.parse_path(path)
    if record is not None:
        if record.length > limit:
            raise UserError(f"has {record.length} bytes, more than the limit of {limit}")
        return record_files.read_record(record)
    import tensorflow as tf

    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError("has a name that is not UTF-8; rename it") from None
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            size = file.size()
            if size > limit:
                raise UserError(f"has {size} bytes, more than the limit of {limit}")
            data = file.read(size) if size else b""
    except tf.errors.NotFoundError:
        raise UserError("is missing") from None
    except tf.errors.OpError as error:
        raise UserError(f"cannot be read: {error.message}") from error
    if not data:
        raise UserError("is empty (0 bytes)")
    return data
