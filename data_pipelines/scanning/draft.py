"""A configuration that is not finished: its bindings, and what the user has to complete."""

from __future__ import annotations

import json
from typing import Any


class Draft:
    """An unfinished configuration.

    Attributes:
        bindings: macro -> value, in the order of the file.
        facts: what was found, a line each.
        questions: what could not be told, a line each.
    """

    def __init__(self) -> None:
        self.bindings: dict[str, Any] = {}
        self.facts: list[str] = []
        self.questions: list[str] = []

    def write(self, command: str) -> str:
        """Returns the text of the gin file.

        Args:
            command: the command that wrote it.
        """
        lines = [f"# Written by: {command}"]
        lines += [f"# {line}" for line in self.facts]
        lines += [f"# TO DO: {line}" for line in self.questions]
        lines += ["# Lines below the include replace its own; lines above it do not."]
        lines += ["", 'include "folder.gin"', ""]
        lines += [f"{name} = {_to_gin(value)}" for name, value in self.bindings.items()]
        return "\n".join(lines) + "\n"


def _to_gin(value):
    """Returns a value as gin reads it; strings in double quotes, as the shipped files have."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        inner = ", ".join(f"{_to_gin(key)}: {_to_gin(item)}" for key, item in value.items())
        text = "{" + inner + "}"
        if len(text) > 80:
            rows = [f"    {_to_gin(key)}: {_to_gin(item)}," for key, item in value.items()]
            return "{\n" + "\n".join(rows) + "\n}"
        return text
    if isinstance(value, list):
        return "[" + ", ".join(map(_to_gin, value)) + "]"
    return repr(value)
