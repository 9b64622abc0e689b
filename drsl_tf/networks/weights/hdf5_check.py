"""Checks untrusted HDF5 files in a separate process.

On some damaged files the HDF5 library loops forever or crashes. So a separate process with a CPU
time limit reads the whole file first:

    python hdf5_check.py FILE
"""

from __future__ import annotations

import math
import os
import subprocess  # noqa: TID251 - this very file is run, without a shell
import sys
import time

import h5py

try:
    import resource
except ImportError:  # On Windows the caller's timeout limits the process.
    resource = None  # type: ignore[assignment]

MAX_BYTES = 4 * 1024**3
"""Maximum size in bytes of a weight file's arrays; the largest network, VGG-16, has 0.6 GB."""

_MOST_ENTRIES = 100_000
_SECONDS = 1
_BYTES_PER_SECOND = 20_000_000
# Under load, wall-clock time exceeds CPU time.
_CLOCK_FACTOR = 30


def check_file(path: str) -> None:
    """Checks that an HDF5 file is readable, self-contained and numeric.

    HDF5 files can refer to other files, by links and by external storage, and a few bytes can
    expand to any number of zeros. All of these are rejected.

    Args:
        path: the file.

    Raises:
        ValueError: the file is rejected; states the reason.
    """
    command = [sys.executable, os.path.abspath(__file__), path]
    timeout = None if resource else _CLOCK_FACTOR * _limit_seconds(path)
    try:
        done = subprocess.run(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("the HDF5 library does not come to its end") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()
        raise ValueError(said or f"the HDF5 library fails on it (exit code {done.returncode})")


def _limit_seconds(path):
    return _SECONDS + os.path.getsize(path) // _BYTES_PER_SECOND


def _limit_time(path):
    if resource is None:
        return
    seconds = math.ceil(time.process_time()) + _limit_seconds(path)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read_whole(file):
    total, waiting, entries = 0, [file], 0
    while waiting:
        group = waiting.pop()
        _read_attributes(group)
        for name in group:
            entries += 1
            if entries > _MOST_ENTRIES:
                raise ValueError(f"it has more than {_MOST_ENTRIES} entries")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its entry {name!r} is a link")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append(entry)
                continue
            if not isinstance(entry, h5py.Dataset) or entry.dtype.kind not in "biuf":
                raise ValueError(f"its entry {name!r} is no array of numbers")
            if entry.external or entry.is_virtual:
                raise ValueError(f"its entry {name!r} lies in another file")
            total += entry.size * entry.dtype.itemsize
            if total > MAX_BYTES:
                raise ValueError(f"its arrays take more than {MAX_BYTES} bytes")
            _read_attributes(entry)
            entry[()]


def _read_attributes(entry):
    for name in entry.attrs:
        entry.attrs[name]


def _main():
    path = sys.argv[1]
    _limit_time(path)
    try:
        with h5py.File(path, "r") as file:
            _read_whole(file)
    except Exception as error:  # A damaged file makes h5py raise nearly anything.
        print(" ".join(str(error).split()) or type(error).__name__)
        sys.exit(1)


if __name__ == "__main__":
    _main()
