"""KerasHub's DINOv3 on images of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from drsl_tf import compat


@keras.saving.register_keras_serializable(package="drsl_tf")
class Dinov3Encoder(keras.layers.Layer):
    """Encodes images as a map of patch tokens by the layers of KerasHub's DINOv3.

    O. Siméoni et al., "DINOv3", 2025. KerasHub's network has the fixed size of its `image_shape`;
    its layers do not. Only its rotary positions cannot be computed for a size that is known at run
    time alone, and are computed here.

    Args:
        arguments: arguments of `keras_hub.models.DINOV3Backbone`, without `image_shape`.
        **kwargs: arguments of `keras.layers.Layer`.

    Raises:
        UserError: KerasHub is absent.
    """

    def __init__(self, arguments: Mapping[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.arguments = dict(arguments)
        hub = compat.import_keras_hub()
        side = self.arguments["patch_size"]
        self.backbone = hub.models.DINOV3Backbone(
            **self.arguments, image_shape=(side, side, 3), dtype=self.dtype_policy
        )
        if self.backbone.use_mask_token:
            # It belongs to the pretraining, and has no gradient here.
            self.backbone.embeddings.mask_token.trainable = False

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Encodes normalised images.

        Args:
            inputs: (B, H, W, 3) tensor; the patch size divides H and W.
            training: whether dropout is on, if the network has any.

        Returns:
            (B, H / patch, W / patch, D) tensor, normalised.
        """
        network = self.backbone
        rows, columns = tf.unstack(tf.shape(inputs)[1:3] // network.patch_size)
        prefix = 1 + network.num_register_tokens
        tokens, _ = network.encoder(
            network.embeddings(inputs),
            position_embeddings=self._compute_positions(rows, columns),
            num_prefix_tokens=prefix,
            training=training,
        )
        tokens = network.layernorm(tokens)[:, prefix:]
        result = tf.reshape(tokens, (tf.shape(inputs)[0], rows, columns, network.hidden_dim))
        result.set_shape(self.compute_output_shape(inputs.shape))
        return result

    def list_depths(self) -> list[tuple[tf.Variable, int]]:
        """Lists (trainable variable, number of layers from it to the output).

        The last norm is at depth 0, the last block at 1, the embeddings one beyond the first block.
        """
        network = self.backbone
        blocks = network.encoder.layers
        parts = [network.layernorm, *blocks[::-1], network.embeddings]
        return [(v, depth) for depth, part in enumerate(parts) for v in part.trainable_variables]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the map of tokens."""
        batch, *size = tuple(input_shape)[:3]
        sides = (s if s is None else s // self.backbone.patch_size for s in size)
        return (batch, *sides, self.backbone.hidden_dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "arguments": self.arguments}

    def _compute_positions(self, rows, columns):
        """Returns cosines and sines (rows * columns, D / heads) of the patches' rotary angles.

        A quarter of a head turns with the row of a patch's centre in [-1, 1], a quarter with its
        column, each at frequencies that fall to 1 / theta; both repeat in the second half.
        """
        frequencies = tf.convert_to_tensor(self.backbone.rope_embedding.inv_freq)

        def compute_angles(count):
            centres = (2.0 * tf.range(count, dtype=tf.float32) + 1.0) / tf.cast(count, tf.float32)
            return 2.0 * math.pi * (centres - 1.0)[:, tf.newaxis] * frequencies

        by_row = tf.repeat(compute_angles(rows), columns, axis=0)
        by_column = tf.tile(compute_angles(columns), (rows, 1))
        angles = tf.tile(tf.concat([by_row, by_column], axis=-1), (1, 2))
        return tuple(tf.cast(part, self.compute_dtype) for part in (tf.cos(angles), tf.sin(angles)))
