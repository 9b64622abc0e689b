"""Small files, written whole or not at all."""

from __future__ import annotations

import json
import os
from typing import Any, Dict


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
    partial = path + ".partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def read_json(path: str) -> Dict[str, Any]:
    """Reads a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.
    """
    with open(path, encoding="utf-8") as file:
        return json.load(file)
