"""Compares the teacher on two replicas with one; a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf.gradient_update import GradientUpdate
from drsl_tf.online_model import OnlineDrslModel
from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys


def _train(strategy, replicas, batch):
    with strategy.scope():
        model = toys.make_model(
            model_class=OnlineDrslModel,
            batch_norm_training=False,
            sma_weight=0.0,
            threshold=0.25,
            teacher_decay=0.6,
            mix_classes=True,
        )
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            gradient_update=GradientUpdate(head_rate_factor=10.0, micro_batches=2),
            jit_compile=False,
        )
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(
            lambda x: tf.split(x, replicas)[context.replica_id_in_sync_group], batch
        )
    )
    step = tf.function(lambda data: strategy.run(model.train_step, args=(data,)))
    for _ in range(3):
        step(shares)
    return [variable.numpy() for variable in model.teacher.variables]


def main():
    """Prints the largest difference, fails where it is too large."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    batch = toys.make_batch()
    one = _train(tf.distribute.OneDeviceStrategy("CPU:0"), 1, batch)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two = _train(strategy, 2, batch)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert largest <= 1e-5, largest
    print(f"largest difference {largest:.2e}")
