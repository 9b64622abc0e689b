"""Modes from data within a run, interrupted around the start."""

import multiprocessing

import keras
import numpy as np
import pytest

from drsl_tf import compat
from drsl_tf.models.model import DrslModel
from drsl_tf.modes.start import ModeStart
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.self_training.schedule import Schedule
from tests.support import streets
from tests.support import tiny_network
from tests.support import training

_START = {"at": (0.4,), "images": 6}


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
        tiny_network.tiny_base(),
        linear_head.LinearHead(num_classes),
        head if with_modes else None,
    )


def _run(
    roots,
    run_dir,
    callbacks=(),
    source_steps=5,
    build_model=_build_model,
    checkpoint_every=2,
    mode_start=None,
    **options,
):
    modes = _Modes()
    training.train(
        run_dir,
        data=streets.make_data(roots),
        schedule=Schedule(
            source_steps=source_steps,
            rounds=0,
            steps_per_round=0,
            checkpoint_every=checkpoint_every,
        ),
        build_model=build_model,
        optimizer=lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        mode_start=mode_start or ModeStart(**_START),
        callbacks=[modes, *callbacks],
        figure_images=0,
        mode_images=0,
        tensorboard=False,
        **options,
    )
    variables = [*modes.model.variables, *compat.list_optimizer_variables(modes.model.optimizer)]
    return modes.steps, [compat.as_tf_variable(variable).numpy() for variable in variables]


@pytest.fixture(scope="module")
def whole(roots, tmp_path_factory):
    """A run that sets the modes after 2 of 5 steps."""
    return _run(roots, tmp_path_factory.mktemp("whole"))


def test_the_modes_jump_at_the_start_alone(whole):
    steps, _ = whole
    jumps = [np.abs(steps[n + 1] - steps[n]).max() for n in range(1, 5)]
    assert np.argmax(jumps) == 0 and jumps[0] > 2 * max(jumps[1:])


class _BrokenStartError(Exception):
    """Raised in place of a kill around a start."""


class _BrokenStart(ModeStart):
    """Breaks the run off before a start, or once it has set the modes."""

    def __init__(self, is_before):
        super().__init__(**_START)
        self._is_before = is_before

    def update(self, model, *args, **options):
        if self._is_before:
            raise _BrokenStartError
        set_modes = model.multimodal_head.set_modes

        def set_and_break(clusters):
            set_modes(clusters)
            raise _BrokenStartError

        model.multimodal_head.set_modes = set_and_break
        super().update(model, *args, **options)


def _compare_interrupted_and_whole(roots, folder):
    """Compares the variables of both at their ends; gives the first step of the last part.

    The start is after step 2. A part of the run ends before it, within it, after it but before its
    checkpoint, and after its checkpoint.
    """
    options = {"checkpoint_every": 1, "deterministic": True}
    _, whole = _run(roots, folder / "whole", **options)
    for is_before in (True, False):
        with pytest.raises(_BrokenStartError):
            _run(roots, folder / "parts", mode_start=_BrokenStart(is_before), **options)
    for after in (1, 2):  # Both begin with step 2.
        with pytest.raises(KeyboardInterrupt):
            _run(roots, folder / "parts", [training.StopAfter(after)], **options)
    steps, parts = _run(roots, folder / "parts", **options)
    for array, other in zip(parts, whole):
        np.testing.assert_array_equal(array, other)
    return min(steps)


@pytest.mark.slow
def test_a_run_interrupted_around_a_start_ends_bit_for_bit_as_a_whole_one(roots, tmp_path):
    # In a process of its own, as determinism holds for a process.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_compare_interrupted_and_whole, (roots, tmp_path)) == 3


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
