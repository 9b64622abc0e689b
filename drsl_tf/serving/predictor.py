"""Prediction with an exported model."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf.serving import model_description
from drsl_tf.serving import onnx_runtime
from drsl_tf.serving import served_model

_SIGNATURE = "serving_default"


class Predictor:
    """Labels images with a SavedModel, or a TFLite or ONNX file, that `drsl_tf.export` wrote.

    Args:
        path: the SavedModel's directory, or the `.tflite` or `.onnx` file.

    Raises:
        UserError: it cannot be loaded or was not exported by this package.
    """

    def __init__(self, path: str):
        self.path = path
        self.description = model_description.read_description(path)
        self.label_space: LabelSpace = self.description.label_space
        self.network_size: tuple[int, int] | None = self.description.network_size
        self._is_file = path.endswith(model_description.FILE_SUFFIXES)
        try:
            if path.endswith(model_description.TFLITE_SUFFIX):
                self._interpreter = tf.lite.Interpreter(model_path=path)
                self._run = self._run_lite
            elif self._is_file:
                self._run = onnx_runtime.load(path)
            else:
                # A program, as docs/security.md says; its checksums were compared.
                self._model = tf.saved_model.load(path)  # noqa: TID251
        except UserError:
            raise
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"The model {path} cannot be loaded: {error}") from error

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels a batch.

        Args:
            images: (B, H, W, 3) uint8 RGB. For a file with a network size they are resized, and
                its labels are resized back by nearest neighbour.

        Returns:
            Labels (B, H, W) uint8 and their confidences (B, H, W) float32.
        """
        if self._is_file:
            parts = [self._predict_image(image[np.newaxis]) for image in images]
            labels, confidences = zip(*parts)
            return np.concatenate(labels), np.concatenate(confidences)
        outputs = self._model.signatures[_SIGNATURE](images=tf.constant(images))
        return outputs[common.LABEL].numpy(), outputs[served_model.CONFIDENCE].numpy()

    def compute_logits(self, images: tf.Tensor) -> tf.Tensor:
        """Runs the network without resizing to its network size.

        Args:
            images: (B, H, W, 3) float32 tensor in [0, 255].

        Returns:
            (B, H, W, C) float32 tensor.

        Raises:
            UserError: the model is a TFLite or ONNX file, which serves labels only.
        """
        if self._is_file:
            raise UserError(
                f"{self.path} is no SavedModel, and returns labels but no logits: scales, "
                "mirroring and windows need the SavedModel."
            )
        return self._model.signatures[common.LOGITS](images=images)[common.LOGITS]

    def _predict_image(self, image):
        """Labels one image by a model that is a file, which resizes none."""
        size = image.shape[1:3]
        if self.network_size not in (None, size):
            resized = tf.image.resize(image, self.network_size, antialias=True)
            image = tf.cast(tf.round(resized), tf.uint8).numpy()
        label, confidence = self._run(image)
        if image.shape[1:3] != size:
            label, confidence = (
                tf.image.resize(array[..., np.newaxis], size, method="nearest").numpy()[..., 0]
                for array in (label, confidence)
            )
        return label, confidence

    def _run_lite(self, image):
        details = self._interpreter.get_input_details()[0]
        if tuple(details["shape"]) != image.shape:
            self._interpreter.resize_tensor_input(details["index"], image.shape)
        outputs = self._interpreter.get_signature_runner(_SIGNATURE)(images=image)
        return outputs[common.LABEL], outputs[served_model.CONFIDENCE]
