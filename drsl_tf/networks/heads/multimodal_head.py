"""The multi-modal head: an embedding of each pixel, and the modes of each class."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf.common import FEATURES
from drsl_tf.networks.layers.fusion import DEEPEST_LEVEL
from drsl_tf.networks.layers.resize_like import ResizeLike
from drsl_tf.networks.layers.sublayers import build_sublayer

# Initial standard deviation of the class centres and of the modes around them (RepMet's code).
_CLASS_STDDEV = 0.1
_MODE_STDDEV = 0.05

_BIAS_STDDEV = 0.01
# Most dimensions of the features in the embedding: 1,408 channels took a quarter of a step, and
# modes followed 16 directions less well (docs/method.md).
_FEATURE_DIM = 128
_RESTART_SHARE = 0.02


@keras.saving.register_keras_serializable(package="drsl_tf")
class MultimodalHead(keras.layers.Layer):
    """Embeds every pixel on the unit sphere, where each class has several trainable modes.

    Hidden 1x1 convolutions with ReLU and a linear 1x1 convolution to the embedding, as RepMet
    (L. Karlinsky et al., CVPR 2019) does for boxes with dense layers. The modes are
    initialised as R[c, k] = u_c + v_k with u ~ N(0, 0.1^2) and v ~ N(0, 0.05^2) shared by the
    classes [RepMet]; three modes a class and the sizes are this project's choice.

    The losses pull the pixels of a class together, until the embedding hardly separates kinds of
    pixels inside it. With `feature_share` s the embedding is E = [(1 - s)^0.5 e, s^0.5 f], e the
    output of the convolutions and f = P x / |P x|, with x the base's "features" and, where it has
    it, "level5", of length 1 each, the latter interpolated. P has 128 rows, or as many as x has
    channels; `ModeStart` sets them to principal directions of x, and they are random before. f
    passes no gradient on: the losses reach the base by e, so that f may keep what modes can follow.
    Squared distances by e are at most 4 (1 - s): a margin above that can be met only where f
    separates classes too. This is this project's choice.

    Args:
        num_classes: number of classes C.
        modes_per_class: number of modes K of each class.
        embedding_dim: dimension d of the embedding.
        hidden_units: channels of each hidden convolution; may be empty.
        seed: seed of the initial values of modes and projection.
        usage_decay: decay of the moving averages of `usage` and `variance`, which `DrslModel`
            updates in each step; None keeps no track of them.
        restart_share: a mode of usage below restart_share / K restarts next to the mode of its
            class with the largest product of usage and variance; 0 restarts none. It needs
            `usage_decay`, with which None is 0.02.
        mode_decay: decay of the moving average by which a mode follows its pixels, in each step,
            instead of training; no loss moves it then. It needs `usage_decay`. None trains the
            modes.
        feature_share: share of the base's "features" and "level5" in the squared length of the
            embedding, whose dimension d grows by the rows of P; 0 embeds by the convolutions
            alone.
        **kwargs: arguments of `keras.layers.Layer`.

    Raises:
        UserError: a number, decay or share is out of range, or is given without `usage_decay`.
    """

    def __init__(
        self,
        num_classes: int,
        modes_per_class: int = 3,
        embedding_dim: int = 64,
        hidden_units: Sequence[int] = (256,),
        seed: int = 0,
        usage_decay: float | None = None,
        restart_share: float | None = None,
        mode_decay: float | None = None,
        feature_share: float = 0.0,
        **kwargs: Any,
    ):
        for name, value in (
            ("usage_decay", usage_decay),
            ("restart_share", restart_share),
            ("mode_decay", mode_decay),
            ("feature_share", feature_share),
        ):
            if value is not None and not 0 <= value < 1:
                raise UserError(
                    f"MultimodalHead.{name} is {value}; it must be at least 0 and below 1."
                )
        check_integer("MultimodalHead.modes_per_class", modes_per_class, least=1)
        check_integer("MultimodalHead.embedding_dim", embedding_dim, least=1)
        for name, value in (("restart_share", restart_share), ("mode_decay", mode_decay)):
            if value is not None and usage_decay is None:
                raise UserError(
                    f"MultimodalHead.{name} is {value} and usage_decay None: bind both, "
                    "usage_decay to 0.99, for example."
                )
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.modes_per_class = modes_per_class
        self.embedding_dim = embedding_dim
        self.hidden_units = tuple(hidden_units)
        self.seed = seed
        self.usage_decay = usage_decay
        tracks = usage_decay is not None
        self.restart_share = _RESTART_SHARE if tracks and restart_share is None else restart_share
        self.mode_decay = mode_decay
        self.feature_share = feature_share
        self._hidden = [
            keras.layers.Conv2D(units, 1, activation="relu", name=f"hidden{index}")
            for index, units in enumerate(self.hidden_units)
        ]
        # The last map and the normalisation are float32 under every precision policy. Its bias
        # is not initialised to zero: a pixel whose hidden units are all 0 would have no direction,
        # and the normalisation an unbounded gradient.
        self._embed = keras.layers.Conv2D(
            embedding_dim,
            1,
            bias_initializer=keras.initializers.RandomNormal(stddev=_BIAS_STDDEV),
            dtype="float32",
            name="embed",
        )
        self._resize = ResizeLike(dtype="float32")

    def build(self, input_shape: dict[str, Sequence[int | None]]) -> None:
        """Builds the convolutions and the modes for the shapes of the base's outputs."""
        shape = _select_features(input_shape)
        for layer in self._hidden:
            shape = build_sublayer(layer, shape)
        build_sublayer(self._embed, shape)
        channels = self._count_channels(input_shape)
        if channels:
            # The transpose of P, a block of rows for each map.
            self.projection = self.add_weight(
                name="projection",
                shape=(channels, min(_FEATURE_DIM, channels)),
                dtype="float32",
                initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
                trainable=False,
            )
        self.mode_weights = self.add_weight(
            name="modes",
            shape=(
                self.num_classes,
                self.modes_per_class,
                self.compute_output_shape(input_shape)[-1],
            ),
            dtype="float32",
            initializer=self._initialise_modes,
            trainable=self.mode_decay is None,
        )
        if self.usage_decay is not None:
            shape = (self.num_classes, self.modes_per_class)
            equal = keras.initializers.Constant(1.0 / self.modes_per_class)
            # (C, K): the share of each mode in the pixels of its class, and the mean squared
            # distance of a mode's pixels to it.
            self.usage = self._add_average("usage", shape, equal)
            self.variance = self._add_average("variance", shape, "zeros")
        super().build(input_shape)

    def _add_average(self, name, shape, initializer):
        return self.add_weight(
            name=name, shape=shape, dtype="float32", initializer=initializer, trainable=False
        )

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the embedding.

        Args:
            inputs: outputs of a base, a dict with "features" (B, h, w, D), or that map alone.

        Returns:
            (B, h, w, d) float32, every pixel's vector of length 1.
        """
        embedding = self.embed(inputs)
        joined = self._list_joined(inputs)
        if not joined:
            return embedding
        projection = tf.cast(tf.convert_to_tensor(self.projection), tf.float32)
        blocks = tf.split(projection, [each.shape[-1] for each in joined])
        # Projected before they are interpolated, which is the same and takes less time.
        first, *others = (tf.tensordot(each, block, 1) for each, block in zip(joined, blocks))
        return self.combine(
            embedding, tf.add_n([first, *(self._resize([each, first]) for each in others)])
        )

    def embed(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes the part of the convolutions.

        Args:
            inputs: as in `call`.

        Returns:
            (B, h, w, embedding_dim) float32, vectors of length 1.
        """
        x = _select_features(inputs)
        for layer in self._hidden:
            x = layer(x)
        return tf.math.l2_normalize(self._embed(x), axis=-1)

    def join_features(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Joins the maps that `projection` applies to, without a gradient.

        Args:
            inputs: as in `call`, of a head with `feature_share`.

        Returns:
            (B, h, w, D) float32.
        """
        first, *others = self._list_joined(inputs)
        return tf.concat([first, *(self._resize([each, first]) for each in others)], axis=-1)

    def combine(self, embedding: tf.Tensor, projected: tf.Tensor) -> tf.Tensor:
        """Computes the embedding from its two parts.

        Args:
            embedding: (..., embedding_dim) float32, of `embed`.
            projected: (..., n) float32, the joined features times `projection`.

        Returns:
            (..., d) float32, vectors of length 1.
        """
        features = self.feature_share**0.5 * tf.math.l2_normalize(projected, axis=-1)
        # The square is the share, but 0 where all features are: a pixel's length stays 1.
        square = tf.reduce_sum(features**2, axis=-1, keepdims=True)
        return tf.concat([(1 - square) ** 0.5 * embedding, features], axis=-1)

    @property
    def modes(self) -> tf.Tensor:
        """Modes (C, K, d), float32 unit vectors; gradients reach the weights."""
        weights = tf.cast(tf.convert_to_tensor(self.mode_weights), tf.float32)
        return tf.math.l2_normalize(weights, axis=-1)

    def set_modes(self, clusters: Mapping[int, Mapping[str, np.ndarray]]) -> None:
        """Sets the modes of some classes; called outside of replicas.

        Args:
            clusters: for each class a dict with "centres" (K, d) float32, its modes, and their
                "shares" and "variances", each (K,) float32, for `usage` and `variance`.
        """
        variables = {"centres": self.mode_weights}
        if self.usage_decay is not None:
            variables |= {"shares": self.usage, "variances": self.variance}
        for name, variable in variables.items():
            rows = tf.convert_to_tensor(variable).numpy().copy()
            for each, values in clusters.items():
                rows[each] = values[name]
            variable.assign(rows)

    def compute_output_shape(
        self, input_shape: dict[str, Sequence[int | None]]
    ) -> tuple[int | None, ...]:
        """Returns (B, h, w, d) for the shapes of the base's outputs."""
        grid = tuple(_select_features(input_shape))[:3]
        return (*grid, self.embedding_dim + min(_FEATURE_DIM, self._count_channels(input_shape)))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "modes_per_class": self.modes_per_class,
            "embedding_dim": self.embedding_dim,
            "hidden_units": list(self.hidden_units),
            "seed": self.seed,
            "usage_decay": self.usage_decay,
            "restart_share": self.restart_share,
            "mode_decay": self.mode_decay,
            "feature_share": self.feature_share,
        }

    def _select_joined(self, inputs):
        """Returns the maps that join the embedding, or their shapes."""
        if not self.feature_share:
            return []
        has_levels = isinstance(inputs, dict) and DEEPEST_LEVEL in inputs
        return [_select_features(inputs), *([inputs[DEEPEST_LEVEL]] if has_levels else [])]

    def _count_channels(self, input_shape):
        """Returns the channels of these maps together."""
        return sum(shape[-1] for shape in self._select_joined(input_shape))

    def _list_joined(self, inputs):
        """Returns these maps in float32, every pixel of length 1, without a gradient."""
        return [
            tf.math.l2_normalize(tf.cast(tf.stop_gradient(each), tf.float32), axis=-1)
            for each in self._select_joined(inputs)
        ]

    def _initialise_modes(self, shape, dtype=None, **_):
        """Draws R[c, k] = u_c + v_k from the seed alone."""
        generator = np.random.default_rng(self.seed)
        classes, modes, dim = shape
        centres = generator.normal(0.0, _CLASS_STDDEV, (classes, 1, dim))
        offsets = generator.normal(0.0, _MODE_STDDEV, (1, modes, dim))
        return tf.constant(centres + offsets, dtype=dtype or "float32")


def _select_features(inputs):
    """Returns "features" from a base's outputs or their shapes."""
    return inputs[FEATURES] if isinstance(inputs, dict) else inputs
