"""The record of the speed benchmark: a JSON file, and its table."""

from __future__ import annotations

import json
import os
from typing import Any

from benchmarks.comparison import tables

LIMITS = {
    "step_time_drsl_over_cbst": "<= 1.05",
    "step_time_drsl_over_cbst_resnet101": "<= 1.05",
    "step_memory_drsl_over_cbst": "<= 1.10",
    "step_memory_drsl_over_cbst_resnet101": "<= 1.10",
    "step_time_k8_over_k1": "<= 1.05",
    "step_time_modes_from_data_over_drsl": "<= 1.05",
    "step_time_double_over_twice_pixels": "about 1",
    "step_time_ours_over_torch": "<= 1.00",
    "step_time_ours_over_torch_resnet101": "<= 1.00",
    "step_time_teacher_mic_over_teacher": "<= 1.60",
    "step_time_drsl_over_teacher_mic": "<= 1.05",
    "pseudo_label_over_inference": "<= 1.25",
    "pseudo_label_memory_1000_over_100": "<= 1.05",
    "predict_over_bare_model": ">= 0.90",
    "pipeline_over_decode": ">= 0.90",
    "data_wait_over_step": "< 0.02",
    "scoring_rate_over_cityscapesscripts": ">= 10",
}
"""Target values of the ratios."""


class SpeedReport:
    """Updates the results file, keeping the parts that are not measured again.

    Args:
        path: the JSON file; a Markdown file is written next to it.
        quick: whether the sizes are reduced; a file of the other kind is replaced.
    """

    def __init__(self, path: str, quick: bool):
        self.path = path
        self._parts: dict[str, dict[str, Any]] = {}
        self._quick = quick
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if content["quick"] == quick:
                self._parts = content["parts"]

    def add(self, part: str, found: dict[str, Any]) -> None:
        """Replaces a part and writes the files.

        Args:
            part: its name.
            found: "ratios", "seconds", "sizes", "checks", "notes" and "machine", all optional.
        """
        from drsl_tf import files

        self._parts[part] = found
        tables.write_compact_json(self.path, self.as_dict())
        files.write_text(os.path.splitext(self.path)[0] + ".md", self.format_markdown())

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of the JSON file: "ratios" of all parts, and the parts themselves."""
        ratios: dict[str, Any] = {}
        for part in self._parts.values():
            ratios.update(part.get("ratios", {}))
        return {"quick": self._quick, "ratios": ratios, "parts": self._parts}

    def format_markdown(self) -> str:
        """Formats the ratios with their limits, then seconds, checks and notes.

        Returns:
            Markdown.
        """
        lines = ["# Speed" + (" (reduced size: not for comparison)" if self._quick else ""), ""]
        lines += [
            "| ratio | median | smallest | largest | repetitions | aim |",
            "|---|---|---|---|---|---|",
        ]
        for name, entry in self.as_dict()["ratios"].items():
            lines.append(
                f"| {name} | {entry['value']:.3f} | {entry['low']:.3f} | {entry['high']:.3f} | "
                f"{entry['repetitions']} | {LIMITS.get(name, '-')} |"
            )
        for title, key in (("seconds", "seconds"), ("check", "checks")):
            rows = [row for part in self._parts.values() for row in part.get(key, {}).items()]
            if rows:
                lines += ["", f"| {title} | |", "|---|---|"]
                lines += [f"| {name} | {value:g} |" for name, value in rows]
        for name, part in self._parts.items():
            lines += ["", f"{name}: {json.dumps(part.get('sizes', {}))}"]
            lines += [f"\n{note}" for note in part.get("notes", [])]
        return "\n".join(lines) + "\n"
