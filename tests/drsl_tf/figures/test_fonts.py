"""Class names outside the letters of matplotlib's default font."""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.text import Text

from data_pipelines.labels import label_spaces
from drsl_tf.figures import charts
from drsl_tf.figures import fonts
from drsl_tf.figures import panel_grid
from drsl_tf.figures import rendering

# Of the default font, of another one that comes with matplotlib, and of fonts that may be absent.
_NAMES = ["Straße", "небо", "℘ℊ", "天空"]


def _draw_panels():
    space = label_spaces.custom(name="mine", class_names=_NAMES)
    panel = panel_grid.Panel(_NAMES[2], np.zeros((4, 8), np.int32))
    return panel_grid.draw_panels([panel_grid.Row(_NAMES[1], [panel])], 2.0, space)


def _draw_confusion():
    return charts.draw_confusion(_NAMES[2], _NAMES, np.eye(4, 5, dtype=np.int64))


@pytest.mark.parametrize("draw", [_draw_panels, _draw_confusion])
def test_no_letter_is_drawn_as_a_box(draw):
    figure = draw()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of every letter that a font lacks.
        rendering.to_image(figure)
    texts = {text.get_text(): text for text in figure.findobj(Text)}
    assert {"Straße", "небо", "℘ℊ"} <= texts.keys()
    assert texts["Straße"].get_fontfamily() == ["sans-serif"]
    families = texts["℘ℊ"].get_fontfamily()
    paths = [font_manager.findfont(family) for family in families[1:]]
    assert any(font_manager.get_font(path).get_char_index(ord("ℊ")) for path in paths)


def test_a_letter_without_a_font_is_escaped(monkeypatch):
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    fonts.find_font.cache_clear()
    figure = _draw_confusion()
    rendering.to_image(figure)
    fonts.find_font.cache_clear()
    texts = {text.get_text() for text in figure.findobj(Text)}
    assert {r"\u2118\u210a", r"Stra\xdfe"} <= texts
