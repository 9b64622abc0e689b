"""What differs between Keras 2.15 and Keras 3, and nothing else."""

from __future__ import annotations

import keras
import tensorflow as tf

KERAS_3 = int(keras.__version__.split(".", maxsplit=1)[0]) >= 3


def apply_reduced_gradients(optimizer, gradients, variables):
    """Applies gradients that are already summed over the replicas.

    Args:
        optimizer: a Keras optimizer, or one of TensorFlow Addons on the older line.
        gradients: list of tensors, equal on every replica.
        variables: the variables they belong to.
    """
    if KERAS_3:
        # Keras 3 always sums over the replicas; equal shares add up to what was given.
        replicas = tf.distribute.get_replica_context().num_replicas_in_sync
        gradients = [gradient / replicas for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, variables))
    elif isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        optimizer.apply_gradients(
            zip(gradients, variables), experimental_aggregate_gradients=False
        )
    else:
        optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)


def build_optimizer_slots(optimizer, variables):
    """Creates the optimizer's slot variables, so that a checkpoint can name them all.

    Args:
        optimizer: as above, not used yet.
        variables: the trainable variables that it will move.
    """
    if not KERAS_3 and isinstance(optimizer, keras.optimizers.legacy.Optimizer):
        _ = optimizer.iterations
        optimizer._create_all_weights(variables)  # pylint: disable=protected-access
    else:
        optimizer.build(variables)


def list_optimizer_variables(optimizer):
    """Lists every variable of an optimizer, its step and its slots.

    Args:
        optimizer: as above, built.

    Returns:
        A list of variables in the order of their creation.
    """
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)


def as_tf_variable(variable):
    """Gives the TensorFlow variable behind a Keras variable.

    Args:
        variable: a `tf.Variable`, or a `keras.Variable` of Keras 3.

    Returns:
        The `tf.Variable`, which `tf.train.Checkpoint` can track.
    """
    return variable.value if KERAS_3 and isinstance(variable, keras.Variable) else variable


def scale_loss(optimizer, loss):
    """Scales a loss where the optimizer guards float16 gradients against underflow.

    Args:
        optimizer: the model's optimizer, a `LossScaleOptimizer` under mixed_float16.
        loss: float32 scalar.

    Returns:
        The loss to differentiate, a float32 scalar.
    """
    if KERAS_3:
        return optimizer.scale_loss(loss)
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return optimizer.get_scaled_loss(loss)
    return loss


def unscale_gradients(optimizer, gradients):
    """Undoes `scale_loss` on gradients where the optimizer does not do so itself.

    Args:
        optimizer: the optimizer given to `scale_loss`.
        gradients: list of tensors.

    Returns:
        The list to give to `apply_reduced_gradients`.
    """
    if not KERAS_3 and isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        return optimizer.get_unscaled_gradients(gradients)
    return gradients
