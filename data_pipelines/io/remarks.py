"""Remarks of decoders about files that are read although a part of them is lost.

They say what is lost and name no path: whoever collects them adds it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from collections.abc import Sequence

from absl import logging

_MAX_SHOWN = 5

_COLLECTED: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar(
    "remarks", default=None
)


def note(remark: str) -> None:
    """Adds a remark to those that this thread collects; without effect where it collects none.

    Args:
        remark: about the file that is being decoded.
    """
    collected = _COLLECTED.get()
    if collected is not None:
        collected.append(remark)


@contextlib.contextmanager
def collect() -> Iterator[list[str]]:
    """Collects the remarks of this thread.

    Yields:
        The list that receives them.
    """
    found: list[str] = []
    token = _COLLECTED.set(found)
    try:
        yield found
    finally:
        _COLLECTED.reset(token)


class RemarkLog:
    """Logs the first remarks about files, and counts the others."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, path: str, remarks: Sequence[str]) -> None:
        """Logs the remarks about a file.

        Args:
            path: the file.
            remarks: may be empty.
        """
        if not remarks:
            return
        self._count += 1
        if self._count <= _MAX_SHOWN:
            logging.warning("%s %s", path, "; ".join(remarks))

    def close(self) -> None:
        """Logs how many files were not named."""
        if self._count > _MAX_SHOWN:
            logging.warning(
                "%d more files have such remarks, %d in all.",
                self._count - _MAX_SHOWN, self._count,
            )  # fmt: skip
