"""Strips of crops: each crop whole and in its place, usage in words."""

import numpy as np
import pytest

from drsl_tf.figures import rendering
from drsl_tf.figures.mode_strips import Mode
from drsl_tf.figures.mode_strips import Strip
from drsl_tf.figures.mode_strips import draw_modes

_COLORS = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]


def _make_crops(count, shade):
    return [np.full((64, 64, 3), (shade, 90 + index, 60), np.uint8) for index in range(count)]


@pytest.fixture(scope="module")
def figure():
    modes = [
        Mode(_COLORS[0], [Strip("source", 0.75, _make_crops(8, 10)), Strip("target", 1.0, [])]),
        Mode(
            _COLORS[1],
            [Strip("source", 0.004, _make_crops(3, 20)), Strip("target", 0.0, [])],
        ),
        Mode(_COLORS[2], [Strip("source", 0.246, []), Strip("target", None, [])]),
    ]
    return draw_modes("a $class", modes, 8, "a note")


def test_crops_lie_in_rows_source_above_target(figure):
    pixels = np.asarray(rendering.to_image(figure))

    def find(color):
        return np.argwhere(np.all(pixels == color, axis=-1))

    def find_corner(shade, index):
        places = find((shade, 90 + index, 60))
        extent = places.max(axis=0) - places.min(axis=0) + 1
        assert extent == pytest.approx([64, 64], abs=2)
        # All but the ring around the centre.
        assert len(places) > 0.9 * extent.prod()
        return places.min(axis=0)

    corners = np.array([find_corner(10, index) for index in range(8)])
    assert np.ptp(corners[:, 0]) <= 1
    np.testing.assert_allclose(np.diff(corners[:, 1]), 69, atol=1)
    for index in range(3):
        place = find_corner(20, index)
        assert abs(place[1] - corners[index, 1]) <= 1 and place[0] > corners[0, 0] + 128
    bars = [find(color) for color in _COLORS]
    assert [bar[:, 0].min() for bar in bars] == sorted(bar[:, 0].min() for bar in bars)
    assert all(bar[:, 1].max() < corners[0, 1] for bar in bars)


def test_texts_tell_modes_domains_and_shares(figure):
    (axes,) = figure.axes
    assert axes.get_title(loc="center") == "a \\$class"
    assert [text.get_text() for text in axes.texts] == [
        "mode 0, source\n75 %",
        "mode 0, target\n100 %",
        "mode 1, source\n< 1 %",
        "mode 1, target\n0 %",
        "mode 2, source\n25 %",
        "mode 2, target\nno pixel",
        "a note",
    ]
