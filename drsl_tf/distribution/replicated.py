"""Runs a function of image batches on every replica of this process."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable

import numpy as np
import tensorflow as tf


def count_local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of replicas of this process.

    Args:
        strategy: any strategy.

    Returns:
        At least 1; fewer than `num_replicas_in_sync` with several machines.
    """
    if strategy.num_replicas_in_sync == 1:
        return 1  # The default strategy has no list of devices.
    return len(strategy.extended.worker_devices)


class Evener:
    """Sets variables that each replica updates separately, such as batch statistics, to their mean.

    Keras 2 averages them when they are read, Keras 3 reads the first replica's. Once they are equal
    everywhere, so are the predictions of all replicas and what a checkpoint restores.

    Args:
        variables: variables; those that are not floating-point are ignored.
        strategy: the strategy of the variables.
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
        # The mean of equal values must be exactly that value, whatever the rounding.
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
    """Splits batches over the replicas and concatenates the results.

    A batch that does not divide evenly over the replicas is padded with black images whose results
    are dropped, so that no replica has an empty batch.

    Args:
        function: called in graph mode as function(images, *extra) with images (b, H, W, 3)
            float32; returns a tuple of tensors whose first axis is the batch.
        strategy: the strategy to run in.
    """

    def __init__(
        self, function: Callable[..., tuple[tf.Tensor, ...]], strategy: tf.distribute.Strategy
    ):
        self._strategy = strategy
        self._replicas = count_local_replicas(strategy)
        self._run = tf.function(
            lambda images, extra: strategy.run(function, args=(images, *extra)),
            reduce_retracing=True,
            autograph=False,  # Nothing relies on it, and tracing takes less time.
        )

    def __call__(self, images: np.ndarray, *extra: tf.Tensor) -> tuple[np.ndarray, ...]:
        """Runs the function on one batch.

        Args:
            images: (n, H, W, 3) float32.
            *extra: tensors passed to every replica unchanged.

        Returns:
            Arrays of n rows.
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
