"""Evaluations of runs in the report: every kind of test a row, over seeds."""

import json
import os

import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import cityscapes19
from drsl_tf.evaluation import reports
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.reporting import evaluations
from drsl_tf.reporting import page
from drsl_tf.reporting.groups import group_runs
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import EvaluationDirectory
from drsl_tf.runs.run_directory import RunDirectory

_NAMES = cityscapes19().class_names


def _make_run(folder, seed):
    run_dir = os.path.join(str(folder), f"run{seed}")
    results = ResultsFile(run_dir, experiment="drsl", seed=seed, class_names=_NAMES)
    results.record_stage(0, _draw(seed), None, 1.0)
    return run_dir


def _draw(seed):
    counts = np.random.default_rng(seed).integers(1, 50, (19, 20))
    return ConfusionMatrix.from_matrix(counts)


def _evaluate(run_dir, name, seed, weights="last", testing="single-scale"):
    header = {
        "target": "cityscapes", "split": "val", "weights": weights, "testing": {"name": testing},
    }  # fmt: skip
    report = reports.EvaluationReport(_draw(seed), _NAMES, header)
    folder = EvaluationDirectory(RunDirectory(run_dir).locate_evaluation(name))
    report.write(folder.scores, folder.confusion, folder.picture)
    return report.as_dict()


def test_every_kind_of_test_is_a_row_over_seeds(tmp_path):
    run_dirs = [_make_run(tmp_path, seed) for seed in range(3)]
    best = "best, chosen with target labels"
    last = [_evaluate(run_dir, "a", seed) for seed, run_dir in enumerate(run_dirs)]
    _evaluate(run_dirs[0], "b", 7, testing="multi-scale (0.9, 1) + flip")
    chosen = _evaluate(run_dirs[1], "c", 8, weights=best)
    _evaluate(run_dirs[1], "d", 9, weights=None)  # An exported model's, which is no run's.
    (group,) = group_runs([RunRecord(run_dir) for run_dir in run_dirs])
    rows = evaluations.list_rows([group])
    assert [(row.weights, row.testing, row.seeds) for row in rows] == [
        (best, "single-scale", 1),
        ("last", "multi-scale (0.9, 1) + flip", 1),
        ("last", "single-scale", 3),
    ]
    for subset, values in (
        ("all", [content["miou"] for content in last]),
        ("16", [content["protocols"]["16"]["miou"] for content in last]),
        ("13", [content["protocols"]["13"]["miou"] for content in last]),
    ):
        assert rows[2].means[subset].mean == pytest.approx(np.mean(values))
        assert rows[2].means[subset].deviation == pytest.approx(np.std(values, ddof=1))
    written = page.format_report(group.runs)
    assert "Other tests" in written and f"{chosen['miou']:.2f}" in written


def test_targets_of_one_name_are_no_seeds(tmp_path):
    """Two target files may both read a folder, whose domain is called "folder"."""
    run_dir = _make_run(tmp_path, 0)
    for seed, name in enumerate(("last_fog_single-scale", "last_night_single-scale")):
        _evaluate(run_dir, name, seed)
    rows = evaluations.list_rows(group_runs([RunRecord(run_dir)]))
    assert [(row.name, row.seeds) for row in rows] == [
        ("last_fog_single-scale", 1),
        ("last_night_single-scale", 1),
    ]


def test_runs_without_evaluations_have_no_such_section(tmp_path):
    assert "Other tests" not in page.format_report([RunRecord(_make_run(tmp_path, 0))])


@pytest.mark.parametrize(
    "content, words",
    [
        ("[]", "evaluation.json is invalid: .*object.*drsl_tf.evaluate again"),
        ({"testing": ...}, "field 'testing'"),
        ({"testing": 3}, "field 'testing'"),
        ({"testing": None}, "testing is missing"),
        ({"miou": ...}, "field 'miou'"),
        ({"schema": 2}, "schema 2"),
    ],
)
def test_a_spoilt_evaluation_is_named(tmp_path, content, words):
    run_dir = _make_run(tmp_path, 0)
    written = _evaluate(run_dir, "a", 0)
    if isinstance(content, dict):
        changed = {**written, **content}
        content = json.dumps({key: value for key, value in changed.items() if value is not ...})
    path = EvaluationDirectory(RunDirectory(run_dir).locate_evaluation("a")).scores
    with open(path, "w") as file:
        file.write(content)
    with pytest.raises(UserError, match=words):
        evaluations.list_rows(group_runs([RunRecord(run_dir)]))
