"""The record of the memory benchmark: a JSON file, and its tables."""

from __future__ import annotations

import json
import os
import statistics
from typing import Any

from benchmarks.steps.memory_plan import Measurement
from benchmarks.steps.networks import TITLES
from data_pipelines.errors import UserError

BEGIN = "<!-- tables of benchmarks.memory -->"
END = "<!-- end of the tables -->"
_GIGABYTE = 2**30


class MemoryRecord:
    """The recorded measurements; rows are added and never changed.

    Args:
        path: the JSON file; it may be absent.
    """

    def __init__(self, path: str):
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.rows = json.load(file)["rows"]

    def find(self, measurement: Measurement, limit_bytes: int) -> dict[str, Any] | None:
        """Finds the row of a measurement.

        Args:
            measurement: what was measured.
            limit_bytes: memory that the step may take.

        Returns:
            Its row; None if there is none, or only one of a step that did not fit in less.
        """
        for row in self.rows:
            fails = row["peak_bytes"] is None and row["limit_bytes"] < limit_bytes
            if _is_of(row, measurement) and not fails:
                return row
        return None

    def add(self, measurement: Measurement, found: dict[str, Any]) -> None:
        """Adds a row, or replaces the one of this measurement, and writes the file.

        Args:
            measurement: what was measured.
            found: "peak_bytes" (None if the step did not fit), "limit_bytes", "seconds" (one per
                step), "parameters" (trainable ones) and "machine".
        """
        from drsl_tf import files

        self.rows = [row for row in self.rows if not _is_of(row, measurement)]
        self.rows.append({**measurement._asdict(), **found})
        files.write_json(self.path, {"rows": self.rows})

    def format_markdown(self) -> str:
        """Formats a table of the plain steps and one of steps with less memory.

        Returns:
            Markdown.
        """
        plain = [row for row in self.rows if _is_plain(row)]
        varied = [row for row in self.rows if not _is_plain(row)]
        plain.sort(key=_sort_key)
        lines = [
            "| network | size | training, GB | training, s | evaluation, GB | evaluation, s |",
            "|---|---|---|---|---|---|",
        ]
        cells: dict[tuple, dict[str, str]] = {}
        for row in plain:
            place = (TITLES[row["network"]], f"{row['height']}x{row['width']}")
            cells.setdefault(place, {})[row["step"]] = _format_cells(row)
        for (network, size), steps in cells.items():
            train, evaluate = (steps.get(step, "- | -") for step in ("train", "evaluate"))
            lines.append(f"| {network} | {size} | {train} | {evaluate} |")
        if varied:
            lines += ["", "| training step | images | precision | parts | GB | s |"]
            lines += ["|---|---|---|---|---|---|"]
        for row in sorted(varied, key=_sort_key):
            lines.append(
                f"| {TITLES[row['network']]}, {row['height']}x{row['width']} | "
                f"{row['images']} + {row['images']} | {row['policy']} | {row['micro_batches']} | "
                f"{_format_cells(row)} |"
            )
        return "\n".join(lines) + "\n"


def replace_tables(path: str, tables: str) -> None:
    """Replaces the tables of a document, between the two comments that mark them.

    Args:
        path: Markdown file.
        tables: text from `MemoryRecord.format_markdown`.

    Raises:
        UserError: the document is missing or lacks the comments.
    """
    from drsl_tf import files

    try:
        with open(path, encoding="utf-8") as file:
            before, rest = file.read().split(BEGIN)
        after = rest.split(END)[1]
    except (OSError, ValueError, IndexError) as error:
        raise UserError(
            f"The document {path} has no place for the tables ({error}): it must hold the lines "
            f"{BEGIN!r} and {END!r}, once each."
        ) from error
    files.write_text(path, f"{before}{BEGIN}\n{tables}{END}{after}")


def _is_plain(row):
    return all(row[name] == default for name, default in Measurement._field_defaults.items())


def _sort_key(row):
    return (
        list(TITLES).index(row["network"]),
        row["height"] * row["width"],
        row["micro_batches"],
        row["policy"],
    )


def _format_cells(row):
    """Formats peak memory and seconds as two cells."""
    if row["peak_bytes"] is None:
        return f"did not fit in {row['limit_bytes'] / _GIGABYTE:.0f} | -"
    return f"{row['peak_bytes'] / _GIGABYTE:.2f} | {statistics.median(row['seconds']):.1f}"


def _is_of(row, measurement):
    """Returns whether a row is of a measurement."""
    return measurement._asdict().items() <= row.items()
