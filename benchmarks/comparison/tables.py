"""Tables in Markdown, and JSON with each list on one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def format_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a Markdown table.

    Args:
        header: names of the columns.
        rows: their texts.

    Returns:
        Several lines.
    """
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def write_compact_json(path: str, content: dict[str, Any]) -> None:
    """Writes a JSON file with each list of numbers on one line.

    Args:
        path: the file.
        content: a dict of values or of dicts.
    """
    from drsl_tf import files

    def format_value(value, indent):
        if not isinstance(value, dict) or not value:
            return json.dumps(value, allow_nan=False)
        inner = indent + " "
        entries = (f"{inner}{json.dumps(k)}: {format_value(v, inner)}" for k, v in value.items())
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"

    files.write_text(path, format_value(content, "") + "\n")
