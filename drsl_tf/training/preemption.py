"""Handling of SIGTERM, which schedulers send before they preempt a machine."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from absl import logging

from data_pipelines import cli


class Preempted(SystemExit):
    """A run stopped early with complete files; the same command resumes it.

    If it is not caught, the process exits with `cli.EXIT_STOPPED_EARLY`.
    """

    def __init__(self):
        super().__init__(cli.EXIT_STOPPED_EARLY)


class Preemption:
    """Context manager that stops the run on SIGTERM.

    Files are complete or absent at any moment, so most work is interrupted at once. Work that must
    finish runs in `held`, which delays the stop. A nested instance replaces the outer one while it
    is entered. Outside of the main thread, the only one with signals, it does nothing.
    """

    def __init__(self):
        self.requested = False
        self._held = 0
        self._previous = None

    def __enter__(self) -> Preemption:
        """Installs the signal handler."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *unused: object) -> None:
        """Restores the previous signal handler."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delays the stop until the work inside is finished."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.requested and not self._held:
            self.stop()

    def stop(self) -> None:
        """Stops the run.

        Raises:
            Preempted: always.
        """
        logging.warning("Stopped by SIGTERM. Run the same command again to go on.")
        raise Preempted()

    def _handle(self, *unused):
        self.requested = True
        if not self._held:
            self.stop()
