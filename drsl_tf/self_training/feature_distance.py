"""Feature distance to the initial encoder, which keeps what its pretraining learned of objects."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from drsl_tf.networks.layers.fusion import DEEPEST_LEVEL

# Share of a cell that one class must fill [DAFormer].
_LEAST_SHARE = 0.75


class InitialEncoder:
    """The encoder as it was built, with its pretrained weights; never trained.

    L. Hoyer et al., "DAFormer", CVPR 2022: the distance is the L2 norm between the deepest
    features of the trained encoder and of this one, on source images, where one thing class fills
    a cell.

    Args:
        base: the network, with "level5"; copied now, before weights of another run are loaded.
    """

    def __init__(self, base: keras.Model):
        copied = keras.Model(base.inputs, base.output[DEEPEST_LEVEL])
        self._encoder = keras.models.clone_model(copied)
        self._encoder.set_weights(copied.get_weights())
        self._encoder.trainable = False

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables, always in the same order."""
        return list(self._encoder.weights)

    def compute_distance(
        self, features: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, classes: Sequence[int]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the distance over the cells that one of the classes fills.

        Args:
            features: (B, h, w, D), the trained encoder's "level5" of the images.
            images: (B, H, W, 3) float32 in [0, 255].
            labels: (B, H, W) int32, 255 = ignore.
            classes: ids of the thing classes.

        Returns:
            The sum over these cells of the L2 norm of the difference, and their number: two
            float32 scalars.
        """
        initial = tf.cast(self._encoder(images, training=False), tf.float32)
        difference = tf.cast(features, tf.float32) - tf.stop_gradient(initial)
        # The square root has no derivative at 0, where training starts.
        distance = tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(difference), axis=-1), 1e-12))
        is_counted = find_filled_cells(labels, tf.shape(features)[1:3], classes)
        counted = tf.cast(is_counted, tf.float32)
        return tf.reduce_sum(distance * counted), tf.reduce_sum(counted)


def find_filled_cells(labels: tf.Tensor, size: tf.Tensor, classes: Sequence[int]) -> tf.Tensor:
    """Finds the cells of a feature map that one of the given classes fills.

    Args:
        labels: (B, H, W) int32.
        size: (2,) int32, rows and columns of cells; a cell covers ceil(H / rows) pixels a side.
        classes: ids.

    Returns:
        (B, rows, columns) bool: one class has at least three quarters of the cell's pixels.
    """
    is_class = tf.equal(labels[..., tf.newaxis], tf.constant(classes, labels.dtype))
    shape = tf.shape(labels)
    cell = -(-shape[1:3] // size)
    spare = cell * size - shape[1:3]
    is_class = tf.pad(is_class, [[0, 0], [0, spare[0]], [0, spare[1]], [0, 0]])
    shares = tf.reduce_mean(
        tf.cast(
            tf.reshape(is_class, (shape[0], size[0], cell[0], size[1], cell[1], len(classes))),
            tf.float32,
        ),
        axis=(2, 4),
    )
    return tf.reduce_any(shares >= _LEAST_SHARE, axis=-1)
