"""Finds and reads gin files, on disk and in the package `gin_configs`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from data_pipelines.errors import UserError

_CONFIG_PACKAGE = "gin_configs"
_MOST_CHARACTERS = 1_000_000


def find_gin_file(gin_file: str, folder: str, including: Sequence[str] = ()) -> str:
    """Finds a gin file.

    Args:
        gin_file: a path relative to `folder`, or the name of a file in `gin_configs`.
        folder: the working directory, or the folder of the file that includes this one.
        including: the chain of including files.

    Returns:
        The absolute path.

    Raises:
        UserError: there is no such file; lists the paths tried and the known names.
    """
    spec = importlib.util.find_spec(_CONFIG_PACKAGE)
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    places = [os.path.join(root, gin_file) for root in (folder, *roots)]
    for place in places:
        if os.path.isfile(place):
            return os.path.abspath(place)
    asked = f", which {including[-1]} includes," if including else ""
    known = [name for root in roots for name in sorted(os.listdir(root)) if name.endswith(".gin")]
    raise UserError(
        f"The gin file {gin_file!r}{asked} does not exist; looked for "
        f"{' and '.join(os.path.abspath(place) for place in places)}. "
        f"Known by name are {', '.join(known)}."
    )


def read_gin_file(path: str) -> str:
    """Reads a gin file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        UserError: it cannot be read as text, or is too long.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The gin file {path} cannot be read: {error}.") from error
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"{path} is longer than {_MOST_CHARACTERS} characters: no gin file is.")
    return text
