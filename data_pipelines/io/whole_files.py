"""Files and folders that are whole or absent, after a kill and after a power cut alike.

Everything goes into a neighbour first, reaches the disk, and then takes its name: a reader finds
the old content or the new one.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from collections.abc import Iterator

from data_pipelines.errors import UserError

PARTIAL = ".partial"
"""Ending of what is being written; nothing reads such a file or folder."""


def write_whole(path: str, write_to: Callable, *, shared: bool = False) -> None:
    """Writes a file whole or not at all.

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
def explain_failures(path: str) -> Iterator[None]:
    """Turns what stops a write, such as a full disk, into an error that a user can fix.

    Only what writes files belongs inside: a device without memory raises the same type of error as
    a full disk.

    Args:
        path: the file or folder that is written meanwhile.

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
    """Renames a file or folder, so that the new name outlives a power cut.

    Args:
        source: what is there, its content on the disk already.
        target: the new path, in the same file system; a file there is replaced.
    """
    os.replace(source, target)
    sync(os.path.dirname(target) or ".")


def make_folder(path: str) -> None:
    """Makes a folder, and those above it, so that their names outlive a power cut.

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
    """Waits until a file's content, or a folder's list of names, is on the disk.

    Args:
        path: the file or folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: str) -> None:
    """Waits until a folder and everything in it is on the disk.

    Args:
        path: the folder.
    """
    for folder, _, names in os.walk(path):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)
