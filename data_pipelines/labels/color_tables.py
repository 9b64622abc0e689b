"""Colour tables: name of a class -> its colours, as users bind them and as tools write them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from data_pipelines.errors import UserError

Color = tuple[int, int, int]

_NAME_KEYS = ("label_name", "labelName", "name", "label", "title", "class")
_COLOR_KEYS = ("pixel_value", "pixelValue", "color", "colour", "rgb")
# Replicator writes these two in one colour, and tells them apart by alpha, which masks may lack.
_UNLABELLED = {"BACKGROUND", "UNLABELLED"}
_CSV_NAMES = ("name", "class", "label", "class name")
_CSV_CHANNELS = ("pixel value", "r", "red", "g", "green", "b", "blue")


def check_table(table: Mapping[str, Any]) -> dict[Color, str]:
    """Checks a table of names and colours.

    Args:
        table: name -> (red, green, blue), or a list of them; or colour -> name.

    Returns:
        Colour -> name.

    Raises:
        UserError: a value is no colour, or two names have the same.
    """
    colors: dict[Color, str] = {}
    for name, value in table.items():
        if isinstance(value, str) and _to_color(name) is not None:
            name, value = value, name
        listed = value if _is_sequence(value) and any(map(_is_sequence, value)) else [value]
        for entry in listed:
            _add(colors, _to_color(entry), str(name), f"{name!r}: {entry!r}")
    return colors


def parse_file(data: bytes, path: str) -> tuple[dict[Color, str], dict[int, str]]:
    """Parses the table that a tool writes beside its masks.

    These are CVAT's and Pascal VOC's `labelmap.txt` (lines "road:128,64,128::"), CSV with columns
    for name, red, green and blue, `_classes.csv` with columns "Pixel Value" and "Class", and the
    JSON files of Omniverse Replicator ({"(140, 25, 255, 255)": {"class": "car"}}, or ids in the
    place of colours), Unity Perception ("label_name", "pixel_value"), Supervisely ("title",
    "color") and plain {"road": [128, 64, 128]}.

    Args:
        data: the file's content.
        path: its path; the ending tells its kind.

    Returns:
        (colour -> name, stored id -> name); one of them is empty.

    Raises:
        UserError: it is none of these, or contradicts itself; names no file.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"is not text in UTF-8: {error}") from None
    colors: dict[Color, str] = {}
    ids: dict[int, str] = {}
    kind = path.lower().rpartition(".")[2]
    readers = {"json": _read_json, "csv": _read_csv}
    for key, name in readers.get(kind, _read_labelmap)(text):
        if isinstance(key, int):
            if ids.setdefault(key, name) != name:
                raise UserError(f"gives the id {key} to both {ids[key]!r} and {name!r}")
        else:
            _add(colors, _to_color(key), name, f"{name!r}: {key!r}")
    if colors and ids:
        raise UserError("lists both colours and ids; keep one of them")
    if not colors and not ids:
        raise UserError(
            "lists no class with its colour; it may be a labelmap.txt with lines such as "
            '"road:128,64,128::", a CSV with name, red, green and blue, or JSON such as '
            '{"road": [128, 64, 128]}'
        )
    return colors, ids


def _add(colors, color, name, entry):
    if color is None:
        raise UserError(
            f"has {entry}; a colour is three numbers from 0 to 255, such as (128, 64, 128)"
        )
    first = colors.setdefault(color, name)
    if first != name and not {first.upper(), name.upper()} <= _UNLABELLED:
        raise UserError(f"gives the colour {color} to both {colors[color]!r} and {name!r}")


def _is_sequence(value):
    return isinstance(value, (list, tuple))


def _to_color(value: Any) -> Color | None:
    """Returns a colour without its alpha; None where the value is none."""
    if isinstance(value, Mapping):
        value = [value.get(key) for key in "rgb"]
        # Unity's older format stores numbers between 0 and 1.
        if all(isinstance(v, (int, float)) and 0 <= v <= 1 for v in value):
            value = [round(255 * v) for v in value]
    if isinstance(value, str):
        numbers = re.findall(r"\d+", value)
        if re.fullmatch(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?", value):
            value = list(bytes.fromhex(value[1:7]))
        elif re.fullmatch(r"[\s\d,()\[\]]+", value) and len(numbers) in (3, 4):
            value = [int(number) for number in numbers]
    if not _is_sequence(value) or len(value) not in (3, 4):
        return None
    if not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in value):
        return None
    return value[0], value[1], value[2]


def _read_labelmap(text: str) -> Iterator[tuple[Any, str]]:
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, found, rest = line.partition(":")
        color = rest.partition(":")[0]
        if not found or not color.strip():
            raise UserError(f"has the line {line[:80]!r}; expected NAME:RED,GREEN,BLUE::")
        yield color, name.strip()


def _read_csv(text: str) -> Iterator[tuple[Any, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = ";" if lines and ";" in lines[0] else ","
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise UserError(f"is not CSV: {error}") from None
    header = [cell.lower() for cell in rows[0]] if rows else []
    names = [header.index(word) for word in _CSV_NAMES if word in header]
    channels = [header.index(word) for word in _CSV_CHANNELS if word in header]
    if not names or len(channels) not in (1, 3):
        raise UserError(
            f"starts with {','.join(header)[:80]!r}; expected columns name, r, g and b (or red, "
            'green and blue), or "Pixel Value" and "Class"'
        )
    for row in rows[1:]:
        try:
            numbers = [int(row[index]) for index in channels]
            yield (numbers[0] if len(numbers) == 1 else numbers), row[names[0]]
        except (ValueError, IndexError):
            raise UserError(f"has the line {','.join(row)[:80]!r} without the numbers") from None


def _read_json(text: str) -> Iterator[tuple[Any, str]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {error}") from None
    if isinstance(content, dict) and content and all(map(_to_color, content.values())):
        yield from ((color, name) for name, color in content.items())
    else:
        yield from _walk(content)


def _walk(content: Any) -> Iterator[tuple[Any, str]]:
    """Finds classes in JSON of any structure."""
    if isinstance(content, list):
        for entry in content:
            yield from _walk(entry)
    if not isinstance(content, dict):
        return
    name = next((content[k] for k in _NAME_KEYS if isinstance(content.get(k), str)), None)
    color = next((content[k] for k in _COLOR_KEYS if k in content), None)
    if name is not None and color is not None:
        yield color, name
        return
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(value.get("class"), str):
            value = value["class"]
        if isinstance(value, str) and key.isdecimal():
            yield int(key), value
        elif isinstance(value, str) and _to_color(key):
            yield key, value
        else:
            yield from _walk(value)
