"""The mean teacher: a copy of the network with averaged variables."""

from __future__ import annotations

import keras
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel


class Teacher:
    """An exponential moving average of a model's segmentation network.

    A. Tarvainen, H. Valpola, "Mean teachers are better role models", NeurIPS 2017. Every
    floating-point variable of base and segmentation head is averaged, the statistics of batch
    normalisation too.

    The copy is not part of the model: neither `model.variables` nor an export contains it, and a
    checkpoint stores its variables separately.

    Args:
        model: a built `DrslModel`; the copy is initialised from it.
    """

    def __init__(self, model: DrslModel):
        self._stride = model.logits_stride
        self._multiple = model.size_multiple
        self._base = keras.models.clone_model(model.base)
        head = model.segmentation_head
        self._head = type(head).from_config(head.get_config())
        self._head(self._base(tf.zeros((1, self._multiple, self._multiple, 3))))
        self._copies = [(self._base, model.base), (self._head, head)]
        self._pairs = [
            (compat.as_tf_variable(own), compat.as_tf_variable(followed))
            for copy, student in self._copies
            for own, followed in zip(copy.weights, student.weights)
            if compat.as_tf_variable(own).dtype.is_floating
        ]
        self.restart()

    @property
    def variables(self) -> list[tf.Variable]:
        """The averaged variables, always in the same order."""
        return [own for own, _ in self._pairs]

    def restart(self) -> None:
        """Sets the copy to the current weights of the network."""
        for copy, student in self._copies:
            copy.set_weights(student.get_weights())

    def predict_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Predicts images with the averaged network.

        Args:
            images: (B, H, W, 3) float32 in [0, 255].

        Returns:
            (B, H, W, C) float32 logits, without gradient.
        """
        features = self._base(inference.pad_images(images, self._multiple), training=False)
        logits = self._head(features, training=False)
        logits = inference.upsample_logits(logits, self._stride, tf.shape(images)[1:3])
        return tf.stop_gradient(logits)

    def follow(self, decay: tf.Tensor) -> None:
        """Updates every average: w' = decay * w' + (1 - decay) * w; called in replica context.

        Args:
            decay: float32 scalar in [0, 1].
        """

        def update_all(strategy, decay):
            for own, followed in self._pairs:
                strategy.extended.update(own, _move_towards, args=(followed, decay))

        tf.distribute.get_replica_context().merge_call(update_all, args=(decay,))


def _move_towards(own, followed, decay):
    own.assign(decay * own + (1.0 - decay) * tf.convert_to_tensor(followed))
