"""Compares the teacher on two replicas with one; a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf.gradient_update import GradientUpdate
from drsl_tf.online_model import OnlineDrslModel
from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys


def _train(strategy, batch):
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
    toys.run_steps(strategy, model, batch, 3)
    return [variable.numpy() for variable in model.teacher.variables]


def main():
    """Prints the largest difference, fails where it is too large."""
    toys.use_two_devices()
    batch = toys.make_batch()
    one = _train(tf.distribute.OneDeviceStrategy("CPU:0"), batch)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two = _train(strategy, batch)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert largest <= 1e-5, largest
    print(f"largest difference {largest:.2e}")
