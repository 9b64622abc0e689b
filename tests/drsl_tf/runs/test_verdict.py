"""Whether adaptation helped, as a run's record, its last line and the report say it."""

import json
import os

import numpy as np
import pytest

from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.reporting import page
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import verdict
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.results_schema import Stage

NAMES = ["road", "car", "sky"]


def _make_confusion(*hits):
    """Creates a confusion matrix of 10 pixels per class with these numbers of hits."""
    matrix = np.zeros((3, 4), np.int64)
    for index, count in enumerate(hits):
        matrix[index, index] = count
        matrix[index, 3] = 10 - count  # The others are predicted as no class.
    return ConfusionMatrix.from_matrix(matrix)


def _record(folder, *confusions, steps=5, initial_run=None, name="run"):
    run_dir = str(folder / name)
    os.makedirs(run_dir)
    results = ResultsFile(
        run_dir, experiment="test", seed=0, class_names=NAMES, initial_run=initial_run
    )
    known = dict.fromkeys(NAMES, 0.9)
    for index, confusion in enumerate(confusions):
        report = LabelReport(
            round=index, portion=0.2, fraction=0.2, accuracy=None, fractions=known,
            accuracies=None, pixels=dict.fromkeys(NAMES, 2), thresholds=known, mode_usage=None,
        ) if index else None  # fmt: skip
        results.record_stage(index, confusion, report, 1.0, steps=steps if index == 0 else 3)
    with open(results.path, encoding="utf-8") as file:
        content = json.load(file)
    assert content["verdict"] == results.as_dict()["verdict"]
    return run_dir, results.verdict


def test_helped(tmp_path):
    run_dir, found = _record(tmp_path, _make_confusion(5, 5, 9), _make_confusion(8, 6, 8))
    assert found.outcome == "helped" and found.round == 1
    assert found.points == pytest.approx(10.0)
    line = verdict.format_verdict(found, run_dir)
    assert line == (
        "Adaptation helped: +10.0 points (source stage 63.3, last round 73.3); 2 classes up, 1 down"
    )
    assert 'class="helped"' in page.format_report([RunRecord(run_dir)])


def test_hurt_says_how_to_export_the_source_stage(tmp_path):
    stages = [_make_confusion(5, 5, 9), _make_confusion(9, 9, 9), _make_confusion(5, 4, 4)]
    run_dir, found = _record(tmp_path, *stages, name="it's mine")
    assert found.outcome == "hurt" and found.round == 2
    line = verdict.format_verdict(found, run_dir)
    assert line.startswith(
        "Adaptation HURT: -20.0 points (source stage 63.3, last round 43.3); 0 classes up, 2 down; "
        "keep the source stage: python -m drsl_tf.export --run_dir="
    )
    assert "--checkpoint=source" in line and "\n" not in line
    report = page.format_report([RunRecord(run_dir)])
    assert 'class="hurt"' in report and "Adaptation HURT: -20.0 points" in report
    assert "it's mine" not in report  # Names are escaped.


def test_no_change_is_no_help(tmp_path):
    _, found = _record(tmp_path, _make_confusion(5, 6, 9), _make_confusion(6, 5, 9))
    assert found.outcome == "unchanged"
    assert (found.classes_up, found.classes_down) == (1, 1)


@pytest.mark.parametrize(
    "gain, outcome",
    [(0.049, "unchanged"), (0.051, "helped"), (-0.049, "unchanged"), (-0.051, "hurt")],
)
def test_what_rounds_to_0_is_no_change(gain, outcome):
    source, last = (
        Stage(round=number, miou=score, iou={"a": score}, pseudo_label=None, seconds=1.0)
        for number, score in enumerate((50.0, 50.0 + gain))
    )
    assert verdict.judge([source, last]).outcome == outcome


def test_without_labels_it_cannot_tell(tmp_path):
    run_dir, found = _record(tmp_path, None, None)
    assert found.as_json() == {"outcome": "unknown", "round": 1, "reason": "no_labels"}
    line = verdict.format_verdict(found, run_dir)
    assert "cannot be told" in line and "no labels" in line
    assert "drsl_tf.report" in line and "--checkpoint=source" in line
    assert "cannot be told" in page.format_report([RunRecord(run_dir)])


def test_a_class_that_is_absent_is_neither_up_nor_down(tmp_path):
    source, last = _make_confusion(5, 5, 9).matrix, _make_confusion(8, 5, 9).matrix
    source[2] = 0
    stages = [ConfusionMatrix.from_matrix(matrix) for matrix in (source, last)]
    _, found = _record(tmp_path, *stages)
    assert (found.classes_up, found.classes_down) == (1, 0)


def test_an_untrained_source_stage_is_nothing_to_compare_with(tmp_path):
    stages = [_make_confusion(0, 1, 0), _make_confusion(8, 8, 8)]
    run_dir, found = _record(tmp_path, *stages, steps=0)
    assert found.outcome == "unknown"
    assert "ROUNDS = 0" in verdict.format_verdict(found, run_dir)
    _, found = _record(tmp_path, *stages, steps=0, initial_run="runs/source", name="warm")
    assert found.outcome == "helped"


def test_without_rounds_there_is_no_verdict(tmp_path):
    run_dir, found = _record(tmp_path, _make_confusion(5, 5, 9))
    assert found is None
    assert "Whether adaptation helped" not in page.format_report([RunRecord(run_dir)])
