"""Runs the methods of the benchmark of modes, and collects their numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.comparison import adaptation_arms
from benchmarks.comparison import adaptation_runs
from benchmarks.comparison import bootstrap
from benchmarks.comparison import image_counts
from benchmarks.comparison import tables
from benchmarks.comparison.adaptation_plan import Plan

KMEANS = "kmeans_features"
"""Name of the baseline: k-means on the features of the network before any training."""

_CONTROL = "k1"

# Name in the results, domain and name in a measurement, of the numbers of a run.
_NUMBERS = (
    ("nmi_source", "source", "nmi"),
    ("nmi_target", "target", "nmi"),
    ("effective_modes", "target", "effective_modes"),
    ("effective_modes_source", "source", "effective_modes"),
    ("ami_target", "target", "ami"),
    ("shuffled_target", "target", "shuffled"),
    ("recall_target", "target", "recall"),
    ("nmi_right", "right", "nmi"),
    ("kmeans_target", "kmeans", "nmi"),
    ("kmeans_recall", "kmeans", "recall"),
)
_SHOWN = ("miou", "effective_modes", "nmi_source", "nmi_target", "ami_target", "kmeans_target")


class ModeRunner:
    """Trains and measures the methods of one pair.

    Args:
        pair: name of its setup.
        work_dir: folder of run directories, kept so that interrupted runs resume.
        records: receives the baseline's record, which the first run measures.
        baseline: the plan by which the baseline is recorded.
    """

    def __init__(
        self, pair: str, work_dir: str, records: adaptation_runs.RecordFile, baseline: Plan
    ):
        self._pair = pair
        self._records = records
        self._baseline = baseline
        self._runner = adaptation_runs.ArmRunner(pair, work_dir)

    def run(self, name: str, plan: Plan, seed: int) -> dict[str, Any]:
        """Trains one method with one seed, and measures its modes.

        Args:
            name: name of the method.
            plan: its plan.
            seed: the seed.

        Returns:
            The record of the run.

        Raises:
            UserError: a command failed; names its log.
        """
        run = self._runner.train(plan, seed)
        if not adaptation_runs.select_newest(self._records.read(), KMEANS, self._baseline):
            results = {"modes": self._measure(run, "features.json", "--initial")}
            self._records.append(
                adaptation_runs.make_record(
                    run, arm=KMEANS, seed=seed, plan=self._baseline, results=results
                )
            )
            run.commands.pop()
        modes = self._measure(run, "modes.json")
        results = {**adaptation_runs.score(run), "modes": modes}
        return adaptation_runs.make_record(run, arm=name, seed=seed, plan=plan, results=results)

    def _measure(self, run, name, *arguments):
        output = os.path.join(run.run_dir, name)
        run.call(
            "benchmarks.mode_measurement",
            f"--run_dir={run.run_dir}",
            f"--setup={self._pair}",
            f"--output={output}",
            *arguments,
        )
        with open(output, encoding="utf-8") as file:
            return json.load(file)


def make_report(
    plans: Mapping[str, Mapping[str, Plan]], records: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Collects the numbers of all finished runs.

    Args:
        plans: plans by pair and method; records of other configurations are left out.
        records: of all runs.

    Returns:
        {"pairs": by pair {"kmeans_features": {"nmi_target": number, ...}, and by method "seeds",
        lists of one number a seed, and "miou_difference_to_k1" with its interval}}.
    """
    pairs = {}
    for pair, arms in plans.items():
        content: dict[str, Any] = {}
        done: dict[str, dict[int, dict[str, Any]]] = {}
        for name, plan in arms.items():
            by_seed = adaptation_runs.select_newest(records, name, plan)
            found = list(by_seed.values())
            if name == KMEANS and found:
                numbers = found[0]["modes"]["kmeans"]
                keys = ("nmi", "ami", "shuffled", "recall")
                content[name] = {f"{key}_target": numbers[key] for key in keys}
            elif found:
                done[name] = by_seed
                content[name] = {
                    "seeds": list(by_seed),
                    "miou": [record["miou"] for record in found],
                    **{
                        key: [record["modes"][part][number] for record in found]
                        for key, part, number in _NUMBERS
                    },
                }
        for name in done.keys() - {_CONTROL}:
            difference = _compare(pair, done[name], done.get(_CONTROL, {}))
            if difference is not None:
                content[name][f"miou_difference_to_{_CONTROL}"] = difference
        if content:
            pairs[pair] = content
    return {"pairs": pairs}


def format_table(content: dict[str, Any]) -> str:
    """Formats the means over the seeds as a Markdown table.

    Args:
        content: from `make_report`.

    Returns:
        Several lines.
    """
    rows = []
    for pair, arms in content["pairs"].items():
        for name, numbers in arms.items():
            # The baseline has a single number, and not all of them.
            values = [np.atleast_1d(numbers.get(key, [])).tolist() for key in _SHOWN]
            rows.append([pair, name, str(max(map(len, values))), *map(_average, values)])
    return tables.format_rows(["pair", "method", "seeds", *_SHOWN], rows)


def _compare(pair, records, others):
    """Compares the mean IoU of two methods over the seeds that both have; None without such."""
    seeds = sorted(records.keys() & others.keys())
    if not seeds:
        return None
    counts = image_counts.read_pair(*([each[s] for s in seeds] for each in (records, others)))
    if counts is None:
        return None
    found = bootstrap.compare(*counts, block=adaptation_arms.find_setup(pair).block)
    # Without p, which would have to be adjusted for the number of methods.
    return {"seeds": seeds, "mean": found.mean, "low": found.low, "high": found.high}


def _average(values):
    if not values or None in values:
        return "-"
    return f"{np.mean(values):.3f}"
