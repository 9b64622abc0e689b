"""Modes from data within a run, interrupted around the start."""

import keras
import numpy as np
import pytest

from drsl_tf import compat
from drsl_tf.models.model import DrslModel
from drsl_tf.modes.start import ModeStart
from drsl_tf.networks import backbones
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.networks.heads import segmentation_heads
from drsl_tf.self_training.schedule import Schedule
from tests.support import streets
from tests.support import training


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Renders a source of 6 scenes and a target of 4 + 2."""
    return streets.render_roots(tmp_path_factory.mktemp("streets"), num_source=6)


class _Modes(keras.callbacks.Callback):
    """Keeps the modes after every step."""

    def __init__(self):
        super().__init__()
        self.steps = {}

    def on_train_batch_end(self, batch, logs=None):
        self.steps[batch + 1] = self.model.multimodal_head.modes.numpy()


def _build_model(label_space, with_modes=True):
    num_classes = label_space.num_classes
    head = multimodal_head.MultimodalHead(num_classes, 2, 8, hidden_units=(8,))
    return DrslModel(
        backbones.small_cnn(width=8),
        segmentation_heads.LinearHead(num_classes),
        head if with_modes else None,
    )


def _run(roots, run_dir, callbacks=(), source_steps=5, build_model=_build_model, at=(0.4,)):
    modes = _Modes()
    training.train(
        run_dir,
        data=streets.make_data(roots),
        schedule=Schedule(source_steps=source_steps, rounds=0, checkpoint_every=2),
        build_model=build_model,
        optimizer=lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        mode_start=at and ModeStart(at=at, images=6),
        callbacks=[modes, *callbacks],
        figure_images=0,
        mode_images=0,
        tensorboard=False,
    )
    variables = [compat.as_tf_variable(variable).numpy() for variable in modes.model.variables]
    return modes.steps, variables


@pytest.fixture(scope="module")
def whole(roots, tmp_path_factory):
    """A run that sets the modes after 2 of 5 steps."""
    return _run(roots, tmp_path_factory.mktemp("whole"))


def test_the_modes_jump_at_the_start_alone(whole):
    steps, _ = whole
    jumps = [np.abs(steps[n + 1] - steps[n]).max() for n in range(1, 5)]
    assert np.argmax(jumps) == 0 and jumps[0] > 2 * max(jumps[1:])


@pytest.mark.slow
def test_an_interrupted_run_ends_as_a_whole_one(whole, roots, tmp_path):
    # After the start but before its checkpoint, so that it is repeated; then after its checkpoint.
    for after in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            _run(roots, tmp_path, [training.StopAfter(after)])
    steps, variables = _run(roots, tmp_path)
    assert min(steps) == 3
    for array, other in zip(variables, whole[1]):
        np.testing.assert_allclose(array, other, atol=1e-5)


def test_without_a_source_stage_or_modes_it_is_said_that_nothing_happens(roots, tmp_path, caplog):
    for name, options in (
        ("steps", {"source_steps": 0}),
        ("head", {"build_model": lambda space: _build_model(space, with_modes=False)}),
    ):
        with pytest.raises(KeyboardInterrupt):
            _run(roots, tmp_path / name, [_Stop()], **options)
        assert "Learner.mode_start has no effect" in caplog.text
        caplog.clear()


class _Stop(keras.callbacks.Callback):
    """Breaks a run off at its beginning."""

    def on_train_begin(self, logs=None):
        raise KeyboardInterrupt
