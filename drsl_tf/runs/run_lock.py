"""The lock that lets one process at a time train in a run directory."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

from absl import logging

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from drsl_tf.runs.run_directory import RunDirectory

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)
_MOST_CHARACTERS = 300

# Run directories that this process has locked.
_held: set[str] = set()


@contextlib.contextmanager
def lock_run(run_dir: str) -> Iterator[None]:
    """Holds the lock of a run directory, which is created if it is absent.

    The kernel holds the lock (flock) for the process, so a process that was killed, or a power cut,
    leaves none. Inside, the same process may lock the directory again. On NFS it holds between
    machines if the server offers locks. Where the file system offers none, such as some that mount
    a bucket, a warning is logged and nothing is locked.

    Args:
        run_dir: the directory.

    Raises:
        UserError: another process holds the lock, the directory cannot be written, or it is
            remote: a run renames and locks files.
    """
    if "://" in run_dir:
        raise UserError(
            f"The run directory {run_dir} is remote; name a folder of a local or mounted file "
            "system with --run_dir. Data may be remote."
        )
    key = os.path.realpath(run_dir)
    if key in _held:
        yield
        return
    path = RunDirectory(run_dir).lock
    with whole_files.explain_failures(run_dir):
        whole_files.make_folder(run_dir)
        descriptor = _acquire(path, run_dir)
    _held.add(key)
    try:
        yield
    finally:
        _held.remove(key)
        if descriptor is not None:
            # Removed while it is held: who opened it before finds that it is gone, see `_acquire`.
            # `--fresh` moves the directory, and the file with it.
            with contextlib.suppress(OSError):
                if _is_at(path, descriptor):
                    os.unlink(path)
            os.close(descriptor)


def _acquire(path, run_dir):
    """Returns the descriptor of the locked file; None where the file system has no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _lock(descriptor, path, run_dir):
                os.close(descriptor)
                with contextlib.suppress(OSError):
                    os.unlink(path)
                return None
            # Its holder may have removed the file since it was opened.
            if _is_at(path, descriptor):
                # The name of the holder serves messages alone, so that a full disk does not matter.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
                    os.write(
                        descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode()
                    )
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor, path, run_dir):
    """Locks a file; returns whether the file system has locks."""
    reason = "this system has no flock"
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError as error:
            holder = os.pread(descriptor, _MOST_CHARACTERS, 0).decode(errors="replace").strip()
            raise UserError(
                f"Another process trains in {os.path.abspath(run_dir)}: "
                f"{holder or 'its number is not known'}. Wait until it ends or stop it, and run "
                "the same command again to resume; or choose another --run_dir."
            ) from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            reason = error.strerror
    logging.warning(
        "%s cannot be locked (%s): do not start a second process in this directory.", path, reason
    )
    return False


def _is_at(path, descriptor):
    """Returns whether a path still names the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
