"""Lists of images in text files, in the spellings that people and tools write."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

from data_pipelines.errors import UserError
from data_pipelines.io import files

_MAX_BYTES = 64_000_000


def read_names(
    path: str, spellings: Mapping[str, str], root: str, suffixes: Sequence[str]
) -> set[str]:
    """Reads a list of images, one a line.

    A line is a spelling of an image, with or without its ending, with slashes or backslashes,
    relative or below the root's path. Another word behind it, such as the path of the mask, is not
    read.

    Args:
        path: the list.
        spellings: path of an image without its ending -> its name.
        root: folder that a line may begin with.
        suffixes: lower-case endings of images.

    Returns:
        The names; of a line that means no image, the line without its ending.

    Raises:
        UserError: the list is missing, empty or not UTF-8; names no file.
    """
    try:
        lines = files.read_bytes(path, _MAX_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(str(error)) from error
    spellings = {unify_name(spelling): name for spelling, name in spellings.items()}
    listed = set()
    for line in filter(None, (line.strip().replace("\\", "/") for line in lines)):
        meanings = (unify_name(drop_suffix(text, suffixes)) for text in _list_meanings(line, root))
        known = (spellings[meaning] for meaning in meanings if meaning in spellings)
        listed.add(next(known, drop_suffix(line, suffixes)))
    if not listed:
        raise UserError("lists no image; write the path of one a line")
    return listed


def unify_name(name: str) -> str:
    """Returns a name as names are compared: Macs write letters and their accents apart (NFD)."""
    return unicodedata.normalize("NFC", name)


def drop_suffix(name: str, suffixes: Sequence[str]) -> str:
    """Returns a name without its ending, if that is one of `suffixes`, compared without case."""
    suffix = next((suffix for suffix in suffixes if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _list_meanings(line: str, root: str) -> Iterator[str]:
    """Yields the paths that a line can mean, the plain one first."""
    starts = ("", ".", root, os.path.abspath(root))
    for text in (line, re.split(r"[\s,;]+", line)[0]):
        for start in starts:
            yield text.removeprefix(start.replace("\\", "/")).lstrip("/")
