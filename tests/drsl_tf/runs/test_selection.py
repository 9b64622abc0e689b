"""The model selected without labels: the rule, the record, the files and the lines about it."""

import json
import math

import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.reporting import page
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import results_schema
from drsl_tf.runs import selection
from drsl_tf.runs import stored_weights
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.runs.run_directory import RunDirectory

_NAMES = ["road", "car", "sign"]


def _make_scores(agreement, entropy=0.3, pixels=(700, 250, 50)):
    ious = dict(zip(_NAMES, agreement))
    return LabelFreeScores(
        images=1, pixels=dict(zip(_NAMES, pixels)), agreement={"mirrored": ious, "smaller": ious},
        entropies=dict.fromkeys(_NAMES, entropy), entropy=entropy, marginal_entropy=1.0,
        density=3.0,
    )  # fmt: skip


def _record(run_dir, *scores, statistics=None):
    results = ResultsFile(str(run_dir), experiment="test", seed=0, class_names=_NAMES)
    for index, each in enumerate(scores):
        results.record_stage(index, None, None, 1.0, steps=1, label_free=each)
        if index == 0 and statistics is not None:
            results.record_statistics(statistics)
    return results


def test_the_score_is_agreement_times_certainty():
    scores = _make_scores([0.9, 0.6, 0.3], entropy=0.2 * math.log(3))
    assert selection.compute_agreement(scores) == pytest.approx(0.6)
    assert selection.compute_score(scores) == pytest.approx(0.6 * 0.8)


def test_a_lost_class_costs_more_than_steadier_others_gain():
    whole = _make_scores([0.8, 0.7, 0.5])
    lost = _make_scores([0.9, 0.8, None], pixels=(740, 260, 0))
    assert selection.compute_agreement(lost) == pytest.approx(1.7 / 3)
    assert selection.compute_score(lost) < selection.compute_score(whole)
    stray = _make_scores([0.9, 0.8, 1.0], pixels=(740_000, 260_000, 10))
    assert selection.compute_agreement(stray) == pytest.approx(1.7 / 3)


def test_the_highest_score_is_selected_and_the_first_of_equal_ones(tmp_path):
    low, high = _make_scores([0.8, 0.7, 0.5]), _make_scores([0.9, 0.7, 0.5])
    results = _record(tmp_path, low, high, high)
    assert (results.selected.round, results.selected.target_statistics) == (1, False)
    content = results_schema.read_results(results.path)
    assert content.selected == results.selected and content.stages[2].label_free == high
    assert results.selected.source_score == selection.compute_score(low)
    results = _record(tmp_path, low, low, statistics=high)
    assert (results.selected.round, results.selected.target_statistics) == (0, True)
    assert results_schema.read_results(results.path).stages[0].label_free == low


def test_a_run_without_a_selection_records_none(tmp_path):
    results = _record(tmp_path, None, None)
    assert results.selected is None
    with open(results.path, encoding="utf-8") as file:
        text = file.read()
    assert "selected" not in json.loads(text) and "label_free" not in text
    with pytest.raises(UserError, match='selected checkpoint.*"label_free"'):
        stored_weights.find_checkpoint(str(tmp_path), "selected")


@pytest.mark.parametrize("part", ["pixels", "entropies", "agreement"])
def test_scores_of_different_classes_are_refused(tmp_path, part):
    results = _record(tmp_path, _make_scores([0.8, 0.7, 0.5]))
    with open(results.path, encoding="utf-8") as file:
        content = json.load(file)
    scores = content["stages"][0]["label_free"]
    (scores["agreement"]["smaller"] if part == "agreement" else scores[part]).pop("car")
    with open(results.path, "w", encoding="utf-8") as file:
        json.dump(content, file)
    with pytest.raises(UserError, match="of different classes"):
        stored_weights.find_checkpoint(str(tmp_path), "selected")


def _write_selected(run_dir, round_index, step):
    """Writes a checkpoint, in the place of an earlier one."""
    counters = {"round": tf.Variable(round_index), "step": tf.Variable(step)}
    path = RunDirectory(str(run_dir)).selected_checkpoint + "/ckpt-1"
    return tf.train.Checkpoint(counters=counters).write(path)


def test_a_checkpoint_of_another_candidate_is_refused(tmp_path):
    scores = [_make_scores([agreement, 0.7, 0.5]) for agreement in (0.8, 0.9, 1.0)]
    _record(tmp_path, scores[0], scores[0], statistics=scores[1])
    expected = _write_selected(tmp_path, 1, 0)
    assert stored_weights.find_checkpoint(str(tmp_path), "selected") == expected
    # A run that is stopped between the record of its round and the copy of the checkpoint.
    _record(tmp_path, scores[0], scores[2], statistics=scores[1])
    with pytest.raises(UserError, match="of round 1, step 0, but .* is of round 1, step 1"):
        stored_weights.find_checkpoint(str(tmp_path), "selected")
    _write_selected(tmp_path, 1, 1)
    assert stored_weights.find_checkpoint(str(tmp_path), "selected") == expected


def test_the_source_stage_is_found_where_its_copy_was_replaced(tmp_path):
    scores = [_make_scores([agreement, 0.7, 0.5]) for agreement in (0.9, 0.8)]
    _record(tmp_path, *scores)
    # By a round that was trained again, and selected no more.
    _write_selected(tmp_path, 1, 1)
    source = RunDirectory(str(tmp_path)).source_checkpoint + "/ckpt-1"
    counters = {"round": tf.Variable(0), "step": tf.Variable(1)}
    expected = tf.train.Checkpoint(counters=counters).write(source)
    assert stored_weights.find_checkpoint(str(tmp_path), "selected") == expected


def test_the_last_line_and_the_report_say_how_to_export_it(tmp_path):
    run_dir = tmp_path / "mine"
    run_dir.mkdir()
    results = _record(
        run_dir, _make_scores([0.8, 0.7, 0.5]), statistics=_make_scores([0.9, 0.7, 0.5])
    )
    line = selection.format_selection(results.selected, str(run_dir))
    assert "the source stage with the target's batch statistics (score 0.5" in line
    assert line.endswith("--checkpoint=selected --output=models/mine_selected")
    assert "Selected without target labels" in page.format_report([RunRecord(str(run_dir))])
