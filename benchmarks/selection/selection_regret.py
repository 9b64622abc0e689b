"""The regret of a choice without labels: what the choice by labels gains over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drsl_tf.runs import selection
from drsl_tf.runs.results_schema import Stage


def compute_regret(mious: Sequence[float], chosen: int) -> float:
    """Computes the mIoU of the best candidate minus that of the chosen one.

    Args:
        mious: mean IoU of each candidate in percent.
        chosen: index of the chosen one.

    Returns:
        Points, at least 0.
    """
    return float(max(mious) - mious[chosen])


def compare_choice(stages: Sequence[Stage], statistics_miou: float | None) -> dict[str, Any]:
    """Compares the model that a run selected without labels with the one that labels select.

    Args:
        stages: those of a run that selects a model and whose target has labels.
        statistics_miou: mean IoU in percent of the source stage with the target's batch
            statistics; None where that is no candidate.

    Returns:
        "candidates", each with "name", "score" and "miou" in percent, the earliest first; "chosen"
        and "best", indices in them, the first of equal ones; "regret" in points.
    """
    by_round = {stage.round: stage.miou for stage in stages}
    candidates = selection.list_candidates(stages)
    mious = [
        statistics_miou if each.target_statistics else by_round[each.round] for each in candidates
    ]
    selected = selection.select(stages)
    chosen = [each.name for each in candidates].index(selected.name)
    return {
        "candidates": [
            {"name": each.name, "score": each.score, "miou": miou}
            for each, miou in zip(candidates, mious)
        ],
        "chosen": chosen,
        "best": mious.index(max(mious)),
        "regret": compute_regret(mious, chosen),
    }
