"""Ends a process that takes too much memory, before the machine ends another one."""

from __future__ import annotations

import os
import signal
import threading

# A step takes a gigabyte in about a second: this often is soon enough.
_INTERVAL_SECONDS = 0.1
_RESERVE_BYTES = 2**30


class MemoryGuard:
    """Watches a child process from a thread of its own, Linux alone.

    Resident memory is watched: a limit on the address space would count what TensorFlow reserves
    and never touches.

    Args:
        pid: the child.
        limit_bytes: the most resident memory that it may have.
    """

    def __init__(self, pid: int, limit_bytes: int):
        self._pid = pid
        self._limit_bytes = limit_bytes
        self._stop = threading.Event()
        self.reason: str | None = None
        """Why the child was ended: "limit", "machine" (others left too little), or None."""
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # Should the guard be late, the kernel takes this one.
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch; to be called before the child is waited for."""
        self._stop.set()
        self._thread.join()

    def _watch(self):
        while not self._stop.wait(_INTERVAL_SECONDS):
            try:
                resident = read_resident_bytes(self._pid)
            except (OSError, IndexError):
                return  # The child has ended.
            if resident > self._limit_bytes:
                self.reason = "limit"
            elif read_available_bytes() < _RESERVE_BYTES:
                self.reason = "machine"
            if self.reason is not None:
                os.kill(self._pid, signal.SIGKILL)
                return


def read_resident_bytes(pid: int) -> int:
    """Reads how much memory a process has in use now.

    Args:
        pid: the process.

    Returns:
        Resident bytes.
    """
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_available_bytes() -> int:
    """Reads how much memory the machine can still give out without swapping.

    Returns:
        Bytes.
    """
    with open("/proc/meminfo", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
