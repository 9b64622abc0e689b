"""The contact sheet: every panel whole, none over another."""

import numpy as np
import pytest

from data_pipelines.labels import label_spaces
from drsl_tf.figures import contact_sheet

_SPACE = label_spaces.custom(
    name="two", class_names=["ground", "thing"], palette=[(10, 20, 30), (40, 50, 60)]
)


def _make_examples(count, first, with_labels):
    """Images of one colour each, labels half ground and half thing."""
    label = np.zeros((40, 60), np.int32)
    label[:, 30:] = 1
    return [
        contact_sheet.Example(
            f"a/very/long/path/to/an/image/that/does/not/fit/its/panel/{index}\n",
            np.full((40, 60, 3), (first + index, 200, 7), np.float32),
            label if with_labels else None,
        )
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [1, 4, 5])
def test_panels_lie_beside_each_other(count):
    sections = [
        contact_sheet.Section("source", _make_examples(count, 100, True)),
        contact_sheet.Section("target", _make_examples(count, 150, False)),
    ]
    sheet = np.asarray(contact_sheet.draw_contact_sheet(sections, _SPACE))

    def find(color):
        return np.argwhere(np.all(sheet == color, axis=-1))

    height, width = 224 * 40 / 60, 224
    for first in (100, 150):
        for index in range(count):
            places = find((first + index, 200, 7))
            # One whole rectangle: nothing was drawn over it.
            extent = places.max(axis=0) - places.min(axis=0) + 1
            assert len(places) == extent.prod()
            assert extent == pytest.approx([height, width], abs=2)
    for color in _SPACE.palette:
        # Half of each label map, and a patch in the legend.
        assert len(find(color)) == pytest.approx(count * height * width / 2, rel=0.05)
    # Titles of the source's images are whole lines above their panels, and within the sheet.
    assert (sheet[:, -4:] == 255).all() and (sheet[:, :4] == 255).all()
