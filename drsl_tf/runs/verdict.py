"""Whether adaptation helped: the scores of the last round beside those of the source stage."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import Any

HELPED = "helped"
HURT = "hurt"
UNCHANGED = "unchanged"
UNKNOWN = "unknown"

# Points of mIoU that one decimal place shows as 0.
_SMALLEST = 0.05


def judge(
    stages: Sequence[dict[str, Any]], initial_run: str | None = None
) -> dict[str, Any] | None:
    """Compares the last round of a run with its source stage.

    Args:
        stages: those of `results.json`.
        initial_run: directory of the run whose weights this one started from, if any.

    Returns:
        JSON-ready: "outcome", one of "helped", "hurt", "unchanged" and "unknown"; "round", the
        last one. Where the outcome is known also "points" of mIoU gained, "source_miou" and
        "last_miou" in percent, and how many classes have a higher or lower IoU, "classes_up" and
        "classes_down"; otherwise "reason", "no_labels" or "no_source_stage". None for a run
        without rounds.
    """
    if not stages or stages[0]["round"] != 0 or stages[-1]["round"] == 0:
        return None
    source, last = stages[0], stages[-1]
    if source.get("steps") == 0 and initial_run is None:
        return {"outcome": UNKNOWN, "round": last["round"], "reason": "no_source_stage"}
    if source["miou"] is None or last["miou"] is None:
        return {"outcome": UNKNOWN, "round": last["round"], "reason": "no_labels"}
    points = last["miou"] - source["miou"]
    changes = [
        value - source["iou"][name]
        for name, value in last["iou"].items()
        if value is not None and source["iou"][name] is not None
    ]
    outcome = HELPED if points > 0 else HURT
    return {
        "outcome": UNCHANGED if abs(points) < _SMALLEST else outcome,
        "round": last["round"],
        "points": points,
        "source_miou": source["miou"],
        "last_miou": last["miou"],
        "classes_up": sum(change > 0 for change in changes),
        "classes_down": sum(change < 0 for change in changes),
    }


def format_verdict(verdict: dict[str, Any], run_dir: str) -> str:
    """Formats a verdict as the line that ends a run.

    Args:
        verdict: what `judge` returned.
        run_dir: the run's directory, for the commands that the line names.

    Returns:
        Text of one line.
    """
    output = f"models/{os.path.basename(os.path.abspath(run_dir))}_source"
    folder = shlex.quote(run_dir)
    export = (
        f"python -m drsl_tf.export --run_dir={folder} --checkpoint=source "
        f"--output={shlex.quote(output)}"
    )
    if verdict["outcome"] == UNKNOWN and verdict["reason"] == "no_labels":
        return (
            "Whether adaptation helped cannot be told: the target's evaluation split has no "
            f"labels. Compare the stages by eye (python -m drsl_tf.report {folder}), or add masks "
            "for some target images to the evaluation split, which score both models. The source "
            f"stage is kept: {export}"
        )
    if verdict["outcome"] == UNKNOWN:
        return (
            "Whether adaptation helped cannot be told: the source stage had no steps, so there is "
            "no source model to compare with. Train one with ROUNDS = 0 and as many source steps."
        )
    numbers = (
        f"{verdict['points']:+.1f} points (source stage {verdict['source_miou']:.1f}, last round "
        f"{verdict['last_miou']:.1f}); {verdict['classes_up']} classes up, "
        f"{verdict['classes_down']} down"
    )
    if verdict["outcome"] == HURT:
        return f"Adaptation HURT: {numbers}; keep the source stage: {export}"
    start = "Adaptation helped" if verdict["outcome"] == HELPED else "Adaptation changed nothing"
    return f"{start}: {numbers}"
