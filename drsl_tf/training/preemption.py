"""SIGTERM, as schedulers send it before they take a machine away."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from absl import logging

from data_pipelines import cli


class Preempted(SystemExit):
    """A run stopped early, whole on disk: the same command goes on.

    Where nothing catches it, the process ends with `cli.EXIT_STOPPED_EARLY`.
    """

    def __init__(self):
        super().__init__(cli.EXIT_STOPPED_EARLY)


class Preemption:
    """Turns SIGTERM into an orderly end, while it is entered.

    Files are whole or absent at any moment, so most work just breaks off. What is worth saving
    runs under `held`, which puts the end off. One inside another takes its place for a while.
    Outside of the main thread, which alone gets signals, this does nothing.
    """

    def __init__(self):
        self.requested = False
        self._held = 0
        self._previous = None

    def __enter__(self) -> Preemption:
        """Starts to listen."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *unused: object) -> None:
        """Gives the signal back to whom it belonged to."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lets the work inside end before a signal ends the run."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self.requested and not self._held:
            self.stop()

    def stop(self) -> None:
        """Ends the run.

        Raises:
            Preempted: always.
        """
        logging.warning("Stopped by SIGTERM. Run the same command again to go on.")
        raise Preempted()

    def _handle(self, *unused):
        self.requested = True
        if not self._held:
            self.stop()
