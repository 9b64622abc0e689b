"""Runs that select a model without labels."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import linear_head
from drsl_tf.runs import selection
from drsl_tf.runs import stored_weights
from drsl_tf.self_training.label_free import LabelFreeScorer
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import TargetStatistics
from drsl_tf.training.settings import SelfTraining
from tests.support import streets
from tests.support import tiny_network
from tests.support import training


def _build_model(label_space):
    head = linear_head.LinearHead(label_space.num_classes)
    return DrslModel(tiny_network.tiny_base(), head)


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory):
    return streets.make_data(streets.render_roots(tmp_path_factory.mktemp("streets"), 4))


def _run(
    data, run_dir, callbacks=(), *, source_steps=4, rounds=1, selects="label_free", initial_run=None
):
    return training.train(
        run_dir,
        data=data,
        schedule=Schedule(
            source_steps=source_steps, rounds=rounds, steps_per_round=2, checkpoint_every=1
        ),
        build_model=_build_model,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        callbacks=list(callbacks),
        target_statistics=TargetStatistics(),
        selection=selects,
        initial_run=initial_run,
        tensorboard=False,
        figure_images=0,
    )


def _stop_at(index):
    """Returns a method that scores `index` models and then breaks the run off."""
    score, calls = LabelFreeScorer.score, itertools.count()

    def stop(*arguments, **options):
        if next(calls) == index:
            raise KeyboardInterrupt
        return score(*arguments, **options)

    return stop


def _score_selected(data, run_dir):
    """Scores the weights that the run kept."""
    model = _build_model(data.label_space)
    stored_weights.restore_weights(model, stored_weights.find_checkpoint(str(run_dir), "selected"))
    return LabelFreeScorer(model, tf.distribute.get_strategy()).score(
        data.target, data.target_pairs
    )


def _list_candidates(results):
    source, last = results.stages
    return [source.label_free, source.label_free_with_statistics, last.label_free]


@pytest.fixture(name="finished", scope="module")
def _finished(data, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    return run_dir, _run(data, run_dir)


def test_the_weights_of_the_highest_score_are_kept(data, finished):
    run_dir, results = finished
    scores = [selection.compute_score(each) for each in _list_candidates(results)]
    assert results.selected.score == max(scores) and len(set(scores)) == 3
    kept = selection.compute_score(_score_selected(data, run_dir))
    assert kept == pytest.approx(results.selected.score, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "index, place, broken_off",
    [(0, (0, False), "scoring 0"), (1, (0, True), "training"), (2, (1, False), "scoring 2")],
)
def test_any_candidate_can_be_selected_by_a_run_that_is_broken_off(
    data, finished, tmp_path, monkeypatch, index, place, broken_off
):
    entropies = [each.entropy for each in _list_candidates(finished[1])]
    best = entropies[index]
    monkeypatch.setattr(selection, "compute_score", lambda each: -abs(each.entropy - best))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if broken_off == "training":
            _run(data, tmp_path, [training.StopAfter(5)])  # Within round 1.
        else:
            patch.setattr(LabelFreeScorer, "score", _stop_at(int(broken_off.split()[1])))
            _run(data, tmp_path)
    results = _run(data, tmp_path)
    assert (results.selected.round, results.selected.target_statistics) == place
    assert _score_selected(data, tmp_path).entropy == pytest.approx(best, rel=1e-3)
    found = [each.entropy for each in _list_candidates(results)]
    assert found == pytest.approx(entropies, rel=1e-3)


@pytest.mark.slow
def test_a_run_without_rounds_selects_its_source_stage_and_may_go_on(data, finished, tmp_path):
    results = _run(data, tmp_path / "run", rounds=0)
    assert results.selected.name == "the source stage"
    again = _run(data, tmp_path / "run")
    assert _list_candidates(again) == _list_candidates(finished[1])
    # Without access to the source its stage has no steps.
    free = _run(data, tmp_path / "free", source_steps=0, rounds=0, initial_run=str(finished[0]))
    assert free.selected.round == 0
    (found,) = [stage.label_free for stage in free.stages]
    assert _score_selected(data, tmp_path / "free").entropy == pytest.approx(
        found.entropy, rel=1e-3
    )


@pytest.mark.slow
def test_a_selection_changes_no_weight(data, finished, tmp_path):
    _run(data, tmp_path, selects=None)
    first, second = (
        tf.train.load_checkpoint(stored_weights.find_checkpoint(str(run_dir)))
        for run_dir in (finished[0], tmp_path)
    )
    names = set(first.get_variable_to_shape_map())
    assert names == set(second.get_variable_to_shape_map())
    assert any(name.startswith("model/") for name in names)
    for name in names - {"_CHECKPOINTABLE_OBJECT_GRAPH"}:
        if "counters/seconds" not in name:
            np.testing.assert_array_equal(first.get_tensor(name), second.get_tensor(name), name)


def test_an_unknown_selection_is_refused():
    with pytest.raises(UserError, match="SelfTraining.selection is 'best'"):
        SelfTraining(selection="best")
