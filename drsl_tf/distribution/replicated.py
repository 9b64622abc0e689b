"""Runs a function of image batches on every replica of this process."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import tensorflow as tf


def count_local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Counts the replicas that this process drives.

    Args:
        strategy: any strategy.

    Returns:
        At least 1; fewer than `num_replicas_in_sync` where there are several machines.
    """
    if strategy.num_replicas_in_sync == 1:
        return 1  # The default strategy has no list of devices.
    return len(strategy.extended.worker_devices)


class Evener:
    """Gives variables that every replica keeps for itself, such as batch statistics, their mean.

    Keras 2 averages those when they are read, Keras 3 reads the first replica's. Once they are
    equal everywhere, so is what any replica predicts, and what a checkpoint restores.

    Args:
        variables: variables; those that are no floating-point numbers are left alone.
        strategy: where they live.
    """

    def __init__(self, variables: Iterable[tf.Variable], strategy: tf.distribute.Strategy):
        self._variables = [variable for variable in variables if variable.dtype.is_floating]
        self._strategy = strategy
        self._run = tf.function(lambda: strategy.run(self._assign_means))

    def even_out(self) -> None:
        """Assigns the means; collective on several machines."""
        if self._variables and self._strategy.num_replicas_in_sync > 1:
            self._run()

    def _assign_means(self):
        context = tf.distribute.get_replica_context()
        values = [tf.identity(tf.convert_to_tensor(variable)) for variable in self._variables]
        is_first = tf.equal(context.replica_id_in_sync_group, 0)
        # The mean of what is equal already has to be just that, whatever the rounding.
        bases = context.all_reduce(
            tf.distribute.ReduceOp.SUM,
            [tf.where(is_first, value, tf.zeros_like(value)) for value in values],
        )
        shifts = context.all_reduce(
            tf.distribute.ReduceOp.MEAN, [value - base for value, base in zip(values, bases)]
        )
        for variable, base, shift in zip(self._variables, bases, shifts):
            variable.assign(base + shift)


class ReplicatedFunction:
    """Splits batches over the replicas, and joins what comes back.

    A batch that does not divide by the replicas is filled up with black images whose results are
    dropped, so that no replica ever gets an empty batch.

    Args:
        function: called in graph mode as function(images, *extra) with images (b, H, W, 3)
            float32; returns a tuple of tensors whose first axis is the image's.
        strategy: where to run.
    """

    def __init__(
        self, function: Callable[..., tuple[tf.Tensor, ...]], strategy: tf.distribute.Strategy
    ):
        self._strategy = strategy
        self._replicas = count_local_replicas(strategy)
        self._run = tf.function(
            lambda images, extra: strategy.run(function, args=(images, *extra)),
            reduce_retracing=True,
        )

    def __call__(self, images: np.ndarray, *extra: tf.Tensor) -> tuple[np.ndarray, ...]:
        """Runs the function on one batch.

        Args:
            images: (n, H, W, 3) float32 numpy array.
            *extra: tensors handed to every replica as they are.

        Returns:
            Tuple of numpy arrays with n rows each.
        """
        count = len(images)
        images = np.pad(images, [(0, -count % self._replicas), (0, 0), (0, 0), (0, 0)])
        shares = tf.split(tf.constant(images), self._replicas)
        if self._replicas == 1:
            distributed = shares[0]
        else:
            distributed = self._strategy.experimental_distribute_values_from_function(
                lambda context: shares[context.replica_id_in_sync_group % self._replicas]
            )
        results = self._run(distributed, extra)
        per_output = [self._strategy.experimental_local_results(result) for result in results]
        return tuple(
            np.concatenate([part.numpy() for part in parts])[:count] for parts in per_output
        )
