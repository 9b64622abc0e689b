"""Charts show the numbers they are given, and gaps where there are none."""

import numpy as np

from drsl_tf.figures import charts
from drsl_tf.figures import rendering


def _render(figure):
    return rendering.to_svg(figure, salt="t")


def test_bars_are_as_long_as_their_values():
    bars = charts.BarSet("s", "#123456", [10.0, 40.0, None], [None, 5.0, None])
    (axes,) = charts.draw_bars("t", "%", ["a", "b", "c"], [bars]).axes
    assert [bar.get_width() for bar in axes.patches] == [10.0, 40.0, 0.0]
    assert [text.get_text() for text in axes.texts] == ["10.0", "40.0 ± 5.0", "–"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.yaxis_inverted()


def test_a_line_has_a_gap_where_a_round_is_missing():
    lines = [
        charts.Series("a", "#0072b2", [(0, 10.0), (2, 30.0)], [1.0, 2.0]),
        charts.Series("b", "#d55e00", [(0, 5.0), (1, 6.0), (2, 99.0)], [0.0, 1.0, 9.0]),
    ]
    (axes,) = charts.draw_lines("t", "%", lines).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [10.0, np.nan, 30.0])
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), [0, 1, 2])
    low, high = axes.collections[1].get_datalim(axes.transData).intervaly
    assert (low, high) == (5.0, 100.0)  # A share does not leave the possible.
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_confusion_is_in_percent_of_each_row():
    matrix = np.array([[75, 25, 0, 0], [0, 0, 0, 0], [1, 0, 996, 3]])
    (axes,) = charts.draw_confusion("t", ["a", "b", "c"], matrix).axes
    written = {text.get_text(): text.get_position() for text in axes.texts}
    assert written == {
        "75": (0.5, 0.5),
        "25": (1.5, 0.5),
        "no labelled pixel": (0.2, 1.5),
        "100": (2.5, 2.5),
    }
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "c", "no class"]
    shares = axes.collections[0].get_array()
    assert shares.shape == (3, 4) and shares.mask.tolist() == [[False] * 4, [True] * 4, [False] * 4]
    (axes,) = charts.draw_confusion("t", ["a", "b", "c"], matrix * [1, 1, 1, 0]).axes
    assert len(axes.get_xticklabels()) == 3


def test_shares_of_a_bar_add_up():
    colors = [["#000000", "#ffffff"]] * 2
    (axes,) = charts.draw_shares("t", ["a", "b"], [[30, 10], [0, 0]], colors).axes
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, 75), (75, 25)]
    assert [text.get_text() for text in axes.texts] == ["never predicted"]


def test_texts_of_an_svg_are_texts_and_nothing_is_referred_to():
    bars = charts.BarSet("$a$ <b>", "#123456", [1.0], [None])
    svg = _render(charts.draw_bars("t & $u$", "%", ["_x\n$y"], [bars]))
    assert svg == _render(charts.draw_bars("t & $u$", "%", ["_x\n$y"], [bars]))
    for text in ("t &amp; $u$ (%)", "$a$ &lt;b&gt;", "_x?$y"):
        assert f">{text}</text>" in svg
    assert "http" not in svg and svg.startswith("<svg") and svg.endswith("</svg>\n")
