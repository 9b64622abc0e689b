"""The segmentation network for serving: with preprocessing, without training state."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from drsl_tf import common
from drsl_tf import compat
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel

IMAGES = "images"
ENCODED = "encoded"
CONFIDENCE = "confidence"


class ServedModel(tf.Module):
    """Computes label ids and confidences for images of any size and number.

    It tracks variables and no Keras object, so that it loads where neither Keras nor this package
    can be imported. The multi-modal head is omitted, as inference does not need it.

    Args:
        model: a `DrslModel`.
        size: (height, width) of the network's input, such as the size that the run was scored at;
            None is each image's own.
    """

    def __init__(self, model: DrslModel, size: tuple[int, int] | None = None):
        super().__init__(name="drsl_tf")
        network = DrslModel(model.base, model.segmentation_head)
        self._size = None if size is None else tuple(size)
        # The functions hold the network in a closure: an attribute would be tracked.
        self._variables = list_variables(network)
        self.serve = tf.function(
            lambda images: self._classify(network, images),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, IMAGES)],
        )
        self.serve_encoded = tf.function(
            lambda encoded: self._classify(network, decode_images(encoded)),
            input_signature=[tf.TensorSpec((None,), tf.string, ENCODED)],
        )
        self.compute_logits = tf.function(
            lambda images: {common.LOGITS: inference.predict_full_size_logits(network, images)},
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, IMAGES)],
        )

    @property
    def signatures(self) -> dict[str, Callable]:
        """The signatures to save, by name."""
        return {
            "serving_default": self.serve,
            "encoded": self.serve_encoded,
            "logits": self.compute_logits,
        }

    def _classify(self, network, images):
        size = tf.shape(images)[1:3]
        images = tf.cast(images, tf.float32)
        if self._size is not None:
            images = _resize_as_read(images, self._size)
        logits = inference.predict_full_size_logits(network, images)
        if self._size is not None:
            logits = tf.image.resize(logits, size)
        return classify(logits)


def list_variables(network: DrslModel) -> list[tf.Variable]:
    """Lists the variables of inference, without metrics and the multi-modal head.

    Args:
        network: a `DrslModel`.

    Returns:
        A list of `tf.Variable`.
    """
    variables = [*network.base.variables, *network.segmentation_head.variables]
    return [compat.as_tf_variable(variable) for variable in variables]


def classify(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    """Converts logits to labels and confidences.

    Args:
        logits: (B, H, W, C) float32.

    Returns:
        `{"label": (B, H, W) uint8 ids, "confidence": (B, H, W) float32}`; the confidence is the
        softmax probability of the label.
    """
    label = tf.argmax(logits, axis=-1, output_type=tf.int32)
    confidence = tf.reduce_max(tf.nn.softmax(logits), axis=-1)
    return {common.LABEL: tf.cast(label, tf.uint8), CONFIDENCE: confidence}


def decode_images(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes JPEG and PNG files of one size.

    Args:
        encoded: (B,) strings. EXIF orientation is ignored.

    Returns:
        (B, H, W, 3) uint8 RGB.
    """
    return tf.map_fn(
        # The kernel detects the format itself; training images are decoded with the accurate
        # transform too.
        lambda data: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        encoded,
        fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8),
    )


def _resize_as_read(images, size):
    """Resizes a batch as `data_pipelines.batches.whole_images` resizes an image."""
    return tf.cond(
        tf.reduce_all(tf.equal(tf.shape(images)[1:3], size)),
        lambda: tf.ensure_shape(images, (None, *size, 3)),
        lambda: tf.image.resize(images, size, antialias=True),
    )
