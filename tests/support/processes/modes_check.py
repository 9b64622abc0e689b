"""Compares modes from data, their usage and their competition on several replicas with one."""

import keras
import numpy as np

from drsl_tf import compat
from drsl_tf.modes.start import ModeStart
from tests.support import replicas
from tests.support import toys

_HEAD = {"usage_decay": 0.9, "restart_share": 0.9, "mode_decay": 0.8, "feature_share": 0.5}


def _read_state(model):
    head = model.multimodal_head
    return [variable.numpy() for variable in (head.usage, head.variance, head.mode_weights)]


def _train(strategy, batch):
    """Returns the state after a start from data, and that after two steps and restarts."""
    with strategy.scope():
        model = toys.make_model(
            batch_norm_training=False, head_settings=_HEAD, sma_weight=0.0, sibling_weight=0.5
        )
        toys.compile_model(model, keras.optimizers.SGD(0.1, momentum=0.9))
    images = {key: value.numpy() for key, value in batch["source"].items()}
    ModeStart().update(model, strategy, lambda: [images], seed=1, step=2)
    started = _read_state(model)
    toys.run_steps(strategy, model, batch, 2)
    return started, _read_state(model), model


def check(one, many):
    """Compares usage, variance and modes; all replicas hold the same values."""
    batch = toys.make_uneven_batch()
    started, trained, _ = _train(one, batch)
    shared_start, shared, model = _train(many, batch)
    assert max(abs(a - b).max() for a, b in zip(started, trained)) > 1e-2
    differences = [
        replicas.find_largest_difference(started, shared_start),
        replicas.find_largest_difference(trained, shared),
    ]
    assert max(differences) <= 1e-5, differences
    head = model.multimodal_head
    for variable in (head.usage, head.variance, head.mode_weights):
        values = many.experimental_local_results(compat.as_tf_variable(variable))
        first, *others = [each.numpy() for each in values]
        assert len(others) == many.num_replicas_in_sync - 1
        for each in others:
            np.testing.assert_array_equal(each, first)
    print(f"modes: largest difference {max(differences):.2e}")
