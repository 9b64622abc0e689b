"""Ratios of interleaved repetitions, with their range."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from data_pipelines import progress


def summarise(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """Computes the ratios of repetitions that were measured in turn.

    Each repetition has its own ratio, so that a temporary slowdown of the machine affects both
    sides.

    Args:
        numerators: one number per repetition.
        denominators: as many.

    Returns:
        {"value": median ratio, "low": smallest, "high": largest, "repetitions": their number}.

    Raises:
        ValueError: the lengths differ or are 0.
    """
    if len(numerators) != len(denominators) or not numerators:
        raise ValueError(f"{len(numerators)} and {len(denominators)} repetitions cannot be paired.")
    ratios = [above / below for above, below in zip(numerators, denominators)]
    return {
        "value": round(statistics.median(ratios), 4),
        "low": round(min(ratios), 4),
        "high": round(max(ratios), 4),
        "repetitions": len(ratios),
    }


def measure_in_turn(measures, repetitions: int, title: str) -> dict[str, list[float]]:
    """Measures several things in turn, in alternating order.

    Args:
        measures: by name, a callable without arguments that returns a number.
        repetitions: number of measurements of each.
        title: title of the progress bar.

    Returns:
        By name, one number per repetition.
    """
    found: dict[str, list[float]] = {name: [] for name in measures}
    with progress.make_progress_bar(repetitions, title, "repetition") as bar:
        for repetition in range(repetitions):
            names = list(measures)
            for name in names if repetition % 2 == 0 else reversed(names):
                found[name].append(measures[name]())
            bar.update(1)
    return found
