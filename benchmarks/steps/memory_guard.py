"""Stops a process that uses too much memory, before the kernel kills another one."""

from __future__ import annotations

import os
import signal
import threading

# A step allocates about a gigabyte per second.
_INTERVAL_SECONDS = 0.1
_RESERVE_BYTES = 2**30


class MemoryGuard:
    """Watches a child process's memory in a thread; Linux only.

    It limits resident memory: a limit on the address space would count memory that TensorFlow
    reserves but never uses.

    Args:
        pid: the child.
        limit_bytes: maximum resident memory.
    """

    def __init__(self, pid: int, limit_bytes: int):
        self._pid = pid
        self._limit_bytes = limit_bytes
        self._stop = threading.Event()
        self.reason: str | None = None
        """Why the child was stopped: "limit", "machine" (too little memory left), or None."""
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")  # If the guard is late, the kernel kills this process first.
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch; call it before waiting for the child."""
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
    """Reads the resident memory of a process.

    Args:
        pid: the process.

    Returns:
        Resident bytes.
    """
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def read_available_bytes() -> int:
    """Reads the memory available without swapping.

    Returns:
        Bytes.
    """
    with open("/proc/meminfo", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
