"""Runs a function of image batches on every replica of this process."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def count_local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Counts the replicas that this process drives.

    Args:
        strategy: any strategy.

    Returns:
        At least 1; fewer than `num_replicas_in_sync` where there are several machines.
    """
    return len(strategy.extended.worker_devices)


class ReplicatedFunction:
    """Splits batches over the replicas, and joins what comes back.

    A batch that does not divide by the replicas is filled up with black images whose results are
    dropped, so that no replica ever gets an empty batch.

    Args:
        function: called in graph mode as function(images, *extra) with images (b, H, W, 3)
            float32; returns a tuple of tensors whose first axis is the image's.
        strategy: where to run.
    """

    def __init__(self, function, strategy):
        self._strategy = strategy
        self._replicas = count_local_replicas(strategy)
        self._run = tf.function(
            lambda images, extra: strategy.run(function, args=(images, *extra)),
            reduce_retracing=True,
        )

    def __call__(self, images, *extra):
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
