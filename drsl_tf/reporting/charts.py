"""Charts of a report: lines over rounds, bars by class, confusion matrices, shares of modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drsl_tf.reporting import svg
from drsl_tf.reporting.groups import Spread

_LEGEND_ROW = 18


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: what the legend says; empty leaves it out of the legend.
        color: any CSS colour.
        points: (round, value), by round.
        spread: half the height of a band around each point, or None.
        faint: whether it stands in the background.
    """

    name: str
    color: str
    points: Sequence[tuple[int, float]]
    spread: Sequence[float] | None = None
    faint: bool = False


class BarSet(NamedTuple):
    """One colour of bars.

    Attributes:
        name: what the legend says.
        color: any CSS colour.
        values: one for each category; None where there is none.
    """

    name: str
    color: str
    values: Sequence[Spread | None]


def draw_lines(title: str, unit: str, series: Sequence[Series], width: float = 420) -> str:
    """Draws values over the rounds.

    Args:
        title: what is shown.
        unit: of the values, such as "%".
        series: the lines; those without points are left out.
        width: of the chart in pixels.

    Returns:
        An SVG element; empty where there is no point.
    """
    series = [line for line in series if line.points]
    if not series:
        return ""
    rounds = sorted({x for line in series for x, _ in line.points})
    margins = [y for line in series for y in _list_extremes(line)]
    low, high = min(margins), max(margins)
    if high <= 100:  # A band around a share does not leave the possible.
        high, low = min(high, 100), max(low, 0) if min(margins) < 0 else low
    ticks = svg.choose_ticks(low, high)
    legend, top = _draw_legend([(s.name, s.color) for s in series if s.name], width, 26)
    left, right, plot_top, plot_height = 52, width - 14, top + 12, 210
    bottom = plot_top + plot_height

    def place_x(x):
        span = max(rounds[-1] - rounds[0], 1)
        inset = 24
        return left + inset + (x - rounds[0]) * (right - left - 2 * inset) / span

    def place_y(y):
        return bottom - (y - ticks[0]) * plot_height / (ticks[-1] - ticks[0])

    parts = [svg.draw_text(0, 14, f"{title} ({unit})", size=13, weight="600"), *legend]
    for tick in ticks:
        parts.append(svg.draw_line(left, place_y(tick), right, place_y(tick)))
        parts.append(svg.draw_text(left - 6, place_y(tick) + 4, f"{tick:g}", "end"))
    for x in rounds:
        name = f"round {x}" if x else "source only"
        if len(rounds) > 5 and x:
            name = str(x)
        parts.append(svg.draw_line(place_x(x), bottom, place_x(x), bottom + 4, "#888"))
        parts.append(svg.draw_text(place_x(x), bottom + 18, name, "middle"))
    parts.append(svg.draw_line(left, bottom, right, bottom, "#888"))
    for line in sorted(series, key=lambda line: not line.faint):
        places = [(place_x(x), place_y(y)) for x, y in line.points]
        if line.spread:
            parts.append(_draw_band(line, place_x, lambda y: np.clip(place_y(y), plot_top, bottom)))
        opacity = 0.35 if line.faint else 1
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{line.color}" '
            f'stroke-width="{1.2 if line.faint else 2.5}" stroke-opacity="{opacity}"/>'
        )
        if not line.faint:
            for (x, y), (_, value) in zip(places, line.points):
                parts.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{line.color}">'
                    f"<title>{value:.2f} {unit}</title></circle>"
                )
    return svg.wrap_chart(parts, width, bottom + 26, title)


def draw_bars(
    title: str, unit: str, categories: Sequence[str], sets: Sequence[BarSet], width: float = 560
) -> str:
    """Draws horizontal bars, a group for each category, with their values and spreads.

    Args:
        title: what is shown.
        unit: of the values.
        categories: names, one a group.
        sets: the bars of each group.
        width: of the chart in pixels.

    Returns:
        An SVG element.
    """
    thickness, gap = 11, 8
    left = max(map(svg.estimate_width, categories)) + 8
    right = width - 92  # Room for the longest value.
    values = [v for bars in sets for v in bars.values if v is not None]
    ticks = svg.choose_ticks(0, max([v.mean + (v.deviation or 0) for v in values] or [1.0]))
    legend, top = _draw_legend([(bars.name, bars.color) for bars in sets], width, 26)
    top += 8
    group = len(sets) * thickness + gap
    bottom = top + len(categories) * group

    def place(value):
        return left + value * (right - left) / ticks[-1]

    parts = [svg.draw_text(0, 14, f"{title} ({unit})", size=13, weight="600"), *legend]
    for tick in ticks:
        parts.append(svg.draw_line(place(tick), top, place(tick), bottom))
        parts.append(svg.draw_text(place(tick), bottom + 16, f"{tick:g}", "middle"))
    for row, name in enumerate(categories):
        y = top + row * group + gap / 2
        middle = y + len(sets) * thickness / 2 + 4
        parts.append(svg.draw_text(left - 8, middle, name, "end"))
        for index, bars in enumerate(sets):
            value, line = bars.values[row], y + index * thickness
            if value is None:
                parts.append(svg.draw_text(left + 4, line + 9, "–", size=10, color="#777"))
                continue
            hint = f"{name}, {bars.name}: {value.format()} {unit}"
            length = place(value.mean) - left
            parts.append(svg.draw_box(left, line, length, thickness - 1, bars.color, hint))
            end = place(value.mean)
            if value.deviation:
                low = place(max(value.mean - value.deviation, 0))
                end = place(value.mean + value.deviation)
                centre = line + thickness / 2 - 0.5
                parts.append(svg.draw_line(low, centre, end, centre, "#222", 1.2))
            parts.append(svg.draw_text(end + 5, line + 9, value.format(1), size=10))
    return svg.wrap_chart(parts, width, bottom + 24, title)


