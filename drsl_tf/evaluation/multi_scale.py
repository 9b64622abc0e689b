"""Tests at several scales, with mirroring and sliding windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.evaluation import sliding_window


@dataclasses.dataclass(frozen=True)
class TestProtocol:
    """How an image is passed to the network.

    With more than one pass, from scales or mirroring, the softmax probabilities of all passes are
    averaged at the labels' resolution; windows average logits within a pass.

    Attributes:
        scales: factors of the image's size.
        flip: adds the mirrored image at every scale.
        window: (height, width) of sliding windows in pixels of the scaled image, or None.
        stride: (down, right) from window to window; None is two thirds of the window.
    """

    __test__ = False  # Keeps pytest from collecting it.

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0.05 <= scale <= 8 for scale in self.scales):
            raise UserError(f"--scales={self.scales} must be factors between 0.05 and 8.")
        if self.window is None:
            if self.stride is not None:
                raise UserError("--stride goes with --window.")
        elif self.stride is None:
            stride = tuple(max(1, 2 * side // 3) for side in self.window)
            object.__setattr__(self, "stride", stride)
        elif self.stride[0] > self.window[0] or self.stride[1] > self.window[1]:
            raise UserError(
                f"--stride={self.stride} is larger than --window={self.window}: pixels between "
                "windows would have no prediction."
            )

    @property
    def is_plain(self) -> bool:
        """Whether every image is passed once and whole."""
        return self.scales == (1.0,) and not self.flip and self.window is None

    @property
    def name(self) -> str:
        """Description to print beside a score."""
        name = "single-scale"
        if len(self.scales) > 1:
            name = "multi-scale (" + ", ".join(f"{scale:g}" for scale in self.scales) + ")"
        elif self.scales != (1.0,):
            name = f"single-scale ({self.scales[0]:g})"
        if self.flip:
            name += " + flip"
        if self.window is not None and self.stride is not None:
            name += ", windows of {}x{}".format(*self.window)
            name += " every {}x{}".format(*self.stride)
        return name

    def as_dict(self) -> dict[str, Any]:
        """Returns the content for JSON."""
        return {"name": self.name, **dataclasses.asdict(self)}


SINGLE_SCALE = TestProtocol()
"""Every image once and whole."""


def compute_scores(
    compute_logits: Callable,
    images: np.ndarray,
    label_size: tuple[int, int],
    protocol: TestProtocol,
    size: tuple[int, int] | None = None,
) -> tf.Tensor:
    """Scores every class at every pixel.

    Args:
        compute_logits: (B, h, w, 3) float32 in [0, 255] -> (B, h, w, C) float32.
        images: (B, H, W, 3) float32 in [0, 255].
        label_size: (height, width) of the scores.
        protocol: scales, mirroring and windows.
        size: (height, width) of scale 1; None is the images' own.

    Returns:
        (B, height, width, C) float32: logits of a single pass, mean probabilities of several.
    """
    base = size or images.shape[1:3]
    passes = [(scale, mirrored) for scale in protocol.scales for mirrored in (False, True)]
    if not protocol.flip:
        passes = [(scale, mirrored) for scale, mirrored in passes if not mirrored]
    scores = 0.0
    for scale, mirrored in passes:
        scaled = tuple(max(1, round(scale * side)) for side in base)
        view = images
        if scaled != images.shape[1:3]:
            view = tf.image.resize(images, scaled, antialias=True)
        if mirrored:
            view = view[:, :, ::-1]
        if protocol.window is None or protocol.stride is None:
            logits = compute_logits(tf.convert_to_tensor(view))
        else:
            logits = sliding_window.compute_window_logits(
                compute_logits, tf.convert_to_tensor(view), protocol.window, protocol.stride
            )
        if mirrored:
            logits = logits[:, :, ::-1]
        if tuple(label_size) != scaled:
            logits = tf.image.resize(logits, label_size)
        if len(passes) == 1:
            return logits
        scores += tf.nn.softmax(logits) / len(passes)
    return scores
