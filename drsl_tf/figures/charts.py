"""Charts of scores: lines over rounds, bars by class, confusion matrices, shares of modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import MaxNLocator

from drsl_tf.figures.rendering import plain_text

_FONT_SIZE = 9
_SMALL_SIZE = 7.5
_LEGEND_ROW = 13.5  # Points.
_CELL = 0.28  # Inches.
_NOTE_COLOR = "#666666"
_GRID_COLOR = "#dddddd"
# Smaller shares are drawn without a number.
_SMALLEST_SHARE = 0.005


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: text of the legend; empty omits it from the legend.
        color: any colour of matplotlib.
        points: (round, value), by round; the line has a gap where a round is missing.
        spread: half the height of a band around each point, or None.
        faint: whether it is drawn in the background.
    """

    name: str
    color: str
    points: Sequence[tuple[int, float]]
    spread: Sequence[float] | None = None
    faint: bool = False


class BarSet(NamedTuple):
    """One colour of bars.

    Attributes:
        name: text of the legend.
        color: any colour of matplotlib.
        means: one per category; None where there is none.
        deviations: one per category; None where there is a single value.
    """

    name: str
    color: str
    means: Sequence[float | None]
    deviations: Sequence[float | None]


def draw_lines(title: str, unit: str, series: Sequence[Series]) -> Figure:
    """Draws values over the rounds.

    Args:
        title: what is shown.
        unit: of the values; bands of "%" stay within 0 and 100.
        series: the lines, with at least one point in total.

    Returns:
        The chart.
    """
    named = [line for line in series if line.name and line.points]
    figure, axes = _make_axes(f"{title} ({unit})", 3.7, 2.4, legend_rows=len(named))
    rounds = sorted({x for line in series for x, _ in line.points})
    for line in series:
        values = dict(line.points)
        heights = np.array([values.get(x, np.nan) for x in rounds])
        style = {"alpha": 0.35, "lw": 1, "ms": 3} if line.faint else {"lw": 2, "ms": 5, "zorder": 3}
        axes.plot(rounds, heights, "o-", color=line.color, **style)
        if line.spread:
            halves = dict(zip(values, line.spread))
            band = np.array([halves.get(x, np.nan) for x in rounds])
            low, high = np.clip([heights - band, heights + band], 0, 100 if unit == "%" else None)
            axes.fill_between(rounds, low, high, color=line.color, alpha=0.15, lw=0)
    axes.set_xlim(rounds[0] - 0.3, rounds[-1] + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}" if x else "source\nonly"))
    axes.set_xlabel("round", fontsize=_FONT_SIZE)
    axes.grid(axis="y", color=_GRID_COLOR)
    _add_legend(axes, [(line.name, line.color) for line in named], columns=1)
    return figure


def draw_bars(title: str, unit: str, categories: Sequence[str], sets: Sequence[BarSet]) -> Figure:
    """Draws horizontal bars, one group per category, with their values and deviations.

    Args:
        title: what is shown.
        unit: of the values.
        categories: names, one per group.
        sets: the bars of each group.

    Returns:
        The chart.
    """
    height = len(categories) * (0.14 * len(sets) + 0.1)
    figure, axes = _make_axes(f"{title} ({unit})", 4.0, height, legend_rows=1)
    thickness = 0.8 / len(sets)
    for index, bars in enumerate(sets):
        places = np.arange(len(categories)) + (index - (len(sets) - 1) / 2) * thickness
        drawn = axes.barh(
            places,
            [mean or 0.0 for mean in bars.means],
            0.9 * thickness,
            xerr=[deviation or 0.0 for deviation in bars.deviations],
            color=bars.color,
            ecolor="#222222",
        )
        texts = [_format_value(*value) for value in zip(bars.means, bars.deviations)]
        axes.bar_label(drawn, texts, padding=3, fontsize=_SMALL_SIZE)
    _name_rows(axes, categories)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=_GRID_COLOR)
    _add_legend(axes, [(bars.name, bars.color) for bars in sets], columns=len(sets))
    return figure


