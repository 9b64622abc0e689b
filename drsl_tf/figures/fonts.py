"""Fonts for letters that matplotlib's default font lacks."""

from __future__ import annotations

import functools

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

# Fonts that draw a box for every letter, or whose tables of letters are not Unicode's.
_UNFIT = ("Last Resort", "STIXNonUnicode", "cm")
_ORDINARY = ("normal", "regular", 400)


def fit_fonts(figure: Figure) -> None:
    r"""Sets the fonts of a figure's texts so that no letter is drawn as a box.

    A letter that the text's own font lacks is taken from an installed font that has it. One that
    no font has is replaced by its escape, such as `\u5929`, which Python prints for it too.

    Args:
        figure: finished, not yet rendered; changed in place.
    """
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        # Texts of ticks are set again whenever they are drawn.
        texts = [label.get_text() for label in axis.get_ticklabels()]
        escaped = list(map(_escape, texts))
        if escaped != texts:
            axis.set_ticks(axis.get_ticklocs(), escaped)
            axis.get_ticklabels()
    for text in figure.findobj(Text):
        letters = text.get_text()
        if letters.isascii():
            continue
        text.set_text(_escape(letters))
        own = font_manager.findfont(text.get_fontproperties())
        found = (find_font(letter) for letter in text.get_text() if not _has(own, letter))
        others = {name for name in found if name is not None}
        if others:
            text.set_fontfamily([font_manager.get_font(own).family_name, *sorted(others)])


@functools.cache
def find_font(letter: str) -> str | None:
    """Finds an installed font that has a letter.

    Args:
        letter: one character.

    Returns:
        The font's family; None if no font has the letter.
    """
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith(_UNFIT)]
    # The default font first, then upright ones of ordinary weight.
    fonts.sort(
        key=lambda font: (
            font.name != "DejaVu Sans",
            font.style != "normal" or font.weight not in _ORDINARY,
            font.name,
        )
    )
    return next((font.name for font in fonts if _has(font.fname, letter)), None)


def _escape(text):
    """Replaces the letters that no installed font has."""
    return "".join(
        letter if letter.isascii() or find_font(letter) else ascii(letter)[1:-1] for letter in text
    )


def _has(path, letter):
    try:
        return font_manager.get_font(path).get_char_index(ord(letter)) != 0
    except (OSError, RuntimeError):  # A font that was removed, or that FreeType cannot read.
        return False
