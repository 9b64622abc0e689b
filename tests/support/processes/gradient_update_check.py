"""Compares split batches on several replicas with one replica."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.optimization.gradient_update import GradientUpdate
from tests.support import replicas
from tests.support import toys

_SETTINGS = {"weight_decay": 0.01, "clip_norm": 0.5, "head_rate_factor": 10.0}
# Half precision rounds each replica's share of a kernel's gradient, by 2**-11 of it at most. A sum
# of a few shares, clipped by a norm of such sums, is off by a few times that.
_HALF_TOLERANCE = 4 * 2.0**-11


def _step(strategy, batch, micro_batches, steps):
    with strategy.scope():
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        update = GradientUpdate(micro_batches=micro_batches, **_SETTINGS)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            gradient_update=update,
            jit_compile=False,
        )
    before = [variable.numpy() for variable in model.trainable_variables]
    toys.run_steps(strategy, model, batch, steps)
    moved = [old - v.numpy() for old, v in zip(before, model.trainable_variables)]
    assert max(abs(a).max() for a in moved) > 1e-2, "the step was passed over"
    scales = [
        float(compat.scale_loss(optimizer, tf.constant(1.0)))
        for optimizer in (model.optimizer, update.head_optimizer)
    ]
    return moved, scales


def check(one, many):
    """Compares two steps in float32, and one in half precision with one in half precision."""
    batch = tf.nest.map_structure(lambda x: tf.concat([x, x], axis=0), toys.make_uneven_batch())
    whole, _ = _step(one, batch, 1, steps=2)
    shared, _ = _step(many, batch, 2, steps=2)
    largest = replicas.find_largest_difference(whole, shared)
    assert largest <= 1e-5, largest
    print(f"split batches: largest difference {largest:.2e}")

    # Against float32 the step differs by percents: an untrained network's pixels lie between
    # modes, and rounding changes which is nearest. Against half precision on one replica only
    # sums differ, as long as neither passes over a step to find its loss scale.
    keras.mixed_precision.set_global_policy("mixed_float16")
    whole, scales = _step(one, batch, 1, steps=1)
    shared, shared_scales = _step(many, batch, 2, steps=1)
    keras.mixed_precision.set_global_policy("float32")
    assert scales == shared_scales == [2.0**15] * 2, (scales, shared_scales)
    length = np.sqrt(sum((a**2).sum() for a in whole))
    error = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(whole, shared))) / length
    assert error <= _HALF_TOLERANCE, error
    print(f"split batches in half precision: difference {error:.2e} of the step")
