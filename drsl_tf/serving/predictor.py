"""Prediction with an exported model."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf.serving import model_description

_CONFIDENCE = "confidence"
_SIGNATURE = "serving_default"


class Predictor:
    """Labels images with a SavedModel or a TFLite file that `drsl_tf.export` wrote.

    Args:
        path: the SavedModel's directory or the `.tflite` file.

    Raises:
        UserError: it cannot be loaded or was not exported by this package.
    """

    def __init__(self, path: str):
        self.path = path
        self.description = model_description.read_description(path)
        self.label_space: LabelSpace = self.description.label_space
        self.network_size: tuple[int, int] | None = self.description.network_size
        self.is_lite = path.endswith(".tflite")
        try:
            if self.is_lite:
                self._interpreter = tf.lite.Interpreter(model_path=path)
            else:
                # A program, as docs/security.md says; its checksums were compared.
                self._model = tf.saved_model.load(path)  # noqa: TID251
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"The model {path} cannot be loaded: {error}") from error

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels a batch.

        Args:
            images: (B, H, W, 3) uint8 RGB. For a TFLite file with a network size they are resized,
                and its labels are resized back by nearest neighbour.

        Returns:
            Labels (B, H, W) uint8 and their confidences (B, H, W) float32.
        """
        if self.is_lite:
            parts = [self._run_lite(image[np.newaxis]) for image in images]
            labels, confidences = zip(*parts)
            return np.concatenate(labels), np.concatenate(confidences)
        outputs = self._model.signatures[_SIGNATURE](images=tf.constant(images))
        return outputs[common.LABEL].numpy(), outputs[_CONFIDENCE].numpy()

    def compute_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Runs the network without resizing to its network size.

        Args:
            images: (B, H, W, 3) float32 tensor in [0, 255].

        Returns:
            (B, H, W, C) float32 tensor.

        Raises:
            UserError: the model is a TFLite file, which serves labels only.
        """
        if self.is_lite:
            raise UserError(
                f"{self.path} is a TFLite file, which returns labels but no logits: scales, "
                "mirroring and windows need the SavedModel."
            )
        return self._model.signatures[common.LOGITS](images=images)[common.LOGITS]

    def _run_lite(self, image):
        size = image.shape[1:3]
        if self.network_size not in (None, size):
            resized = tf.image.resize(image, self.network_size, antialias=True)
            image = tf.cast(tf.round(resized), tf.uint8).numpy()
        details = self._interpreter.get_input_details()[0]
        if tuple(details["shape"]) != image.shape:
            self._interpreter.resize_tensor_input(details["index"], image.shape)
        outputs = self._interpreter.get_signature_runner(_SIGNATURE)(images=image)
        label, confidence = outputs[common.LABEL], outputs[_CONFIDENCE]
        if image.shape[1:3] != size:
            label, confidence = (
                tf.image.resize(array[..., np.newaxis], size, method="nearest").numpy()[..., 0]
                for array in (label, confidence)
            )
        return label, confidence
