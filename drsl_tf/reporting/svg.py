"""The parts that charts are drawn from: SVG as text."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

FONT_SIZE = 12
# A wide letter of the page's sans-serif at FONT_SIZE, so that no label is cut.
_LETTER_WIDTH = 7.0
_INK = "#333"


def estimate_width(text: str, size: float = FONT_SIZE) -> float:
    """Estimates how wide a text is drawn, on the safe side.

    Args:
        text: one line.
        size: of the font, in pixels.

    Returns:
        Pixels.
    """
    return len(text) * _LETTER_WIDTH * size / FONT_SIZE


def draw_text(
    x: float, y: float, text: str, anchor: str = "start", size: float = FONT_SIZE,
    color: str = _INK, turn: float = 0, weight: str = "normal",
) -> str:  # fmt: skip
    """Draws a line of text.

    Args:
        x: where its anchor lies, in pixels.
        y: its base line.
        text: what it says.
        anchor: "start", "middle" or "end".
        size: of the font, in pixels.
        color: any CSS colour.
        turn: degrees clockwise, around (x, y).
        weight: CSS's font weight.

    Returns:
        SVG.
    """
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}" '
        f'font-weight="{weight}" fill="{color}"{turned}>{html.escape(text)}</text>'
    )


def draw_line(
    x1: float, y1: float, x2: float, y2: float, color: str = "#ddd", width: float = 1
) -> str:
    """Draws a straight line.

    Args:
        x1: where it starts, in pixels.
        y1: likewise.
        x2: where it ends.
        y2: likewise.
        color: any CSS colour.
        width: in pixels.

    Returns:
        SVG.
    """
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        f'stroke-width="{width:g}"/>'
    )


def draw_box(
    x: float, y: float, width: float, height: float, color: str, title: str = "",
    opacity: float = 1.0,
) -> str:  # fmt: skip
    """Draws a filled rectangle.

    Args:
        x: its left side, in pixels.
        y: its top.
        width: in pixels.
        height: in pixels.
        color: any CSS colour.
        title: what a browser shows under the pointer.
        opacity: 0 to 1.

    Returns:
        SVG.
    """
    inner = f"<title>{html.escape(title)}</title>" if title else ""
    faded = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
        f'height="{max(height, 0):.1f}" fill="{color}"{faded}>{inner}</rect>'
    )


def wrap_chart(parts: Sequence[str], width: float, height: float, title: str) -> str:
    """Makes a picture of its parts.

    Args:
        parts: SVG.
        width: in pixels.
        height: in pixels.
        title: what it shows, for those who cannot see it.

    Returns:
        An SVG element to stand in a page.
    """
    return (
        f'<svg role="img" aria-label="{html.escape(title)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">{"".join(parts)}</svg>'
    )


def choose_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Chooses round numbers for an axis.

    Args:
        low: the smallest number to show.
        high: the largest.
        most: how many ticks there may be.

    Returns:
        Multiples of 1, 2 or 5 times a power of ten; the first is at most `low`, the last at least
        `high`.
    """
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]
