"""The pixels nearest to each mode, and the crops around them."""

import numpy as np
import pytest

from drsl_tf.monitoring.mode_cells import Cells
from drsl_tf.monitoring.mode_pictures import NearestCrops
from drsl_tf.monitoring.mode_pictures import cut_crop


def _make_cells(shade, classes, modes, cosines):
    count = len(classes)
    return Cells(
        np.full((30, 60, 3), shade, np.float32),
        np.tile([15, 30], (count, 1)),
        np.zeros((count, 4), np.float32),
        np.array(classes),
        np.array(modes),
        np.array(cosines, np.float32),
    )


def test_the_nearest_pixels_are_of_different_images():
    crops = NearestCrops((3, 2))
    order = np.random.default_rng(0).permutation(20)
    for image in order:
        # Each image has two pixels of mode 0 of class 1; the nearer one counts.
        cosine = image / 40
        crops.add(_make_cells(image, [1, 1, 1], [0, 0, 1], [cosine, cosine + 0.1, 0.2]))
    share, shown = crops.get(1, 0)
    assert share == pytest.approx(2 / 3)
    assert [int(crop[0, 0, 0]) for crop in shown] == list(range(19, 11, -1))
    assert len(crops.get(1, 1)[1]) == 8 and crops.get(1, 1)[0] == pytest.approx(1 / 3)
    crops.add(_make_cells(0, [0], [1], [0.5]))
    assert crops.get(0, 0) == (0.0, [])
    assert crops.get(2, 0) == (None, [])


@pytest.mark.parametrize("centre", [(0, 0), (15, 30), (29, 59)])
def test_the_pixel_is_in_the_centre_of_its_crop(centre):
    image = np.zeros((30, 60, 3), np.float32)
    image[centre] = 255
    crop = cut_crop(image, centre)
    assert crop.shape == (64, 64, 3) and crop.dtype == np.uint8
    # Grey beyond the image, black inside, white in the middle.
    row, column = np.argwhere(crop[..., 0] > 240).mean(axis=0)
    assert (row, column) == pytest.approx((31.5, 31.5), abs=1)
    grey = np.all(np.abs(crop.astype(int) - 128) <= 1, axis=-1)
    assert grey[:20, :20].all() == (centre == (0, 0))
    assert grey[-20:, -20:].all() == (centre == (29, 59))
