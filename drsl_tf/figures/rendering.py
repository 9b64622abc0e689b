"""Rendering of matplotlib figures as SVG and as pixels."""

from __future__ import annotations

import io
import re
import threading

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from drsl_tf.figures.fonts import fit_fonts

_DPI = 100
# matplotlib reads SVG options only from its global settings.
_SETTINGS = threading.Lock()


def plain_text(text: str) -> str:
    """Escapes a text for matplotlib, so that a dollar sign starts no formula.

    Args:
        text: any text.

    Returns:
        The text for matplotlib, with "?" for non-printable characters.
    """
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable.replace("$", r"\$")


def to_svg(figure: Figure, salt: str) -> str:
    """Renders a figure as an element of an HTML page, deterministically.

    Args:
        figure: cut to what it shows, labels beyond its edges included.
        salt: makes the element's ids differ from those of other charts in the page.

    Returns:
        An `<svg>` element; its texts are not converted to paths.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with _SETTINGS, matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata=metadata)
    svg = stream.getvalue()
    # A page needs neither the XML header, nor namespaces, nor the ids of groups, which are the
    # same in every chart.
    return re.sub(r' xmlns(:xlink)?="[^"]*"|(?<=<g) id="[^"]*"', "", svg[svg.index("<svg") :])


def to_image(figure: Figure) -> Image.Image:
    """Renders a figure as pixels.

    Args:
        figure: cut to what it shows, labels beyond its edges included; its fonts are fitted.

    Returns:
        An RGB image of 100 pixels an inch.
    """
    stream = io.BytesIO()
    fit_fonts(figure)
    figure.savefig(stream, format="png", bbox_inches="tight", dpi=_DPI)
    return Image.open(stream).convert("RGB")
