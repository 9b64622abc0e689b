"""Label maps, confidences and modes in colours."""

from __future__ import annotations

import numpy as np

from data_pipelines.labels.label_spaces import LabelSpace

IGNORE_COLOR = (0, 0, 0)
"""RGB of pixels without a class."""

# Of even lightness steps, readable in grey and by colour-blind people.
_CONFIDENCE_COLORS = (
    (0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164),
)  # fmt: skip


def color_label_map(label: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Paints class ids in the label space's palette.

    Args:
        label: (H, W) integer ids in [0, 255]; those without a class are black.
        label_space: classes and their palette.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    table = np.full((256, 3), IGNORE_COLOR, np.uint8)
    table[: label_space.num_classes] = label_space.palette
    return table[label]


def color_confidence(confidence: np.ndarray) -> np.ndarray:
    """Paints confidences, from black for 0 over violet and orange to pale yellow for 1.

    Args:
        confidence: (H, W) float in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    places = np.linspace(0.0, 1.0, len(_CONFIDENCE_COLORS))
    channels = np.transpose(_CONFIDENCE_COLORS)
    painted = [np.interp(confidence, places, channel) for channel in channels]
    return np.rint(np.stack(painted, axis=-1)).astype(np.uint8)


def make_mode_palette(label_space: LabelSpace, modes_per_class: int) -> np.ndarray:
    """Computes a shade of its class's colour for every mode, from dark to light.

    Args:
        label_space: classes and their colours.
        modes_per_class: K.

    Returns:
        (C * K, 3) uint8 RGB; mode k of class c has row c * K + k.
    """
    base = np.repeat(np.array(label_space.palette, np.float64), modes_per_class, axis=0)
    shift = np.linspace(-0.5, 0.5, modes_per_class) if modes_per_class > 1 else np.zeros(1)
    shift = np.tile(shift, label_space.num_classes)[:, np.newaxis]
    # Towards black below the class's own colour, towards white above it.
    shades = np.where(shift < 0, base * (1 + shift), base + (255 - base) * shift)
    return np.rint(shades).astype(np.uint8)
