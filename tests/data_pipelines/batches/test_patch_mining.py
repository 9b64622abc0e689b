"""Which classes are mined, and where their crops lie."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.patch_mining import PatchMiner
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError


def _make_label(height=40, width=60):
    label = np.zeros((height, width), np.uint8)
    label[3:5, 50:52] = 4
    label[30, 7] = 6
    return label


def _draw_centres(miner, label, classes, count=400):
    draw = tf.function(lambda seed: miner.draw_centre(tf.constant(label), classes, seed))
    return np.array([draw(tf.constant([7, place])) for place in range(count)])


def test_classes_below_the_share_are_mined_if_they_occur():
    counts = np.array([[9000, 0, 5, 11], [990, 0, 4, 0]])
    assert PatchMiner(max_share=0.001).choose_classes(counts) == (2,)
    assert PatchMiner(max_share=0.002).choose_classes(counts) == (2, 3)
    assert PatchMiner(max_share=0.0).choose_classes(counts) == ()


def test_centres_are_pixels_of_the_mined_classes_with_the_given_chance():
    label = _make_label()
    centres = _draw_centres(PatchMiner(chance=0.7), label, (4, 6, 9))
    mined = centres[centres[:, 0] >= 0]
    assert abs(len(mined) / len(centres) - 0.7) < 0.07
    found = label[mined[:, 0], mined[:, 1]]
    # Classes are drawn first: the single pixel of class 6 as often as the four of class 4.
    assert abs(np.mean(found == 6) - 0.5) < 0.1
    assert set(found) == {4, 6}
    assert len(np.unique(mined[found == 4], axis=0)) == 4
    assert (centres[centres[:, 0] < 0] == -1).all()


@pytest.mark.parametrize("chance, classes", [(0.0, (4, 6)), (1.0, (9,))])
def test_nothing_to_mine_leaves_the_place_to_chance(chance, classes):
    centres = _draw_centres(PatchMiner(chance=chance), _make_label(), classes, count=20)
    assert (centres == -1).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_a_crop_holds_the_pixel_that_it_is_centred_on(scale):
    augmenter = Augmenter(size=(16, 20), scale=(scale, scale), mirror=False)
    for row, column in ((0, 0), (39, 59), (20, 30), (3, 58)):
        label = np.zeros((40, 60), np.uint8)
        label[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 4
        image = np.zeros((40, 60, 3), np.uint8)
        crop = augmenter(image, label, tf.constant([1, row]), centre=tf.constant([row, column]))[1]
        rows, columns = np.nonzero(crop.numpy() == 4)
        assert len(rows) > 0
        if (row, column) == (20, 30):
            assert abs(rows.mean() - 7.5) <= 1.5 and abs(columns.mean() - 9.5) <= 1.5


def _collect(miner, mined_classes):
    label = _make_label()
    stream = training_batches.Stream(
        pairs=[Pair("a", "image", "label")],
        read_image=lambda path: np.zeros((*label.shape, 3), np.uint8),
        read_label=lambda path: label,
        augmenter=Augmenter(size=(8, 8)),
        batch_size=4,
        miner=miner,
        mined_classes=mined_classes,
    )
    batches = training_batches.make_training_batches(stream, stream, steps=5, seed=1, round_index=1)
    return [batch["target"]["label"] for batch in batches.as_numpy_iterator()]


def test_batches_show_mined_classes_and_are_the_same_again():
    labels = _collect(PatchMiner(chance=1.0), (4, 6))
    assert all(np.isin(label, (4, 6)).any(axis=(1, 2)).all() for label in labels)
    for label, again in zip(labels, _collect(PatchMiner(chance=1.0), (4, 6))):
        np.testing.assert_array_equal(label, again)
    assert np.isin(_collect(PatchMiner(chance=1.0), ()), (4, 6)).any(axis=(2, 3)).mean() < 0.5


@pytest.mark.parametrize("argument", ["chance", "max_share"])
def test_shares_outside_0_to_1_are_refused(argument):
    with pytest.raises(UserError, match=f"PatchMiner.{argument} is 1.5"):
        PatchMiner(**{argument: 1.5})
