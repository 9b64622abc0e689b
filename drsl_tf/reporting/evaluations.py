"""The scores of `drsl_tf.evaluate` for runs: protocols, splits and weights, over seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from drsl_tf.evaluation import evaluation_file
from drsl_tf.evaluation import protocols
from drsl_tf.reporting.groups import RunGroup
from drsl_tf.reporting.groups import Spread
from drsl_tf.reporting.groups import measure_spread
from drsl_tf.runs.run_directory import EvaluationDirectory
from drsl_tf.runs.run_directory import RunDirectory

_LARGEST = next(iter(protocols.PROTOCOLS))


class Row(NamedTuple):
    """One way in which the runs of an experiment were evaluated.

    Attributes:
        group: the experiment.
        split: data set and split.
        weights: which weights, such as "last".
        testing: scales, mirroring and windows.
        name: name of the folders of these evaluations.
        seeds: number of runs evaluated so.
        means: the spread of mean IoU in percent, for "all" classes of the run and for the subsets
            "16" and "13"; None where the classes are not among the run's.
    """

    group: RunGroup
    split: str
    weights: str
    testing: str
    name: str
    seeds: int
    means: dict[str, Spread | None]


def list_rows(groups: Sequence[RunGroup]) -> list[Row]:
    """Lists the evaluations of the runs' weights in `RUN_DIR/evaluation/NAME`.

    Args:
        groups: the runs by experiment.

    Returns:
        One row per experiment, split, choice of weights, protocol and folder: those of two target
        files may have the same name and split.

    Raises:
        UserError: a file is not an evaluation.
    """
    rows = []
    for group in groups:
        found: dict[tuple[str, str, str, str], list[evaluation_file.Evaluation]] = {}
        for run in group.runs:
            for key, content in _read_evaluations(run.run_dir):
                found.setdefault(key, []).append(content)
        for key, contents in sorted(found.items()):
            means = {"all": measure_spread(_select(c.miou for c in contents))}
            for subset in protocols.PROTOCOLS:
                if subset != _LARGEST:
                    scores = (c.protocols[subset].miou for c in contents if subset in c.protocols)
                    means[subset] = measure_spread(_select(scores))
            rows.append(Row(group, *key, len(contents), means))
    return rows


def _read_evaluations(run_dir):
    for folder in RunDirectory(run_dir).list_evaluations():
        path = EvaluationDirectory(folder).scores
        if not os.path.isfile(path):
            continue
        content = evaluation_file.read_evaluation(path)
        if content.weights is not None:
            split = f"{content.target} {content.split}"
            key = split, content.weights, content.testing.name, os.path.basename(folder)
            yield key, content


def _select(values):
    return [value for value in values if value is not None]
