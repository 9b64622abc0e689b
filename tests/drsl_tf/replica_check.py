"""Compares two replicas with one; a process of its own, since devices are set up only once."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys

_TOLERANCE = 1e-5


def _step(strategy, batch):
    with strategy.scope():
        # Mode alignment draws per replica, so it is off; so is batch normalisation's training.
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        toys.compile_model(model, keras.optimizers.SGD(1.0))
    before = [variable.numpy() for variable in model.trainable_variables]
    toys.run_steps(strategy, model, batch, 1)
    gradients = [old - variable.numpy() for old, variable in zip(before, model.trainable_variables)]
    return gradients, {metric.name: float(metric.result()) for metric in model.metrics}


def main():
    """Prints the largest difference, fails where it is too large."""
    toys.use_two_devices()
    batch = toys.make_uneven_batch()
    one, one_logs = _step(tf.distribute.OneDeviceStrategy("CPU:0"), batch)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two, two_logs = _step(strategy, batch)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert max(np.abs(a).max() for a in one) > 1e-2
    assert largest <= _TOLERANCE, largest
    for name, value in one_logs.items():
        assert abs(value - two_logs[name]) < 1e-5, (name, value, two_logs[name])
    print(f"largest difference {largest:.2e}")
