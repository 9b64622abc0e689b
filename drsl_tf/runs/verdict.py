"""Whether adaptation helped: the last round compared with the source stage."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Literal

from drsl_tf.runs.export_command import format_export
from drsl_tf.runs.results_schema import Stage
from drsl_tf.runs.results_schema import Verdict

# Differences of mIoU below this are 0 when rounded to one decimal place.
_SMALLEST = 0.05


def judge(stages: Sequence[Stage], initial_run: str | None = None) -> Verdict | None:
    """Compares the last round of a run with its source stage.

    Args:
        stages: those of `results.json`.
        initial_run: directory of the run whose weights this one started from, if any.

    Returns:
        The verdict; None for a run without rounds.
    """
    if not stages or stages[0].round != 0 or stages[-1].round == 0:
        return None
    source, last = stages[0], stages[-1]
    if source.steps == 0 and initial_run is None:
        return Verdict(outcome="unknown", round=last.round, reason="no_source_stage")
    if source.miou is None or last.miou is None or source.iou is None or last.iou is None:
        return Verdict(outcome="unknown", round=last.round, reason="no_labels")
    points = last.miou - source.miou
    pairs = [(source.iou[name], value) for name, value in last.iou.items()]
    changes = [new - old for old, new in pairs if old is not None and new is not None]
    outcome: Literal["helped", "hurt", "unchanged"] = "helped" if points > 0 else "hurt"
    return Verdict(
        outcome="unchanged" if abs(points) < _SMALLEST else outcome,
        round=last.round,
        points=points,
        source_miou=source.miou,
        last_miou=last.miou,
        classes_up=sum(change > 0 for change in changes),
        classes_down=sum(change < 0 for change in changes),
    )


def format_verdict(verdict: Verdict, run_dir: str) -> str:
    """Formats a verdict as the last line of a run's output.

    Args:
        verdict: what `judge` returned.
        run_dir: the run's directory, for the commands that the line names.

    Returns:
        Text of one line.
    """
    export = format_export(run_dir, "source")
    if verdict.reason == "no_labels":
        return (
            "Whether adaptation helped cannot be told: the target's evaluation split has no "
            "labels. Compare the stages by eye (python -m drsl_tf.report "
            f"{shlex.quote(run_dir)}), or add masks for some target images to the evaluation "
            f"split, which score both models. The source stage is kept: {export}"
        )
    if verdict.reason == "no_source_stage":
        return (
            "Whether adaptation helped cannot be told: the source stage had no steps, so there is "
            "no source model to compare with. Train one with ROUNDS = 0 and as many source steps."
        )
    numbers = (
        f"{verdict.points:+.1f} points (source stage {verdict.source_miou:.1f}, last round "
        f"{verdict.last_miou:.1f}); {verdict.classes_up} classes up, {verdict.classes_down} down"
    )
    if verdict.outcome == "hurt":
        return f"Adaptation HURT: {numbers}; keep the source stage: {export}"
    start = "Adaptation helped" if verdict.outcome == "helped" else "Adaptation changed nothing"
    return f"{start}: {numbers}"
