"""Keeps track of the pixels of each mode, from step to step."""

from __future__ import annotations

import tensorflow as tf

from drsl_tf.losses import metric_learning
from drsl_tf.losses import mode_usage
from drsl_tf.losses.mode_usage import ModeTally
from drsl_tf.networks.heads.multimodal_head import MultimodalHead

# Added to the seed, so that draws for different purposes differ.
_RESTART = 1 << 22


class ModeTracker:
    """Updates usage and variance, moves modes that are not trained, and restarts unused ones.

    Args:
        head: the head, whose `usage_decay` and further arguments say what happens.
        temperature: of the competition of modes for pixels (`competing_modes`), by which modes move
            to their pixels; None assigns pixels to the nearest mode for that too.
        seed: seed of the restarts' noise, together with the optimizer's step.
    """

    def __init__(self, head: MultimodalHead, temperature: float | None, seed: int):
        self._head = head
        self._temperature = temperature
        self._seed = seed

    def tally(self, pixels: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> dict[str, ModeTally]:
        """Sums up the pixels of each mode in a replica's batch, or in a part of it.

        Args:
            pixels: by domain, an embedding (N, d) float32 of unit vectors and labels (N,) int32.

        Returns:
            "nearest", by the nearest mode of a pixel's class, and "moving", by the assignment that
            moves the modes, if that is another.
        """
        modes = self._head.modes
        vectors = tf.stop_gradient(tf.concat([each for each, _ in pixels.values()], axis=0))
        labels = tf.concat([each for _, each in pixels.values()], axis=0)
        distances = metric_learning.squared_distances(vectors, modes)
        chosen = {"nearest": metric_learning.nearest_modes(distances, labels)}
        if self._head.mode_decay is not None and self._temperature is not None:
            chosen["moving"] = metric_learning.competing_modes(
                distances, labels, tf.convert_to_tensor(self._head.usage), self._temperature
            )
        return {
            name: mode_usage.tally_modes(vectors, labels, each, modes)
            for name, each in chosen.items()
        }

    def update(self, tallies: dict[str, ModeTally], step: tf.Tensor) -> None:
        """Updates the head's variables; called in every replica, after the optimizer's update.

        Args:
            tallies: what `tally` returns, summed over the replicas and the parts of the batch.
            step: int32 scalar, the optimizer's step.
        """
        head = self._head
        assert head.usage_decay is not None  # Heads without one have no tracker.
        usage, variance = mode_usage.average_usage(
            tf.convert_to_tensor(head.usage),
            tf.convert_to_tensor(head.variance),
            tallies["nearest"],
            head.usage_decay,
        )
        weights = tf.convert_to_tensor(head.mode_weights)
        if head.mode_decay is not None:
            moving = tallies.get("moving", tallies["nearest"])
            weights = mode_usage.move_modes(head.modes, moving, head.mode_decay)
        if head.restart_share:
            weights, usage, variance = mode_usage.restart_modes(
                weights,
                usage,
                variance,
                least=head.restart_share / head.modes_per_class,
                seed=tf.stack([self._seed + _RESTART, step]),
            )
        # Every replica assigns the same values.
        head.usage.assign(usage)
        head.variance.assign(variance)
        head.mode_weights.assign(weights)
