"""Compatibility between Keras 2.15 and Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from data_pipelines.errors import UserError

KERAS_3 = int(keras.__version__.split(".", maxsplit=1)[0]) >= 3
_LossScaleOptimizer = (keras.optimizers if KERAS_3 else keras.mixed_precision).LossScaleOptimizer


def import_keras_hub() -> Any:
    """Imports KerasHub, which only some networks of the newer line need.

    Returns:
        The module `keras_hub`.

    Raises:
        UserError: this is the older line, or KerasHub is not installed.
    """
    try:
        if not KERAS_3:
            raise ImportError(f"Keras {keras.__version__} is too old")
        import keras_hub  # Slow to import.
    except ImportError as error:
        raise UserError(
            f"KerasHub, which this network needs, cannot be imported ({error}). It needs the newer "
            "dependency line, Python 3.12 with Keras 3, and the extra: pip install 'drsl_tf[vfm]'."
        ) from error
    return keras_hub


def apply_reduced_gradients(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
) -> None:
    """Applies gradients that are already summed over the replicas.

    Args:
        optimizer: a Keras optimizer, or one of TensorFlow Addons on the older line.
        gradients: list of tensors without loss scale, equal on every replica.
        variables: the variables they belong to.
    """
    if KERAS_3:
        # Keras 3 always sums over the replicas, so each one applies an equal share.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        # Keras 3 divides by the loss scale, which `unscale_gradients` has already done.
        scale = optimizer.scale_loss(1.0) if has_loss_scale(optimizer) else 1.0
        gradients = [gradient * (scale / replicas) for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, variables))
    elif isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        optimizer.apply_gradients(zip(gradients, variables), experimental_aggregate_gradients=False)
    else:
        optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)


def build_optimizer_slots(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> None:
    """Creates the optimizer's slot variables, so that a checkpoint can track them all.

    Args:
        optimizer: as in `apply_reduced_gradients`, not used yet.
        variables: the trainable variables that it will update.
    """
    if not KERAS_3 and isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        _ = optimizer.iterations
        optimizer._create_all_weights(variables)  # pylint: disable=protected-access
    else:
        optimizer.build(variables)


def list_optimizer_variables(optimizer: keras.optimizers.Optimizer) -> list[tf.Variable]:
    """Returns every variable of an optimizer: its step, slots, loss scale and learning rate.

    Args:
        optimizer: as in `apply_reduced_gradients`, built.

    Returns:
        The variables in the order of their creation.
    """
    variables = optimizer.variables
    variables = list(variables() if callable(variables) else variables)
    if KERAS_3:
        return variables
    if has_loss_scale(optimizer):
        # Keras 2 lists only the wrapped optimizer's variables.
        state = optimizer._loss_scale  # pylint: disable=protected-access
        variables += [state.current_loss_scale, state.counter]
        optimizer = optimizer.inner_optimizer
    # Nor does it list a constant rate, which a callback may change.
    rate = (
        optimizer._hyper["learning_rate"]  # pylint: disable=protected-access
        if isinstance(optimizer, keras.optimizers.legacy.Optimizer)
        else optimizer._learning_rate  # pylint: disable=protected-access
    )
    return [*variables, rate] if isinstance(rate, tf.Variable) else variables


def as_tf_variable(variable: tf.Variable | keras.Variable) -> tf.Variable:
    """Returns the TensorFlow variable behind a Keras variable.

    Args:
        variable: a `tf.Variable`, or a `keras.Variable` of Keras 3.

    Returns:
        The `tf.Variable`, which `tf.train.Checkpoint` can track.
    """
    return variable.value if KERAS_3 and isinstance(variable, keras.Variable) else variable


def has_loss_scale(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimizer has a loss scale for float16 gradients.

    Args:
        optimizer: any optimizer.

    Returns:
        True under mixed_float16, once the model is compiled.
    """
    return isinstance(optimizer, _LossScaleOptimizer)


def copy_optimizer(
    optimizer: keras.optimizers.Optimizer, change_rate: Callable[[Any], Any]
) -> keras.optimizers.Optimizer:
    """Creates a copy of an optimizer with another learning rate.

    Args:
        optimizer: the optimizer to copy, with its dynamic loss scale if it has one.
        change_rate: called with the learning rate, a float or a schedule; returns the copy's.

    Returns:
        The copy, without variables.
    """
    if has_loss_scale(optimizer):
        return _LossScaleOptimizer(
            copy_optimizer(optimizer.inner_optimizer, change_rate),
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
        )
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        rate = keras.optimizers.schedules.deserialize(rate)
    return type(optimizer).from_config({**config, "learning_rate": change_rate(rate)})


def read_learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate of an optimizer's last step.

    Args:
        optimizer: a Keras optimizer, with a loss scale or without, or one of TensorFlow Addons on
            the older line.

    Returns:
        The learning rate.
    """
    if has_loss_scale(optimizer):
        optimizer = optimizer.inner_optimizer
    if not KERAS_3 and isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        rate = optimizer.learning_rate
    else:
        # The property of Keras 3 is the rate of the next step.
        rate = optimizer._learning_rate  # pylint: disable=protected-access
    if callable(rate):
        rate = rate(tf.maximum(tf.convert_to_tensor(optimizer.iterations) - 1, 0))
    return float(tf.convert_to_tensor(rate))


def scale_loss(optimizer: keras.optimizers.Optimizer, loss: tf.Tensor) -> tf.Tensor:
    """Multiplies a loss by the optimizer's loss scale, if it has one.

    Args:
        optimizer: the model's optimizer, a `LossScaleOptimizer` under mixed_float16.
        loss: float32 scalar.

    Returns:
        The loss to differentiate, a float32 scalar.
    """
    if KERAS_3:
        return optimizer.scale_loss(loss)
    return optimizer.get_scaled_loss(loss) if has_loss_scale(optimizer) else loss


def unscale_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor]
) -> Sequence[tf.Tensor]:
    """Removes the factor of `scale_loss` from gradients.

    Args:
        optimizer: the optimizer given to `scale_loss`.
        gradients: list of tensors.

    Returns:
        The gradients for `apply_reduced_gradients`.
    """
    if not has_loss_scale(optimizer):
        return gradients
    if KERAS_3:
        scale = optimizer.scale_loss(1.0)
        return [gradient / scale for gradient in gradients]
    return optimizer.get_unscaled_gradients(gradients)
