"""ONNX models, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import common
from drsl_tf.serving import served_model

# No multiples of what networks divide images by: an image is padded and its labels are cropped.
_CHECKED_SIZES = ((70, 99), (33, 130))
# Labels differ where two classes tie.
_LEAST_AGREEMENT = 0.999


def require_packages() -> None:
    """Checks that models can be converted and checked.

    Raises:
        UserError: a package is not installed.
    """
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--format=onnx needs tf2onnx and onnxruntime. Install the extra: "
            "pip install 'drsl_tf[onnx]'"
        ) from error


def load(model: str | bytes) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Loads a model.

    Args:
        model: path or content of an ONNX file that `saved_models.export_onnx` wrote.

    Returns:
        (B, H, W, 3) uint8 -> labels (B, H, W) uint8 and confidences (B, H, W) float32.

    Raises:
        UserError: ONNX Runtime is not installed.
        ValueError: it cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "ONNX files are run by onnxruntime, which is not installed: pip install 'drsl_tf[onnx]'"
        ) from error
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    except Exception as error:
        # The errors of ONNX Runtime have no common type but `Exception`.
        raise ValueError(str(error)) from error
    names = [common.LABEL, served_model.CONFIDENCE]
    return lambda images: tuple(session.run(names, {served_model.IMAGES: images}))


def check_labels(content: bytes, serve: Callable, size: tuple[int, int] | None) -> None:
    """Checks that ONNX Runtime computes the labels of the network that was converted.

    Args:
        content: of the ONNX file.
        serve: (B, H, W, 3) uint8 tensor -> outputs of "serving_default".
        size: (height, width) of the input, or None.

    Raises:
        UserError: it does not.
    """
    rng = np.random.default_rng(0)
    for height, width in _CHECKED_SIZES if size is None else (size,):
        coarse = rng.integers(0, 256, (2, height // 8 + 1, width // 8 + 1, 3), np.uint8)
        images = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
        expected = serve(tf.constant(images))[common.LABEL].numpy()
        try:
            label, _ = load(content)(images)
        except Exception as error:
            raise UserError(f"ONNX Runtime cannot run the converted network: {error}") from error
        same = np.mean(label == expected) if label.shape == expected.shape else 0.0
        if same < _LEAST_AGREEMENT:
            raise UserError(
                f"The converted network labels only {100 * same:.2f} % of the pixels of images of "
                f"{height}x{width} as the network does, so nothing was written. Export it with "
                "--format=saved_model or tflite."
            )
