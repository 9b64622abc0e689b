"""A disk of a few megabytes that a test may fill, or make read-only."""

import contextlib
import os
import subprocess

import pytest


class SmallDisk:
    """A file system in memory, mounted for one test.

    Args:
        path: an empty folder.
    """

    def __init__(self, path):
        self.path = str(path)
        self._filler = os.path.join(self.path, "filler")

    def fill(self):
        """Allocates all remaining pages."""
        with open(self._filler, "wb") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))

    def free(self):
        """Frees the pages."""
        if os.path.exists(self._filler):
            os.remove(self._filler)

    def set_read_only(self, read_only):
        """Mounts it again, read-only or not."""
        _call("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", self.path)

    def list_names(self):
        """Lists the files but the filler, hidden and half-written ones too."""
        names = [
            os.path.relpath(os.path.join(folder, name), self.path)
            for folder, _, found in os.walk(self.path)
            for name in found
        ]
        return sorted(name for name in names if name != "filler")


@contextlib.contextmanager
def mount_small_disk(folder, size="24m"):
    """Mounts a `SmallDisk`; skips the test where this process may not mount."""
    path = os.path.join(str(folder), "disk")
    os.makedirs(path)
    reason = _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path, check=False)
    if reason:
        pytest.skip(f"needs the right to mount a small file system: {reason}")
    try:
        yield SmallDisk(path)
    finally:
        _call("umount", "--lazy", path)


def _call(*command, check=True):
    """Runs a command; gives what it says where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    assert done.returncode == 0 or not check, done.stderr
    return done.stderr.strip() if done.returncode else ""
