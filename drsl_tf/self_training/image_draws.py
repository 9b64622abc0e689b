"""Random numbers for each image of a batch, however the batch is split over replicas."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def draw(
    count: int | tf.Tensor,
    numbers: int | Sequence[int],
    *,
    seed: tf.Tensor,
    first: int | tf.Tensor = 0,
    total: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws uniform numbers for each image of a replica's batch.

    Args:
        count: images in it.
        numbers: how many for each image, or their shape.
        seed: (2,) integer tensor.
        first: index of its first image in the batch of all replicas.
        total: images in that batch; None is `count`.

    Returns:
        (count, *numbers) float32 in [0, 1).
    """
    shape = [numbers] if isinstance(numbers, int) else list(numbers)
    total = count if total is None else total
    # Philox by name: by default the generator depends on the device.
    return tf.random.stateless_uniform([total, *shape], seed, alg="philox")[first : first + count]
