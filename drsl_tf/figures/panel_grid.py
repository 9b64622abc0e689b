"""Rows of pictures and label maps, with a legend of the classes' colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.figures import label_maps
from drsl_tf.figures.rendering import plain_text

# Inches.
_GAP = 0.08
_LINE = 0.22
_FONT_SIZE = 9
# Width of a letter, estimated generously for names in the legend.
_LETTER = 0.65 * _FONT_SIZE / 72
_LEGEND_SWATCH = 0.45


class Panel(NamedTuple):
    """One picture.

    Attributes:
        title: text above it, if any panel of its row has a title.
        pixels: (h, w, 3) uint8 RGB image, or (h, w) integer class ids.
    """

    title: str
    pixels: np.ndarray


class Row(NamedTuple):
    """Panels side by side under a heading, which may be empty."""

    heading: str
    panels: Sequence[Panel]


def draw_panels(rows: Sequence[Row], panel_width: float, label_space: LabelSpace) -> Figure:
    """Draws rows of panels below each other, and a legend at the bottom.

    Args:
        rows: what to show; the panels of a row are of one shape.
        panel_width: in inches; a panel's height follows from its shape.
        label_space: classes and their colours.

    Returns:
        The figure.
    """
    # One inch, so that coordinates are inches; the figure includes what lies outside.
    figure = Figure(figsize=(1, 1))
    step = panel_width + _GAP
    bottom = 0.0
    for row in rows:
        if row.heading:
            bottom -= _LINE + _GAP
            heading = plain_text(row.heading)
            figure.text(0, bottom, heading, fontsize=_FONT_SIZE + 1, fontweight="bold")
        if any(panel.title for panel in row.panels):
            bottom -= _LINE
        rows_of_pixels, columns_of_pixels = row.panels[0].pixels.shape[:2]
        height = panel_width * rows_of_pixels / columns_of_pixels
        bottom -= height
        for column, panel in enumerate(row.panels):
            axes = figure.add_axes((column * step, bottom, panel_width, height))
            axes.set_axis_off()
            title = plain_text(_shorten(panel.title, int(panel_width / _LETTER)))
            axes.set_title(title, loc="left", fontsize=_FONT_SIZE, family="monospace", pad=3)
            if panel.pixels.ndim == 3:
                axes.imshow(panel.pixels, aspect="auto")
            else:
                painted = label_maps.color_label_map(panel.pixels, label_space)
                axes.imshow(painted, aspect="auto", interpolation="nearest")
        bottom -= _GAP
    width = max(len(row.panels) for row in rows) * step - _GAP
    _add_legend(figure, label_space, bottom - _GAP, width)
    return figure


def _add_legend(figure, label_space, top, width):
    names = [*label_space.class_names, "ignored"]
    colors = np.array([*label_space.palette, label_maps.IGNORE_COLOR]) / 255
    entry = _LEGEND_SWATCH + _LETTER * max(map(len, names))
    figure.legend(
        [Patch(facecolor=color, edgecolor="black", linewidth=0.5) for color in colors],
        list(map(plain_text, names)),
        loc="upper left", bbox_to_anchor=(0, top), ncols=max(1, int(width / entry)),
        fontsize=_FONT_SIZE, frameon=False, handlelength=1, handleheight=1,
        borderaxespad=0, borderpad=0,
    )  # fmt: skip


def _shorten(text, letters):
    """Removes the beginning of a text that is too long, as names differ at their ends."""
    return text if len(text) <= letters else "..." + text[3 - letters :]
