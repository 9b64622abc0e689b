"""The mean teacher: a copy of the network with averaged variables."""

from __future__ import annotations

import keras
import tensorflow as tf

from drsl_tf import compat
from drsl_tf.losses import metric_learning
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
        mode_weight: power of the factors by which modes change predictions, see `predict_logits`;
            above 0 the variables of the multi-modal head, which the model must have, are averaged
            too, but for its projection, which is copied.
        temperature: of these factors.
    """

    def __init__(self, model: DrslModel, mode_weight: float, temperature: float):
        self._mode_weight = mode_weight
        self._temperature = temperature
        self._stride = model.logits_stride
        self._multiple = model.size_multiple
        self._base = keras.models.clone_model(model.base)
        head = model.segmentation_head
        self._head = type(head).from_config(head.get_config())
        features = self._base(tf.zeros((1, self._multiple, self._multiple, 3)))
        self._head(features)
        self._copies = [(self._base, model.base), (self._head, head)]
        self._projection = None
        if mode_weight:
            modes = model.multimodal_head
            assert modes is not None
            self._modes, self._embedding_stride = modes, model.embedding_stride
            self._embed = type(modes).from_config(modes.get_config())
            self._embed(features)
            if modes.feature_share:
                self._projection = compat.as_tf_variable(self._embed.projection)
            self._copies.append((self._embed, modes))
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

        With `mode_weight` the probabilities are multiplied by w^mode_weight and renormalised, w the
        softmax over the classes of `metric_learning.mode_log_scores`: of the averaged network's
        embedding, and of the model's current modes and their usage (equal where the head keeps no
        track of it).

        Args:
            images: (B, H, W, 3) float32 in [0, 255].

        Returns:
            (B, H, W, C) float32 logits, without gradient.
        """
        features = self._base(inference.pad_images(images, self._multiple), training=False)
        size = tf.shape(images)[1:3]
        logits = self._head(features, training=False)
        logits = inference.upsample_logits(logits, self._stride, size)
        if self._mode_weight:
            # The softmax of a sum of logits is the normalised product of their softmaxes.
            scores = inference.upsample_logits(
                self._score_classes(features), self._embedding_stride, size
            )
            logits += self._mode_weight * scores
        return tf.stop_gradient(logits)

    def _score_classes(self, features):
        """Computes (B, h, w, C), the scores of the classes by their modes."""
        embedding = self._embed(features, training=False)
        modes = self._modes.modes
        num_classes, num_modes, _ = modes.shape
        usage = tf.fill((num_classes, num_modes), 1.0 / num_modes)
        if self._modes.usage_decay is not None:
            usage = tf.convert_to_tensor(self._modes.usage)
        scores = metric_learning.mode_log_scores(
            metric_learning.squared_distances(embedding, modes), usage, self._temperature
        )
        return tf.reshape(scores, tf.concat([tf.shape(embedding)[:3], [num_classes]], axis=0))

    def follow(self, decay: tf.Tensor) -> None:
        """Updates every average: w' = decay * w' + (1 - decay) * w; called in replica context.

        Args:
            decay: float32 scalar in [0, 1].
        """

        def update_all(strategy, decay):
            for own, followed in self._pairs:
                # Directions are set, not trained: the average of two bases is none.
                kept = 0.0 if own is self._projection else decay
                strategy.extended.update(own, _move_towards, args=(followed, kept))

        tf.distribute.get_replica_context().merge_call(update_all, args=(decay,))


def _move_towards(own, followed, decay):
    own.assign(decay * own + (1.0 - decay) * tf.convert_to_tensor(followed))