def draw_confusion(title: str, class_names: Sequence[str], matrix: np.ndarray) -> str:
    """Draws a confusion matrix, every row as shares of its class.

    Args:
        title: what is shown.
        class_names: names of the C classes.
        matrix: (C, C + 1) counts: rows are labels, columns predictions; the last column counts
            predictions that are no class and is drawn where there are any.

    Returns:
        An SVG element.
    """
    columns = list(class_names)
    if matrix[:, -1].any():
        columns.append("no class")
    cell, label = 25, max(map(svg.estimate_width, columns))
    left, top = label + 30, label * 0.75 + 50
    totals = matrix.sum(axis=1)
    parts = [
        svg.draw_text(0, 14, title, size=13, weight="600"),
        svg.draw_text(left + len(columns) * cell / 2, 34, "predicted class", "middle"),
        svg.draw_text(12, top + len(class_names) * cell / 2, "true class", "middle", turn=-90),
    ]
    for column, name in enumerate(columns):
        x = left + (column + 0.5) * cell + 4
        parts.append(svg.draw_text(x, top - 6, name, turn=-48))
    for row, name in enumerate(class_names):
        y = top + row * cell
        parts.append(svg.draw_text(left - 6, y + cell / 2 + 4, name, "end"))
        if not totals[row]:
            note = "no labelled pixel"
            parts.append(svg.draw_text(left + 6, y + cell / 2 + 4, note, size=10, color="#777"))
            continue
        for column, other in enumerate(columns):
            share = matrix[row, column] / totals[row]
            hint = f"{name} predicted as {other}: {100 * share:.2f} % of its pixels"
            x = left + column * cell
            parts.append(svg.draw_box(x, y, cell - 1, cell - 1, _shade(share), hint))
            if share >= 0.005:
                color = "#fff" if share > 0.55 else "#333"
                parts.append(
                    svg.draw_text(
                        x + cell / 2 - 0.5,
                        y + cell / 2 + 4,
                        f"{100 * share:.0f}",
                        "middle",
                        size=10,
                        color=color,
                    )
                )
    # The last columns' names lean out to the right.
    ends = [
        (column + 0.5) * cell + 4 + svg.estimate_width(name) * 0.7
        for column, name in enumerate(columns)
    ]
    width = left + max(len(columns) * cell, *ends) + 4
    return svg.wrap_chart(parts, width, top + len(class_names) * cell + 8, title)


def draw_shares(
    title: str, categories: Sequence[str], counts: Sequence[Sequence[float]],
    colors: Sequence[Sequence[str]], width: float = 560,
) -> str:  # fmt: skip
    """Draws, for each category, a bar that is divided into shares.

    Args:
        title: what is shown.
        categories: names, one a bar.
        counts: the parts of each bar.
        colors: their colours.
        width: of the chart in pixels.

    Returns:
        An SVG element.
    """
    row_height, top = 22, 30
    left = max(map(svg.estimate_width, categories)) + 8
    right = width - 20
    bottom = top + len(categories) * row_height
    parts = [svg.draw_text(0, 14, f"{title} (%)", size=13, weight="600")]
    for row, (name, values, shades) in enumerate(zip(categories, counts, colors)):
        y = top + row * row_height
        parts.append(svg.draw_text(left - 8, y + 14, name, "end"))
        total = float(sum(values))
        if not total:
            parts.append(svg.draw_text(left + 4, y + 14, "never predicted", size=10, color="#777"))
            continue
        x = left
        for mode, (value, shade) in enumerate(zip(values, shades)):
            length = value / total * (right - left)
            hint = f"{name}, mode {mode}: {100 * value / total:.1f} %"
            parts.append(svg.draw_box(x, y + 2, length - 1, row_height - 6, shade, hint))
            x += length
    for tick in range(0, 101, 20):
        x = left + tick / 100 * (right - left)
        parts.append(svg.draw_line(x, bottom, x, bottom + 4, "#888"))
        parts.append(svg.draw_text(x, bottom + 17, str(tick), "middle"))
    parts.append(svg.draw_line(left, bottom, right, bottom, "#888"))
    return svg.wrap_chart(parts, width, bottom + 24, title)


def _list_extremes(line: Series) -> list[float]:
    spread = line.spread or [0.0] * len(line.points)
    return [y + sign * half for (_, y), half in zip(line.points, spread) for sign in (-1, 1)]


def _draw_band(line, place_x, place_y):
    pairs = list(zip(line.points, line.spread))
    upper = [(place_x(x), place_y(y + half)) for (x, y), half in pairs]
    lower = [(place_x(x), place_y(y - half)) for (x, y), half in reversed(pairs)]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper + lower)
    return f'<polygon points="{joined}" fill="{line.color}" fill-opacity="0.15"/>'


def _draw_legend(entries, width, top):
    """Gives the SVG of a legend in as many rows as it needs, and where it ends."""
    parts, x, y = [], 0.0, float(top)
    for name, color in entries:
        needed = 18 + svg.estimate_width(name) + 14
        if x and x + needed > width:
            x, y = 0.0, y + _LEGEND_ROW
        parts.append(svg.draw_box(x, y, 12, 12, color))
        parts.append(svg.draw_text(x + 17, y + 10, name))
        x += needed
    return parts, y + (_LEGEND_ROW if entries else 0)


def _shade(share):
    """White for 0 to dark blue for 1."""
    ends = np.array([(255, 255, 255), (8, 69, 148)], float)
    red, green, blue = np.rint(ends[0] + (ends[1] - ends[0]) * share**0.7).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"
