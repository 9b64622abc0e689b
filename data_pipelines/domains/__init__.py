"""One reader for each data set layout; `data_pipelines.domains.domain` defines the interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from data_pipelines.domains.domain import Domain

READERS = {
    "gta5": "Gta5",
    "synthia": "Synthia",
    "cityscapes": "Cityscapes",
    "camvid": "CamVid",
    "acdc": "Acdc",
    "bdd100k": "Bdd100k",
    "dark_zurich": "DarkZurich",
    "idd": "Idd",
    "mapillary": "Mapillary",
    "folder": "Folder",
    "records": "Records",
}
"""Class of each reader, by the name of its module."""


def find_reader(name: str) -> type[Domain]:
    """Returns the class of a reader.

    Args:
        name: a key of `READERS`.

    Returns:
        A subclass of `Domain`.

    Raises:
        UserError: there is no such reader.
    """
    if name not in READERS:
        raise UserError(f"There is no reader {name!r}; choose one of {', '.join(READERS)}.")
    # The name comes from the table above, never from a file.
    module = importlib.import_module(f"data_pipelines.domains.{name}")  # noqa: TID251
    return getattr(module, READERS[name])
