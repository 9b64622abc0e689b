"""A contact sheet of augmented training pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.figures import rendering
from drsl_tf.figures.panel_grid import Panel
from drsl_tf.figures.panel_grid import Row
from drsl_tf.figures.panel_grid import draw_panels

_PANEL_WIDTH = 2.24  # Inches.
_COLUMNS = 4


class Example(NamedTuple):
    """One augmented image.

    Attributes:
        name: text above it.
        image: (h, w, 3) float32 in [0, 255].
        label: (h, w) int32, 255 = ignore; None shows only the image.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None


class Section(NamedTuple):
    """Examples under one title."""

    title: str
    examples: list[Example]


def draw_contact_sheet(sections: list[Section], label_space: LabelSpace) -> Image.Image:
    """Draws sections below each other, and a legend at the bottom.

    Args:
        sections: what to show; all examples have one size.
        label_space: classes and colours.

    Returns:
        The picture.
    """
    rows = [row for section in sections for row in _list_rows(section)]
    return rendering.to_image(draw_panels(rows, _PANEL_WIDTH, label_space))


def _list_rows(section):
    panels = []
    for example in section.examples:
        panels.append(Panel(example.name, np.rint(example.image).astype(np.uint8)))
        if example.label is not None:
            panels.append(Panel("label", example.label))
    return [
        Row("" if start else section.title, panels[start : start + _COLUMNS])
        for start in range(0, len(panels), _COLUMNS)
    ]
