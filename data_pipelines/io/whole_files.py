"""Files and folders written atomically, also if the process is killed or the power fails.

Everything is written to a temporary neighbour, flushed (fsync), then renamed: a reader finds the
old content or the new one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from data_pipelines.errors import UserError
from data_pipelines.map_ahead import map_ahead

PARTIAL = ".partial"
"""Ending of what is being written; nothing reads such a file or folder."""

_SYNC_THREADS = 16


def write_whole(path: str, write_to: Callable, *, shared: bool = False) -> None:
    """Writes a file atomically.

    Args:
        path: any path that TensorFlow writes; its folder exists.
        write_to: called with the open binary file.
        shared: whether another process may write the same file at the same time.

    Raises:
        OSError: it cannot be written; `tf.errors.OpError` of a path with a scheme.
    """
    partial = f"{path}.{uuid.uuid4().hex}{PARTIAL}" if shared else path + PARTIAL
    if "://" in path:
        import tensorflow as tf

        with tf.io.gfile.GFile(partial, "wb") as file:
            write_to(file)
        tf.io.gfile.rename(partial, path, overwrite=True)
        return
    try:
        with open(partial, "wb") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        rename_whole(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise


@contextlib.contextmanager
def write_folder(path: str) -> Iterator[str]:
    """Writes a local folder atomically.

    Args:
        path: the folder, absent or empty; its parents are created if missing.

    Yields:
        A hidden neighbour to fill. It is flushed and renamed at the end, and removed after an
        exception.

    Raises:
        OSError: it cannot be written.
    """
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    make_folder(parent)
    partial = tempfile.mkdtemp(prefix=f".{name}{PARTIAL}-", dir=parent)
    try:
        yield partial
        # As any new folder: mkdtemp makes it readable for its owner alone.
        os.chmod(partial, 0o755)  # noqa: S103
        sync_tree(partial)
        rename_whole(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def is_filled(path: str) -> bool:
    """Returns whether a local folder exists and is not empty.

    Args:
        path: the folder.

    Raises:
        UserError: it is a file.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise UserError(f"{path} is a file: name a directory.")
    return os.path.isdir(path) and bool(os.listdir(path))


@contextlib.contextmanager
def explain_failures(path: str) -> Iterator[None]:
    """Converts a failed write, such as on a full disk, to an error that names the fix.

    Only code that writes files belongs inside: a device out of memory raises the same type of error
    as a full disk.

    Args:
        path: the file or folder that is written.

    Raises:
        UserError: names the path, the cause and the fix.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError):
            reason = error.strerror or error
        elif isinstance(error, _list_file_errors()):
            reason = error.message
        else:
            raise
        place = path if "://" in path else os.path.abspath(path)
        raise UserError(
            f"{place} cannot be written: {' '.join(str(reason).split())}. Free some disk, or make "
            "the folder writable, and run the same command again."
        ) from error


def _list_file_errors():
    """Returns what TensorFlow raises where a file system refuses a write."""
    import tensorflow as tf

    return (
        tf.errors.AlreadyExistsError,
        tf.errors.DeadlineExceededError,
        tf.errors.FailedPreconditionError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
        tf.errors.ResourceExhaustedError,
        tf.errors.UnavailableError,
        tf.errors.UnimplementedError,
        tf.errors.UnknownError,
    )


def rename_whole(source: str, target: str) -> None:
    """Renames a file or folder durably.

    Args:
        source: the present path; its content is flushed already.
        target: the new path, in the same file system; a file there is replaced.
    """
    os.replace(source, target)
    sync(os.path.dirname(target) or ".")


def make_folder(path: str) -> None:
    """Creates a folder and its parents durably.

    Args:
        path: any path that TensorFlow writes; may exist.
    """
    if "://" in path:
        import tensorflow as tf

        tf.io.gfile.makedirs(path)
        return
    missing = []
    above = os.path.abspath(path)
    while not os.path.isdir(above):
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(path, exist_ok=True)
    for folder in missing:
        sync(os.path.dirname(folder))


def sync(path: str) -> None:
    """Flushes (fsync) a file's content, or a folder's list of names.

    Args:
        path: the file or folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[str]) -> None:
    """Flushes (fsync) files and folders, several at a time: a disk joins what waits for it.

    Args:
        paths: the files and folders.
    """
    for _ in map_ahead(sync, paths, _SYNC_THREADS):
        pass  # An error of a thread is raised here.


def sync_tree(path: str) -> None:
    """Flushes (fsync) a folder and everything in it.

    Args:
        path: the folder.
    """
    for folder, _, names in os.walk(path):
        sync_all([*(os.path.join(folder, name) for name in names), folder])
