"""The modes of a class: for each of them strips of the pixels nearest to it, by domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from drsl_tf.figures.rendering import plain_text

# Pixels of the picture, which has 100 an inch.
_GAP = 5
_BLOCK_GAP = 16
_BAR = 10
_LABEL = 125
_INCH = 100
_FONT_SIZE = 9
_NOTE_COLOR = "#666666"


class Strip(NamedTuple):
    """The pixels of a domain that are nearest to a mode.

    Attributes:
        name: of the domain.
        share: of the domain's pixels of the class, how many have this mode, from 0 to 1; None
            where the domain has no pixel of the class.
        crops: (s, s, 3) uint8 RGB, the pixel in the centre of each, the nearest first.
    """

    name: str
    share: float | None
    crops: Sequence[np.ndarray]


class Mode(NamedTuple):
    """A mode: its colour in mode maps, RGB in [0, 255], and a strip for each domain."""

    color: Sequence[int]
    strips: Sequence[Strip]


def draw_modes(title: str, modes: Sequence[Mode], columns: int, note: str = "") -> Figure:
    """Draws the modes of a class below each other.

    Args:
        title: what is shown.
        modes: from mode 0, with at least one crop; all crops are of one size.
        columns: most crops of a strip.
        note: text below.

    Returns:
        The figure.
    """
    side = next(len(crop) for mode in modes for strip in mode.strips for crop in strip.crops)
    names, tops, bars = [], [], []
    bottom = 0
    for index, mode in enumerate(modes):
        begin = bottom = bottom + (_BLOCK_GAP if index else 0)
        for strip in mode.strips:
            tops.append(bottom + (_GAP if bottom > begin else 0))
            bottom = tops[-1] + side
            name = plain_text(f"mode {index}, {strip.name}")
            names.append(f"{name}\n{_format_share(strip.share)}")
        bars.append((begin, bottom - begin, mode.color))
    width = _LABEL + columns * (side + _GAP) - _GAP
    figure = Figure(figsize=(width / _INCH, bottom / _INCH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # Many small images are slow to draw, so the picture has a single one.
    canvas = np.full((bottom, width, 3), 255, np.uint8)
    centres = []
    for top, strip in zip(tops, (strip for mode in modes for strip in mode.strips)):
        for column, crop in enumerate(strip.crops):
            left = _LABEL + column * (side + _GAP)
            canvas[top : top + side, left : left + side] = crop
            centres.append((left + (side - 1) / 2, top + (side - 1) / 2))
    axes.imshow(canvas, aspect="auto", interpolation="nearest")
    for line, color in ((2.0, "black"), (1.0, "white")):
        axes.plot(
            *zip(*centres), "o", markersize=7, markerfacecolor="none", markeredgewidth=line,
            markeredgecolor=color,
        )  # fmt: skip
    for top, height, rgb in bars:
        axes.add_patch(Rectangle((0, top), _BAR, height, color=np.array(rgb) / 255, lw=0))
    for top, name in zip(tops, names):
        axes.text(2 * _BAR, top + side / 2, name, va="center", fontsize=_FONT_SIZE)
    axes.text(0, bottom + _GAP, note, va="top", fontsize=_FONT_SIZE, color=_NOTE_COLOR)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(bottom - 0.5, -0.5)
    axes.set_title(plain_text(title), x=0, ha="left", fontsize=_FONT_SIZE + 1, fontweight="bold")
    return figure


def _format_share(share):
    """Formats a share in percent, a mode that is hardly used apart from one that is not."""
    if share is None:
        return "no pixel"
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
