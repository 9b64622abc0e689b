"""Losses, gradients and variables that are not finite."""

import json
import logging
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines import interleave
from data_pipelines.adaptation import AdaptationData
from data_pipelines.augment import Augmenter
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.errors import UserError
from data_pipelines.streets import rendered
from drsl_tf.model import DrslModel
from drsl_tf.networks import backbones
from drsl_tf.networks import multimodal_head
from drsl_tf.networks import segmentation_heads
from drsl_tf.self_training.label_warnings import list_warnings
from drsl_tf.training import checkpoint_files
from drsl_tf.training import trainer
from drsl_tf.training.schedule import Schedule

_SIZE = (32, 64)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streets")
    shared = {"size": _SIZE, "seed": 5}
    game = rendered.rendered_root(
        root=str(folder / "game"), layout="gta5", style="game", count=6, **shared
    )
    camera = rendered.rendered_root(
        root=str(folder / "camera"),
        layout="cityscapes",
        style="camera",
        count=4,
        val_count=2,
        **shared,
    )
    return game, camera


class _Spoil(keras.callbacks.Callback):
    """Puts NaN into a variable, once, before a step of a round."""

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


def _run(roots, run_dir, callbacks=(), margin=0.5, rate=1e-3, **options):
    augmenter = Augmenter(size=_SIZE, scale=(0.8, 1.2))

    def build_model(space):
        head = multimodal_head.MultimodalHead(space.num_classes, 2, 8, hidden_units=(8,))
        base = backbones.small_cnn(width=8)
        linear = segmentation_heads.LinearHead(space.num_classes)
        return DrslModel(base, linear, head, margin=margin)

    return trainer.run(
        run_dir=str(run_dir),
        experiment="test",
        data=AdaptationData(
            source=Gta5(root=roots[0]),
            target=Cityscapes(root=roots[1]),
            source_augmenter=augmenter,
            target_augmenter=augmenter,
            source_batch=2,
            target_batch=2,
        ),
        schedule=Schedule(source_steps=5, rounds=1, steps_per_round=4, checkpoint_every=2),
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


def test_a_passing_fault_goes_back_and_on_with_other_data(roots, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="absl"):
        results = _run(roots, tmp_path, [_Spoil(1, 3, lambda m: m.segmentation_head.weights[0])])
    assert [stage["round"] for stage in results.stages] == [0, 1]
    assert results.stages[0]["warnings"] == []
    assert "other batches, 1 time" in results.stages[1]["warnings"][0]
    assert "In step 4 of round 1, ce_source" in caplog.text and "retry 1 of 3" in caplog.text
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["stages"][1]["warnings"] == results.stages[1]["warnings"]
    assert all(np.isfinite(values).all() for values in _read_values(tmp_path))


def test_a_lasting_fault_stops_with_step_term_and_files(roots, tmp_path):
    with pytest.raises(UserError) as caught:
        _run(roots, tmp_path, margin=float("inf"), max_retries=2)
    message = str(caught.value)
    assert "In step 1 of the source stage, dml_source is not finite" in message
    assert "2 times before" in message
    images = [pair.image_path for pair in Gta5(root=roots[0]).list_pairs("train")]
    seed = int(interleave.derive_seed(0, "retry", 2)[0])
    order = interleave.draw_order(
        2, num_items=6, seed=seed, round_index=0, stream=interleave.SOURCE
    )
    assert all(images[place] in message for place in order)
    assert sum(path in message for path in images) == 2
    assert all(np.isfinite(values).all() for values in _read_values(tmp_path))


def test_a_gradient_alone_is_noticed(roots, tmp_path):
    class Overflow(DrslModel):
        def train_step(self, data):
            results = super().train_step(data)
            return {**results, "gradient_norm": results["gradient_norm"] * float("inf")}

    def build_model(space):
        return Overflow(
            backbones.small_cnn(width=8), segmentation_heads.LinearHead(space.num_classes)
        )

    augmenter = Augmenter(size=_SIZE)
    with pytest.raises(UserError, match="step 1 of the source stage, the gradient is not finite"):
        trainer.run(
            run_dir=str(tmp_path),
            experiment="test",
            data=AdaptationData(
                source=Gta5(root=roots[0]),
                target=Cityscapes(root=roots[1]),
                source_batch=2,
                source_augmenter=augmenter,
                target_augmenter=augmenter,
            ),
            schedule=Schedule(source_steps=2, rounds=0),
            build_model=build_model,
            optimizer=lambda: keras.optimizers.SGD(1e-3),
            max_retries=0,
        )


def test_a_variable_alone_is_never_saved(roots, tmp_path, caplog):
    def find_variance(model):
        # Training writes it and does not read it, so no loss tells.
        return next(v for v in model.base.variables if "moving_variance" in v.name)

    with caplog.at_level(logging.WARNING, logger="absl"):
        _run(roots, tmp_path, [_Spoil(0, 1, find_variance)])
    assert "the variable model/" in caplog.text and "moving_variance" in caplog.text
    assert all(np.isfinite(values).all() for values in _read_values(tmp_path))


def _make_report(round_index, fraction, **pixels):
    return {"round": round_index, "portion": 0.2, "fraction": fraction, "pixels": pixels}


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
