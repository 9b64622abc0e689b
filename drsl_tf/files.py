"""JSON, text and pictures, written whole or not at all, and read back."""

from __future__ import annotations

import json
from typing import Any
from typing import Dict

from PIL import Image

from data_pipelines import whole_files


def write_json(path: str, content: Dict[str, Any]) -> None:
    """Writes a JSON file whole or not at all.

    Args:
        path: the file.
        content: what to write; NaN is refused, JSON has none.
    """
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes a text file whole or not at all.

    Args:
        path: the file.
        text: its content.
    """
    whole_files.write_whole(path, lambda file: file.write(text.encode("utf-8")))


def write_png(path: str, image: Image.Image, optimize: bool = False) -> None:
    """Writes a PNG whole or not at all.

    Args:
        path: the file.
        image: its content.
        optimize: takes longer for a smaller file.
    """
    whole_files.write_whole(path, lambda file: image.save(file, format="PNG", optimize=optimize))


def read_json(path: str) -> Dict[str, Any]:
    """Reads a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.
    """
    with open(path, encoding="utf-8") as file:
        return json.load(file)
