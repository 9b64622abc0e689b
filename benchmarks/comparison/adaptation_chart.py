"""Draws the scores of the methods."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

_ROW = 0.42  # Inches.
_BAR_COLOR, _DOT_COLOR = "#9ec4e2", "#144678"


def draw_scores(title: str, scores: dict[str, Sequence[float]]) -> Figure:
    """Draws a bar for the mean of each method and a dot for each seed.

    Args:
        title: title of the image.
        scores: by method, percent, one number per seed.

    Returns:
        The chart.
    """
    figure = Figure(figsize=(7.0, _ROW * len(scores)))
    axes = figure.add_axes((0, 0, 1, 1))
    means = [float(np.mean(values)) for values in scores.values()]
    axes.barh(list(scores), means, 0.6, color=_BAR_COLOR)
    for row, (values, mean) in enumerate(zip(scores.values(), means)):
        axes.plot(values, [row] * len(values), "o", color=_DOT_COLOR, markersize=5)
        # Beyond the axes' right edge, so that no dot lies on it.
        axes.text(1.02, row, f"{mean:.1f}", transform=axes.get_yaxis_transform(), va="center")
    axes.set_title(title, loc="left", fontsize=12, pad=12)
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
