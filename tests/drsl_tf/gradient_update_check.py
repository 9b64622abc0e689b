"""Compares split batches on two replicas with one replica; a process of its own."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.gradient_update import GradientUpdate
from drsl_tf.training.strategy import create_strategy
from tests.drsl_tf import toys

_SETTINGS = {"weight_decay": 0.01, "clip_norm": 0.5, "head_rate_factor": 10.0}


def _step(strategy, replicas, batch, micro_batches):
    with strategy.scope():
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        update = GradientUpdate(micro_batches=micro_batches, **_SETTINGS)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            gradient_update=update,
            jit_compile=False,
        )
    before = [variable.numpy() for variable in model.trainable_variables]
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(
            lambda x: tf.split(x, replicas)[context.replica_id_in_sync_group], batch
        )
    )
    step = tf.function(lambda data: strategy.run(model.train_step, args=(data,)))
    for _ in range(2):
        step(shares)
    moved = [old - v.numpy() for old, v in zip(before, model.trainable_variables)]
    scales = [
        float(compat.scale_loss(optimizer, tf.constant(1.0)))
        for optimizer in (model.optimizer, update.head_optimizer)
    ]
    return moved, scales


def main():
    """Prints the largest difference, fails where it is too large."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    batch = toys.make_batch()
    # Uneven counts of valid pixels: a mean of the parts' means would be wrong.
    batch["source"]["label"] = tf.concat(
        [batch["source"]["label"][:3], tf.fill((1, 32, 64), 255)], axis=0
    )
    one, _ = _step(tf.distribute.OneDeviceStrategy("CPU:0"), 1, batch, 1)
    strategy = create_strategy()
    assert strategy.num_replicas_in_sync == 2
    two, _ = _step(strategy, 2, batch, 2)
    largest = max(np.abs(a - b).max() for a, b in zip(one, two))
    assert max(np.abs(a).max() for a in one) > 1e-2
    assert largest <= 1e-5, largest
    keras.mixed_precision.set_global_policy("mixed_float16")
    half, scales = _step(strategy, 2, batch, 2)
    assert scales[0] == scales[1] > 1.0, scales
    length = np.sqrt(sum((a**2).sum() for a in one))
    error = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(one, half)))
    assert error < 0.15 * length, (error, length)
    print(f"largest difference {largest:.2e}, in half precision {error / length:.2e} of it")
