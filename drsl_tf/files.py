"""Reads JSON files, and writes JSON, text and images atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Annotated
from typing import Any
from typing import TypeVar

import pydantic
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.io import json_models
from data_pipelines.io import whole_files

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)

Number = Annotated[float, pydantic.Field(gt=-1e15, lt=1e15)]
"""A score, share, time or setting; finite in an `Entry`."""


Channel = Annotated[int, pydantic.Field(ge=0, le=255)]
"""A colour channel."""


class Entry(pydantic.BaseModel):
    """A part of a JSON file: immutable, numbers finite, no other fields than those declared."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def as_json(self) -> dict[str, Any]:
        """Returns what JSON holds of it; fields that were never given are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def write_json(path: str, content: dict[str, Any]) -> None:
    """Writes a JSON file atomically.

    Args:
        path: the file; its folder is created if it is missing.
        content: what to write; NaN is an error, as JSON has none.

    Raises:
        UserError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes a text file atomically.

    Args:
        path: the file; its folder is created if it is missing.
        text: its content.

    Raises:
        UserError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Writes a file atomically.

    Args:
        path: the file; its folder is created if it is missing.
        content: its content.

    Raises:
        UserError: it cannot be written.
    """
    _write(path, lambda file: file.write(content))


def write_png(path: str, image: Image.Image, optimize: bool = False) -> None:
    """Writes a PNG file atomically.

    Args:
        path: the file; its folder is created if it is missing.
        image: its content.
        optimize: a smaller file, but slower.

    Raises:
        UserError: it cannot be written.
    """
    _write(path, lambda file: image.save(file, format="PNG", optimize=optimize))


def read_model(path: str, model: type[ModelT], fix: str) -> ModelT:
    """Reads a JSON file as a pydantic model.

    Args:
        path: the file.
        model: class of the content.
        fix: what to do about a file that cannot be used.

    Returns:
        The content.

    Raises:
        UserError: it cannot be read, or does not fit the model; names the file and the field, and
            ends with the fix.
    """
    try:
        return json_models.read_model(path, model)
    except UserError as error:
        raise UserError(f"{error} {fix}") from error


def _write(path: str, write_to: Callable) -> None:
    with whole_files.explain_failures(path):
        whole_files.make_folder(os.path.dirname(path) or ".")
        whole_files.write_whole(path, write_to)
