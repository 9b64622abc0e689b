"""Handling of SIGTERM, which schedulers send to preempt a machine, and of Ctrl-C (SIGINT)."""

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
    """Context manager that stops the run on SIGTERM and on SIGINT, which Ctrl-C sends.

    Files are complete or absent at any moment, so most work is interrupted at once. Work that must
    finish runs in `held`, which delays the stop; a second SIGINT ends that too. A nested instance
    replaces the outer one while it is entered. Outside of the main thread, the only one with
    signals, it does nothing.
    """

    def __init__(self):
        self.requested = False
        self._by_keyboard = False
        self._held = 0
        self._previous = {}

    def __enter__(self) -> Preemption:
        """Installs the signal handlers; forgets the signals of an earlier use."""
        self.requested = self._by_keyboard = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # A shell sets SIGINT to be ignored for what it starts in the background.
                if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *unused: object) -> None:
        """Restores the previous signal handlers."""
        while self._previous:
            signal.signal(*self._previous.popitem())

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
            Preempted: on SIGTERM here or, in a job of several machines, a signal to another.
            KeyboardInterrupt: on SIGINT, as without a handler; commands exit with
                `cli.EXIT_INTERRUPTED`.
        """
        by = "SIGTERM" if self.requested else "a signal to another machine"
        by = "Ctrl-C" if self._by_keyboard else by
        logging.warning("Stopped by %s. Run the same command again to go on.", by)
        if self._by_keyboard:
            raise KeyboardInterrupt
        raise Preempted()

    def _handle(self, number, unused_frame):
        is_second = self.requested and number == signal.SIGINT
        self.requested = True
        self._by_keyboard = number == signal.SIGINT
        if is_second:
            raise KeyboardInterrupt
        if not self._held:
            self.stop()
        if self._by_keyboard:
            logging.warning("Ctrl-C: saving after this step. Press it again to end at once.")
