"""A part of the program that reads files, with sound ones to damage."""

from __future__ import annotations

import os
from typing import Callable
from typing import Iterable
from typing import List
from typing import NamedTuple
from typing import Tuple

MAX_PIXELS = 10**6


class Reader(NamedTuple):
    """A part of the program that reads files.

    Attributes:
        seeds: (path, content) of sound files; the path is where a damaged one is put.
        read: called with the path of a damaged file. Ends with a `UserError`, or gives whether it
            took the file: False where a file that cannot be used is made anew.
    """

    seeds: List[Tuple[str, bytes]]
    read: Callable[[str], bool]


def list_files(folder: str) -> List[str]:
    """Lists every file below a folder, in the order of their paths."""
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def read_seeds(paths: Iterable[str]) -> List[Tuple[str, bytes]]:
    """Reads sound files whole, for `Reader.seeds`."""
    seeds = []
    for path in paths:
        with open(path, "rb") as file:
            seeds.append((path, file.read()))
    return seeds
