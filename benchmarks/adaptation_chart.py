"""Draws the scores of the methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

_ROW = 44
_MARGIN, _RIGHT, _TOP, _BOTTOM = 14, 70, 56, 44
_WIDTH = 860
_BAR, _DOT, _INK, _GRID = (158, 196, 226), (20, 70, 120), (30, 30, 30), (222, 222, 222)


def draw_scores(title: str, scores: dict[str, Sequence[float]]) -> Image.Image:
    """Draws a bar for the mean of each method and a dot for each seed.

    Args:
        title: title of the image.
        scores: by method, percent, one number per seed.

    Returns:
        An RGB image.
    """
    height = _TOP + _ROW * len(scores) + _BOTTOM
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(size=17), ImageFont.load_default(size=14)
    left = _MARGIN + 10 + round(max(map(font.getlength, scores), default=0))
    draw.text((left, 14), title, fill=_INK, font=font)
    top = max([10.0, *(value for values in scores.values() for value in values)])
    limit = 10.0 * np.ceil(top / 10.0)

    def locate(value):
        return left + (_WIDTH - left - _RIGHT) * value / limit

    end = height - _BOTTOM
    for tick in np.arange(0.0, limit + 1.0, 10.0):
        draw.line([(locate(tick), _TOP), (locate(tick), end)], fill=_GRID)
        draw.text((locate(tick), end + 8), f"{tick:.0f}", fill=_INK, font=small, anchor="ma")
    for row, (arm, values) in enumerate(scores.items()):
        middle = _TOP + _ROW * row + _ROW // 2
        mean = float(np.mean(values))
        draw.rectangle([left, middle - 12, locate(mean), middle + 12], fill=_BAR)
        draw.text((left - 10, middle), arm, fill=_INK, font=font, anchor="rm")
        draw.text((_WIDTH - _RIGHT + 12, middle), f"{mean:.1f}", fill=_INK, font=font, anchor="lm")
        for value in values:
            at = locate(value)
            draw.ellipse([at - 4, middle - 4, at + 4, middle + 4], fill=_DOT)
    return image
