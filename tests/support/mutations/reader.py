"""A part of the program that reads files, with sound ones to damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Iterable
from typing import NamedTuple

MAX_PIXELS = 10**6


class Reader(NamedTuple):
    """A part of the program that reads files.

    Attributes:
        seeds: (path, content) of sound files; the path is where a damaged one is put.
        read: called with the path of a damaged file. Ends with a `UserError`, or gives whether it
            took the file: False where an invalid file is created again.
    """

    seeds: list[tuple[str, bytes]]
    read: Callable[[str], bool]


def list_files(folder: str) -> list[str]:
    """Lists every file below a folder, in the order of their paths."""
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def read_seeds(paths: Iterable[str]) -> list[tuple[str, bytes]]:
    """Reads sound files whole, for `Reader.seeds`."""
    seeds = []
    for path in paths:
        with open(path, "rb") as file:
            seeds.append((path, file.read()))
    return seeds
