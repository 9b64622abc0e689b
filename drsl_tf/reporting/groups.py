"""Runs grouped by experiment: means and spreads over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.reporting.reported_run import RunRecord

# Okabe and Ito's colours, distinguishable by colour-blind people.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")


class Spread(NamedTuple):
    """A number over several seeds.

    Attributes:
        mean: mean over the seeds.
        deviation: sample standard deviation; None for a single seed.
        seeds: number of seeds.
    """

    mean: float
    deviation: float | None
    seeds: int

    def format(self, digits: int = 2) -> str:
        """Formats it as "mean ± deviation"."""
        text = f"{self.mean:.{digits}f}"
        return text if self.deviation is None else f"{text} ± {self.deviation:.{digits}f}"


def measure_spread(values: Sequence[float]) -> Spread | None:
    """Computes mean and standard deviation.

    Args:
        values: one number per seed.

    Returns:
        The spread; None without values.
    """
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, len(values))


class RunGroup:
    """The runs of one experiment.

    Args:
        experiment: its name.
        runs: its runs, at least one.
        color: its colour in charts, "#rrggbb".
    """

    def __init__(self, experiment: str, runs: Sequence[RunRecord], color: str):
        self.experiment = experiment
        self.runs = list(runs)
        self.color = color

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their ids."""
        return self.runs[0].class_names

    def find_last_round(self) -> int:
        """Finds the last round that all runs have finished."""
        return min(run.rounds[-1] for run in self.runs)

    def spread_at(self, round_index: int, *keys: str) -> Spread | None:
        """Computes the spread of a number of one stage over the seeds.

        Args:
            round_index: 0 for the source stage.
            *keys: its path in a stage's entry.

        Returns:
            Its spread over the runs that have it; None where none has.
        """
        curves = [dict(run.get_curve(*keys)) for run in self.runs]
        return measure_spread([curve[round_index] for curve in curves if round_index in curve])

    def spread_gain(self) -> Spread | None:
        """Computes the spread over the seeds of each run's gain in mIoU by adaptation."""
        last = self.find_last_round()
        curves = [dict(run.get_curve("miou")) for run in self.runs]
        return measure_spread([c[last] - c[0] for c in curves if last and {0, last} <= c.keys()])

    def sum_confusion(self, round_index: int) -> np.ndarray | None:
        """Sums the confusion matrices of a stage over the seeds.

        Args:
            round_index: 0 for the source stage.

        Returns:
            (C, C + 1) int64; None where no run has one.
        """
        matrices = [run.read_confusion(round_index) for run in self.runs]
        found = [matrix for matrix in matrices if matrix is not None]
        return np.sum(found, axis=0) if found else None


def group_runs(runs: Sequence[RunRecord]) -> list[RunGroup]:
    """Groups runs by experiment.

    Args:
        runs: in any order.

    Returns:
        Groups in the order of their first runs.

    Raises:
        UserError: runs of one experiment have different classes.
    """
    by_experiment: dict[str, list[RunRecord]] = {}
    for run in runs:
        members = by_experiment.setdefault(run.experiment, [])
        members.append(run)
        if run.class_names != members[0].class_names:
            raise UserError(
                f"The runs {members[0].run_dir} and {run.run_dir} are both of the experiment "
                f"{run.experiment!r} but of different classes. Report on them separately."
            )
    return [
        RunGroup(experiment, members, _COLORS[index % len(_COLORS)])
        for index, (experiment, members) in enumerate(by_experiment.items())
    ]
