"""AdamW whose decay passes over norms, biases and modes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.optimization.kernel_adamw import KernelAdamW
from tests.support import toys

_RATE, _DECAY = 0.1, 0.5


def _take_step_without_gradients(policy, update):
    """Trains on ignored pixels alone; gives the model and its variables before the step."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = toys.make_model(batch_norm_training=False)
        optimizer = KernelAdamW(_RATE, weight_decay=_DECAY)
        model.compile(optimizer=optimizer, gradient_update=update, jit_compile=False)
        batch = toys.make_batch()
        for half in batch.values():
            half["label"] = tf.fill(half["label"].shape, 255)
        before = [variable.numpy() for variable in model.trainable_variables]
        model.train_step(batch)
        return model, before
    finally:
        keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_kernels_alone_decay_and_those_of_heads_at_the_heads_rate(policy):
    update = GradientUpdate(head_rate_factor=2.0)
    model, before = _take_step_without_gradients(policy, update)
    assert compat.has_loss_scale(model.optimizer) == (policy == "mixed_float16")
    heads = {id(variable) for variable in model.head_variables}
    seen = set()
    for variable, old in zip(model.trainable_variables, before):
        is_kernel, is_head = "kernel" in variable.name, id(variable) in heads
        seen.add((is_kernel, is_head))
        rate = _RATE * (2.0 if is_head else 1.0)
        expected = old * (1.0 - rate * _DECAY) if is_kernel else old
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, err_msg=variable.name)
    assert {(True, True), (True, False), (False, True)} <= seen


def test_the_config_round_trip_keeps_the_rule():
    optimizer = KernelAdamW(_RATE, weight_decay=_DECAY, beta_2=0.9)
    config = keras.saving.serialize_keras_object(optimizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is KernelAdamW and copy.get_config() == optimizer.get_config()
    bias, kernel = tf.Variable([1.0], name="a/bias"), tf.Variable([1.0], name="a/kernel")
    copy.build([bias, kernel])
    copy.apply_gradients([(tf.zeros(1), bias), (tf.zeros(1), kernel)])
    np.testing.assert_allclose([bias[0], kernel[0]], [1.0, 1.0 - _RATE * _DECAY])