def draw_confusion(title: str, class_names: Sequence[str], matrix: np.ndarray) -> Figure:
    """Draws a confusion matrix, every row in percent of its class.

    Args:
        title: what is shown.
        class_names: names of the C classes.
        matrix: (C, C + 1) counts: rows are labels, columns predictions; the last column counts
            predictions that are no class and is drawn where there are any.

    Returns:
        The chart.
    """
    columns = list(class_names)
    if matrix[:, -1].any():
        columns.append("no class")
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.ma.masked_array(matrix / np.maximum(totals, 1))[:, : len(columns)]
    shares[totals[:, 0] == 0] = np.ma.masked
    figure, axes = _make_axes(title, _CELL * len(columns), _CELL * len(class_names))
    # Distinguishes small shares, which are the errors, from 0.
    scale = PowerNorm(0.7, vmin=0, vmax=1)
    axes.pcolormesh(shares, cmap="Blues", norm=scale, edgecolors="white", linewidth=0.5)
    for (row, column), share in np.ma.ndenumerate(shares):
        if share >= _SMALLEST_SHARE:
            color = "white" if share > 0.55 else "black"
            _write_cell(axes, column + 0.5, row + 0.5, f"{100 * share:.0f}", color, "center")
    for row in np.flatnonzero(totals == 0):
        _write_cell(axes, 0.2, row + 0.5, "no labelled pixel", _NOTE_COLOR, "left")
    _name_rows(axes, class_names, offset=0.5)
    names = list(map(plain_text, columns))
    axes.set_xticks(
        np.arange(len(columns)) + 0.5, names, rotation=50, ha="left", rotation_mode="anchor"
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted class", fontsize=_FONT_SIZE)
    axes.set_ylabel("true class (each row: 100 %)", fontsize=_FONT_SIZE)
    return figure


def draw_shares(
    title: str,
    categories: Sequence[str],
    counts: Sequence[Sequence[float]],
    colors: Sequence[Sequence[str]],
) -> Figure:
    """Draws, for each category, a bar divided into shares.

    Args:
        title: what is shown.
        categories: names, one per bar.
        counts: the parts of each bar.
        colors: their colours.

    Returns:
        The chart.
    """
    figure, axes = _make_axes(f"{title} (%)", 4.0, 0.22 * len(categories))
    for row, (values, shades) in enumerate(zip(counts, colors)):
        if not any(values):
            _write_cell(axes, 1, row, "never predicted", _NOTE_COLOR, "left")
            continue
        shares = 100 * np.array(values, float) / sum(values)
        starts = np.cumsum(shares) - shares
        axes.barh([row] * len(shares), shares, 0.75, starts, color=shades, edgecolor="white")
    _name_rows(axes, categories)
    axes.set_xlim(0, 100)
    return figure


def _make_axes(title: str, width: float, height: float, legend_rows: int = 0):
    """Creates axes of a size in inches; the figure includes what lies outside of them."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_title(
        plain_text(title), loc="left", fontsize=_FONT_SIZE + 1, fontweight="bold",
        pad=8 + legend_rows * _LEGEND_ROW,
    )  # fmt: skip
    axes.tick_params(labelsize=_FONT_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _add_legend(axes: Axes, entries, columns: int) -> None:
    """Adds a legend between the axes and their title."""
    handles = [Patch(color=color) for _, color in entries]
    names = [plain_text(name) for name, _ in entries]
    axes.legend(
        handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
        fontsize=_FONT_SIZE, handlelength=0.9, handleheight=0.9, borderaxespad=0, borderpad=0.2,
    )  # fmt: skip


def _name_rows(axes: Axes, names: Sequence[str], offset: float = 0.0) -> None:
    """Labels the rows, from the top."""
    axes.set_yticks(np.arange(len(names)) + offset, list(map(plain_text, names)))
    axes.set_ylim(len(names) - 0.5 + offset, offset - 0.5)
    axes.tick_params(axis="y", length=0)


def _write_cell(axes: Axes, x: float, y: float, text: str, color: str, side: str) -> None:
    axes.text(x, y, text, color=color, ha=side, va="center", fontsize=_SMALL_SIZE)


def _format_value(mean, deviation):
    if mean is None:
        return "–"
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
