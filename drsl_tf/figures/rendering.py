"""Figures of matplotlib as SVG for a page and as pixels for a file."""

from __future__ import annotations

import io
import re
import threading

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

_DPI = 100
# matplotlib takes options of SVG from its global settings alone.
_SETTINGS = threading.Lock()


def plain_text(text: str) -> str:
    """Returns a text that matplotlib shows as it is: dollars start no formula.

    Args:
        text: any text.

    Returns:
        The text for matplotlib, with "?" for what cannot be printed.
    """
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable.replace("$", r"\$")


def to_svg(figure: Figure, salt: str) -> str:
    """Renders a figure as an element of an HTML page; alike for the same figure.

    Args:
        figure: cut to what it shows, labels beyond its edges included.
        salt: part of the element's ids, so that those of another chart in the page differ.

    Returns:
        An `<svg>` element whose texts are texts.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _SETTINGS, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata=metadata)
    svg = stream.getvalue()
    # A page needs neither the XML header, nor namespaces, nor the names of groups, which are
    # those of every other chart too.
    return re.sub(r' xmlns(:xlink)?="[^"]*"|(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :])


def to_image(figure: Figure) -> Image.Image:
    """Renders a figure as pixels.

    Args:
        figure: cut to what it shows, labels beyond its edges included.

    Returns:
        An RGB image of 100 pixels an inch.
    """
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", dpi=_DPI)
    return Image.open(stream).convert("RGB")
