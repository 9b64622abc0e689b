"""Compares split batches on two replicas with one replica; a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.gradient_update import GradientUpdate
from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys

_SETTINGS = {"weight_decay": 0.01, "clip_norm": 0.5, "head_rate_factor": 10.0}


def _step(strategy, batch, micro_batches):
    with strategy.scope():
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        update = GradientUpdate(micro_batches=micro_batches, **_SETTINGS)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            gradient_update=update,
            jit_compile=False,
        )
    before = [variable.numpy() for variable in model.trainable_variables]
    toys.run_steps(strategy, model, batch, 2)
    moved = [old - v.numpy() for old, v in zip(before, model.trainable_variables)]
    scales = [
        float(compat.scale_loss(optimizer, tf.constant(1.0)))
        for optimizer in (model.optimizer, update.head_optimizer)
    ]
    return moved, scales


def main():
    """Prints the largest difference, fails where it is too large."""
    toys.use_two_devices()
    batch = toys.make_uneven_batch()
    one, _ = _step(tf.distribute.OneDeviceStrategy("CPU:0"), batch, 1)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two, _ = _step(strategy, batch, 2)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert max(np.abs(a).max() for a in one) > 1e-2
    assert largest <= 1e-5, largest
    keras.mixed_precision.set_global_policy("mixed_float16")
    half, scales = _step(strategy, batch, 2)
    assert scales[0] == scales[1] > 1.0, scales
    length = np.sqrt(sum((a**2).sum() for a in one))
    error = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(one, half)))
    assert error < 0.15 * length, (error, length)
    print(f"largest difference {largest:.2e}, in half precision {error / length:.2e} of it")
