"""Reads JSON files, and writes JSON, text and images atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files


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
    _write(path, lambda file: file.write(text.encode("utf-8")))


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


def read_json(path: str) -> dict[str, Any]:
    """Reads a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        UserError: it cannot be read, or is not a JSON object; names the file and the cause.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{os.path.abspath(path)} cannot be read: {reason}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{os.path.abspath(path)} cannot be read: it is no JSON object.")
    return content


def _write(path: str, write_to: Callable) -> None:
    with whole_files.explain_failures(path):
        whole_files.make_folder(os.path.dirname(path) or ".")
        whole_files.write_whole(path, write_to)
