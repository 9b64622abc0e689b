"""Losses, gradients and variables that are not finite."""

import json
import logging
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.batches import training_batches
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.errors import UserError
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.self_training.label_warnings import list_warnings
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.training import trainer
from tests.support import streets
from tests.support import tiny_network
from tests.support import training
from tests.support.events import read_events

_SOURCE_STEPS, _ROUND_STEPS = 5, 4
# No pixel is so certain.
_LABELER = PseudoLabeler(confidence_floor=1.0)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Renders a source of 6 scenes and a target of 4 + 2."""
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=6)


class _Spoil(keras.callbacks.Callback):
    """Sets a variable to NaN once, before a step of a round."""

    def __init__(self, round_index, step, find):
        super().__init__()
        self._when = (round_index, step)
        self._find = find
        self._round = None

    def on_epoch_begin(self, epoch, logs=None):
        self._round = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self._round, batch) == self._when:
            self._when = None
            variable = self._find(self.model)
            variable.assign(tf.fill(variable.shape, float("nan")))


def _run(roots, run_dir, callbacks=(), margin=0.5, rate=1e-3, build=DrslModel, **options):
    def build_model(space):
        head = multimodal_head.MultimodalHead(space.num_classes, 2, 8, hidden_units=(8,))
        base = tiny_network.tiny_base()
        linear = linear_head.LinearHead(space.num_classes)
        return build(base, linear, head, margin=margin)

    options.setdefault(
        "schedule",
        Schedule(
            source_steps=_SOURCE_STEPS, rounds=1, steps_per_round=_ROUND_STEPS, checkpoint_every=2
        ),
    )
    return training.train(
        run_dir,
        data=streets.make_data(roots, scale=(0.8, 1.2)),
        build_model=build_model,
        optimizer=lambda: keras.optimizers.SGD(rate),
        callbacks=callbacks,
        **options,
    )


def _read_values(run_dir):
    """Every number of every checkpoint of a run."""
    for path in checkpoint_files.list_checkpoints(os.path.join(run_dir, "checkpoints")):
        reader = tf.train.load_checkpoint(path)
        for key, kind in reader.get_variable_to_dtype_map().items():
            if kind.is_floating:
                yield reader.get_tensor(key)


def _spoil_round_1():
    return _Spoil(1, 3, lambda model: model.segmentation_head.weights[0])


@pytest.fixture(scope="module")
def recovered(roots, tmp_path_factory):
    """A run that went back once, and whose pseudo-labels collapse."""
    run_dir = tmp_path_factory.mktemp("recovered")
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(trainer.logging, "warning", lambda text, *args: said.append(text % args))
        results = _run(roots, run_dir, [_spoil_round_1()], pseudo_labeler=_LABELER)
    return run_dir, results, "\n".join(said)


def test_a_passing_fault_goes_back_and_on_with_other_data(recovered):
    run_dir, results, said = recovered
    assert [stage.round for stage in results.stages] == [0, 1]
    assert "In step 4 of round 1, ce_source" in said and "retry 1 of 3" in said
    assert all(np.isfinite(values).all() for values in _read_values(run_dir))


def test_warnings_stand_in_the_log_in_the_results_and_in_tensorboard(recovered):
    run_dir, results, said = recovered
    assert results.stages[0].warnings == []
    back, collapse = results.stages[1].warnings
    assert "other batches, 1 time" in back
    assert "cover 0.0% of the pixels, less than half of the 20.0% asked for" in collapse
    assert back in said and collapse in said
    stored = json.loads((run_dir / "results.json").read_text())
    assert stored["stages"][1]["warnings"] == [back, collapse]
    events = read_events(run_dir / "tensorboard")
    assert [(step, float(value)) for step, value in events["scalars"]["warnings"]] == [
        (_SOURCE_STEPS, 0.0),
        (_SOURCE_STEPS + _ROUND_STEPS, 2.0),
    ]
    ((step, text),) = events["text"]["warnings_text"]
    assert step == _SOURCE_STEPS + _ROUND_STEPS
    assert text.item().decode() == f"- {back}\n- {collapse}"


def _read_last(run_dir):
    path = checkpoint_files.list_checkpoints(os.path.join(run_dir, "checkpoints"))[0]
    reader = tf.train.load_checkpoint(path)
    keys = [key for key in reader.get_variable_to_shape_map() if key.endswith("VARIABLE_VALUE")]
    return {key.split("/.")[0]: reader.get_tensor(key) for key in keys}


@pytest.mark.slow
def test_a_run_broken_off_in_a_retry_goes_on_in_it(roots, tmp_path, recovered):
    run_dir, whole, _ = recovered
    # The fault shows in the last step of the round; the retry's first step comes after it.
    callbacks = [_spoil_round_1(), training.StopAfter(_SOURCE_STEPS + _ROUND_STEPS + 1)]
    with pytest.raises(KeyboardInterrupt):
        _run(roots, tmp_path, callbacks, pseudo_labeler=_LABELER)
    last = _read_last(tmp_path)
    assert [int(last[f"counters/{name}"]) for name in ("round", "step", "retry")] == [1, 2, 1]
    results = _run(roots, tmp_path, pseudo_labeler=_LABELER)
    assert results.stages[1].warnings == whole.stages[1].warnings
    last, other = _read_last(tmp_path), _read_last(run_dir)
    assert last.keys() == other.keys()
    for key in last.keys() - {"counters/seconds"}:
        np.testing.assert_allclose(last[key], other[key], atol=1e-6, err_msg=key)


def test_a_gradient_that_no_loss_scale_mends_is_noticed(roots, tmp_path):
    class Singular(DrslModel):
        """Adds a root of 0, whose value is 0 and whose gradient is infinite."""

        def _compute_sums(self, part):
            sums, counts, tallies = super()._compute_sums(part)
            kernel = tf.convert_to_tensor(self.segmentation_head.weights[0])
            root = tf.sqrt(tf.reduce_sum(kernel - tf.stop_gradient(kernel)))
            return sums + root, counts, tallies

    try:
        # The scale starts at 2 ** 15 and is halved with every step that is passed over.
        with pytest.raises(UserError, match="step 15 of the source stage, the gradient is not"):
            _run(
                roots,
                tmp_path,
                build=Singular,
                schedule=Schedule(source_steps=40, rounds=0, steps_per_round=0),
                precision="mixed_float16",
                max_retries=0,
            )
    finally:
        keras.mixed_precision.set_global_policy("float32")


def test_a_lasting_fault_stops_with_step_term_and_files(roots, tmp_path):
    with pytest.raises(UserError) as caught:
        _run(roots, tmp_path, margin=float("inf"), max_retries=2)
    message = str(caught.value)
    assert "In step 1 of the source stage, dml_source is not finite" in message
    assert "after 2 retries" in message
    images = [pair.image_path for pair in Gta5(root=roots[0]).list_pairs("train")]
    seed = int(training_batches.derive_seed(0, "retry", 2)[0])
    order = training_batches.draw_order(
        2, num_items=6, seed=seed, round_index=0, stream=training_batches.SOURCE
    )
    assert all(images[place] in message for place in order)
    assert sum(path in message for path in images) == 2
    assert all(np.isfinite(values).all() for values in _read_values(tmp_path))


def test_a_gradient_alone_is_noticed(roots, tmp_path):
    class Overflow(DrslModel):
        def train_step(self, data):
            results = super().train_step(data)
            return {**results, "gradient_norm": results["gradient_norm"] * float("inf")}

    with pytest.raises(UserError, match="step 1 of the source stage, the gradient is not finite"):
        _run(roots, tmp_path, build=Overflow, max_retries=0)


def test_a_variable_alone_is_never_saved(roots, tmp_path, caplog):
    def find_variance(model):
        # Training writes it and does not read it, so no loss tells.
        return next(v for v in model.base.variables if "moving_variance" in v.name)

    with caplog.at_level(logging.WARNING, logger="absl"):
        _run(roots, tmp_path, [_Spoil(0, 1, find_variance)])
    assert "the variable model/" in caplog.text and "moving_variance" in caplog.text
    assert all(np.isfinite(values).all() for values in _read_values(tmp_path))


def _make_report(round_index, fraction, **pixels):
    return LabelReport(
        round=round_index, portion=0.2, fraction=fraction, accuracy=None,
        fractions=dict.fromkeys(pixels), accuracies=None, pixels=pixels,
        thresholds=dict.fromkeys(pixels, 0.9), mode_usage=None,
    )  # fmt: skip


def test_warnings_of_a_first_round_compare_with_the_portion():
    assert list_warnings(_make_report(1, 0.10, road=9, car=0)) == []
    (warning,) = list_warnings(_make_report(1, 0.09, road=9, car=0))
    assert "9.0% of the pixels" in warning and "20.0% asked for" in warning


def test_warnings_of_a_later_round_compare_with_the_round_before():
    previous = _make_report(1, 0.04, road=9, car=3, sky=0)
    assert list_warnings(_make_report(2, 0.03, road=1, car=1, sky=0), previous) == []
    collapse, gone = list_warnings(_make_report(2, 0.01, road=1, car=0, sky=0), previous)
    assert "4.0% of the round before" in collapse
    assert "hold no pixel of car, which" in gone
