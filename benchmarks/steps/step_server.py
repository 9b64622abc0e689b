"""Runs steps in separate processes to measure their time and memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.steps.memory_guard import MemoryGuard
from data_pipelines.errors import UserError


class MemoryLimitError(UserError):
    """A process needed more memory than its limit."""


class StepServer:
    """A process that runs steps on demand.

    Args:
        command: see `step_worker`.
        limit_bytes: maximum memory of the process; None sets no limit.

    Raises:
        MemoryLimitError: it exceeded the limit; also from the methods.
        UserError: it ended early for another reason; also from the methods.
    """

    def __init__(self, command: Sequence[str], limit_bytes: int | None = None):
        self._command = command
        # A file, because a pipe that is not read blocks when it is full.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._guard = None if limit_bytes is None else MemoryGuard(self._process.pid, limit_bytes)
        try:
            self.num_parameters = int(self._read())
        except BaseException:
            self.kill()
            raise

    def time_steps(self, count: int) -> float:
        """Runs steps.

        Args:
            count: number of steps.

        Returns:
            Seconds per step.
        """
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._explain_end()
        return float(self._read())

    def close(self) -> float:
        """Ends the process.

        Returns:
            Its peak memory in bytes.
        """
        self._process.stdin.close()
        peak = float(self._read())
        self._end_guard()
        self._process.wait()
        return peak

    def kill(self) -> None:
        """Kills the process if it still runs."""
        self._end_guard()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _end_guard(self):
        if self._guard is not None:
            self._guard.stop()

    def _read(self):
        while True:
            line = self._process.stdout.readline()
            if not line:
                self._explain_end()
            try:
                float(line)
            except ValueError:
                continue  # Skip output of libraries.
            return line

    def _explain_end(self):
        command = " ".join(self._command)
        self._end_guard()
        reason = None if self._guard is None else self._guard.reason
        if reason == "limit":
            raise MemoryLimitError(f"{command} needed more memory than its limit.")
        if reason == "machine":
            raise UserError(
                f"{command} was stopped: other programs left too little memory. Run "
                "the same command again when they are done."
            )
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines() or ["no output"]
        raise UserError(f"{command} ended early: {lines[-1]}")


def make_step_command(network: str, size: Sequence[int], images: int, **options) -> list[str]:
    """Creates the command of a `StepServer` of this project.

    Args:
        network: name of the network.
        size: (height, width).
        images: images of each domain in a batch.
        **options: further flags of `step_worker` by name.

    Returns:
        The command.
    """
    flags = {"network": network, "height": size[0], "width": size[1], "images": images, **options}
    return [
        sys.executable,
        "-m",
        "benchmarks.steps.step_worker",
        *(f"--{name}={value}" for name, value in flags.items()),
    ]
