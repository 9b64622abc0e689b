"""Compares two replicas with one; a process of its own, since devices are set up only once."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys

_TOLERANCE = 1e-5


def _split(batch, replica, replicas):
    return tf.nest.map_structure(lambda tensor: tf.split(tensor, replicas)[replica], batch)


def _step(strategy, replicas, batch):
    with strategy.scope():
        # Mode alignment draws per replica, so it is off; so is batch normalisation's training.
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        optimizer = keras.optimizers.SGD(1.0)
        compat.build_optimizer_slots(optimizer, model.trainable_variables)
        model.compile(optimizer=optimizer, jit_compile=False)
    before = [variable.numpy() for variable in model.trainable_variables]
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: _split(batch, context.replica_id_in_sync_group, replicas)
    )
    tf.function(lambda data: strategy.run(model.train_step, args=(data,)))(shares)
    gradients = [
        old - variable.numpy() for old, variable in zip(before, model.trainable_variables)
    ]
    return gradients, {metric.name: float(metric.result()) for metric in model.metrics}


def main():
    """Prints the largest difference, fails where it is too large."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    batch = toys.make_batch()
    # Uneven counts of valid pixels: a mean of the replicas' means would be wrong.
    batch["source"]["label"] = tf.concat(
        [batch["source"]["label"][:3], tf.fill((1, 32, 64), 255)], axis=0
    )
    one, one_logs = _step(tf.distribute.OneDeviceStrategy("CPU:0"), 1, batch)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two, two_logs = _step(strategy, 2, batch)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert max(np.abs(a).max() for a in one) > 1e-2
    assert largest <= _TOLERANCE, largest
    for name, value in one_logs.items():
        assert abs(value - two_logs[name]) < 1e-5, (name, value, two_logs[name])
    print(f"largest difference {largest:.2e}")
