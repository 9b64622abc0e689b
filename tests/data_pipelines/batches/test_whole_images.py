"""Images come back in order, grouped by size, none lost."""

import numpy as np
import pytest

from data_pipelines.batches.whole_images import iterate_image_batches
from data_pipelines.batches.whole_images import sample_cells
from data_pipelines.batches.whole_images import spread_evenly
from data_pipelines.domains.domain import Pair

_SIZES = [(8, 6), (8, 6), (8, 6), (4, 10), (8, 6)]
_PAIRS = [Pair(str(i), str(i), str(i)) for i in range(len(_SIZES))]


def _read_image(path):
    return np.full((*_SIZES[int(path)], 3), int(path), np.uint8)


def _read_label(path):
    return np.full(_SIZES[int(path)], int(path), np.uint8)


def test_neighbours_of_one_size_share_a_batch():
    batches = list(iterate_image_batches(_PAIRS, _read_image, _read_label, batch_size=2))
    assert [[p.name for p in b.pairs] for b in batches] == [["0", "1"], ["2"], ["3"], ["4"]]
    for batch in batches:
        for pair, image, label in zip(batch.pairs, batch.images, batch.labels):
            assert image.shape == (*_SIZES[int(pair.name)], 3) and (image == int(pair.name)).all()
            assert label.shape == _SIZES[int(pair.name)] and (label == int(pair.name)).all()


def test_resized_images_keep_labels_at_their_own_size():
    batches = list(
        iterate_image_batches(_PAIRS, _read_image, _read_label, size=(16, 12), batch_size=4)
    )
    assert [len(b.pairs) for b in batches] == [3, 1, 1]
    assert all(b.images.shape[1:] == (16, 12, 3) for b in batches)
    assert batches[1].labels.shape == (1, 4, 10)


def test_a_target_without_labels_can_be_read():
    pairs = [pair._replace(label_path=None) for pair in _PAIRS]
    batches = list(iterate_image_batches(pairs, _read_image, batch_size=8))
    assert [p.name for b in batches for p in b.pairs] == [p.name for p in _PAIRS]
    assert all(b.labels is None for b in batches)


@pytest.mark.parametrize("stride", [1, 4, 5])
def test_cells_have_the_label_at_their_centres(stride):
    label = np.random.default_rng(0).integers(0, 9, (13, 18)).astype(np.uint8)
    grid = (-(-13 // stride) + 1, -(-18 // stride) + 2)
    cells = sample_cells(label, label.shape, grid, stride)
    for row, column in np.ndindex(grid):
        place = row * stride + stride // 2, column * stride + stride // 2
        inside = place[0] < 13 and place[1] < 18
        assert cells[row, column] == (label[place] if inside else 255)


def test_labels_of_another_size_are_resized_first():
    label = np.array([[1, 2], [3, 4]], np.uint8)
    cells = sample_cells(label, (8, 8), (2, 2), 4)
    np.testing.assert_array_equal(cells, label)


def test_images_are_spread_over_the_list():
    assert spread_evenly("abcdefgh", 3) == ["a", "c", "f"]
    assert spread_evenly("ab", 3) == ["a", "b"]
