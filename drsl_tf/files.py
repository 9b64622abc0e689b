"""Files, written whole or not at all.

Everything goes into a neighbour first, reaches the disk, and then takes its name: a reader finds
the old content or the new one, after a kill and after a power cut alike.
"""

from __future__ import annotations

import json
import os
from typing import Any
from typing import Callable
from typing import Dict

from PIL import Image

PARTIAL = ".partial"
"""Ending of what is being written; nothing reads such a file."""


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
    _write(path, lambda file: file.write(text.encode("utf-8")))


def write_png(path: str, image: Image.Image) -> None:
    """Writes a PNG whole or not at all.

    Args:
        path: the file.
        image: its content.
    """
    _write(path, lambda file: image.save(file, format="PNG"))


def read_json(path: str) -> Dict[str, Any]:
    """Reads a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.
    """
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def rename_whole(source: str, target: str) -> None:
    """Renames a file or folder, so that the new name outlives a power cut.

    Args:
        source: what is there, its content on the disk already.
        target: the new path, in the same file system; a file there is replaced.
    """
    os.replace(source, target)
    sync(os.path.dirname(target) or ".")


def sync(path: str) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk.

    Args:
        path: the file or folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: str, write_to: Callable) -> None:
    partial = path + PARTIAL
    with open(partial, "wb") as file:
        write_to(file)
        file.flush()
        os.fsync(file.fileno())
    rename_whole(partial, path)
