"""Tests of the confusion matrix against loops and against cityscapesScripts."""

from __future__ import annotations

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from PIL import Image

from drsl_tf.evaluation.confusion import ConfusionMatrix


def _draw_case(num_classes=6, shape=(20, 30), seed=0):
    """Labels with ignored pixels and an absent class; predictions with misses of both kinds."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes - 1, shape)
    prediction = np.where(rng.random(shape) < 0.6, label, rng.integers(0, num_classes, shape))
    label[rng.random(shape) < 0.1] = 255
    prediction[rng.random(shape) < 0.05] = 255
    prediction[rng.random(shape) < 0.05] = num_classes + 3
    return label.astype(np.uint8), prediction.astype(np.uint8)


def _count_naively(label, prediction, num_classes):
    matrix = np.zeros((num_classes, num_classes + 1), np.int64)
    for truth, guess in zip(label.ravel().tolist(), prediction.ravel().tolist()):
        if truth != 255:
            matrix[truth, guess if 0 <= guess < num_classes else num_classes] += 1
    return matrix


def _compute_iou_naively(label, prediction, num_classes):
    iou = np.full(num_classes, np.nan)
    valid = label != 255
    for c in range(num_classes):
        hit = np.count_nonzero(valid & (label == c) & (prediction == c))
        union = np.count_nonzero(valid & ((label == c) | (prediction == c)))
        if union:
            iou[c] = hit / union
    return iou


@pytest.mark.parametrize("num_classes", [2, 6, 19, 250])
def test_matrix_and_iou_equal_the_naive_counts(num_classes):
    label, prediction = _draw_case(num_classes)
    confusion = ConfusionMatrix(num_classes)
    confusion.update(label, prediction)
    assert confusion.matrix.dtype == np.int64
    np.testing.assert_array_equal(confusion.matrix, _count_naively(label, prediction, num_classes))
    expected = _compute_iou_naively(label, prediction, num_classes)
    np.testing.assert_allclose(confusion.iou(), expected, rtol=1e-12)
    np.testing.assert_allclose(confusion.mean_iou(), np.nanmean(expected), rtol=1e-12)
    assert confusion.num_present == np.count_nonzero(~np.isnan(expected))


@pytest.mark.parametrize("label_type", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("prediction_type", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_every_integer_dtype_counts_alike(label_type, prediction_type):
    label, prediction = _draw_case()
    prediction = np.where(prediction == 255, 100, prediction)
    confusion = ConfusionMatrix(6)
    confusion.update(label.astype(label_type), prediction.astype(prediction_type))
    np.testing.assert_array_equal(confusion.matrix, _count_naively(label, prediction, 6))


@pytest.mark.parametrize(
    "stray, dtype",
    [
        (-1, np.int8),
        (-1, np.int64),
        (256, np.int32),
        (65536, np.int64),
        (6, np.uint8),
        (255, np.uint8),
    ],
)
def test_predictions_outside_the_classes_are_misses(stray, dtype):
    confusion = ConfusionMatrix(6)
    confusion.update(np.array([0, 0, 1]), np.array([0, stray, 1], dtype))
    np.testing.assert_array_equal(confusion.iou()[:2], [0.5, 1.0])
    assert np.isnan(confusion.iou()[2:]).all()
    assert confusion.matrix[0, -1] == 1


def test_predictions_on_ignored_pixels_do_not_count():
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 255, 255]), np.array([0, 1, 0]))
    np.testing.assert_array_equal(confusion.iou(), [1.0, np.nan, np.nan])
    assert (confusion.mean_iou(), confusion.num_present) == (1.0, 1)


def test_empty_matrix_has_no_iou():
    confusion = ConfusionMatrix(3)
    assert np.isnan(confusion.iou()).all()
    assert np.isnan(confusion.mean_iou())
    assert confusion.num_present == 0
    confusion.update(np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8))
    assert confusion.matrix.sum() == 0


def test_perfect_and_disjoint_predictions():
    label = np.arange(4).repeat(5)
    confusion = ConfusionMatrix(4)
    confusion.update(label, label)
    assert confusion.mean_iou() == 1.0
    confusion = ConfusionMatrix(4)
    confusion.update(label, (label + 1) % 4)
    assert confusion.mean_iou() == 0.0


def test_updates_add_up():
    cases = [_draw_case(seed=seed) for seed in range(4)]
    whole, added = ConfusionMatrix(6), ConfusionMatrix(6)
    whole.update(*map(np.stack, zip(*cases)))
    for case in cases:
        added.update(*case)
    np.testing.assert_array_equal(added.matrix, whole.matrix)
    # The IoU of a split is that of the sum, not the mean over its images.
    stacked = [np.stack(arrays) for arrays in zip(*cases)]
    np.testing.assert_allclose(added.iou(), _compute_iou_naively(*stacked, 6))


def test_matrix_restores_a_confusion_matrix():
    confusion = ConfusionMatrix(6)
    confusion.update(*_draw_case())
    matrix = confusion.matrix
    restored = ConfusionMatrix.from_matrix(matrix)
    matrix[:] = 0  # Neither side shares memory with the array.
    np.testing.assert_array_equal(restored.matrix, confusion.matrix)
    np.testing.assert_array_equal(restored.iou(), confusion.iou())


def test_counts_beyond_32_bits():
    matrix = np.zeros((2, 3), np.int64)
    matrix[0, 0] = 2**40
    confusion = ConfusionMatrix.from_matrix(matrix)
    confusion.update(np.array([0, 1]), np.array([0, 0]))
    np.testing.assert_allclose(confusion.iou(), [(2**40 + 1) / (2**40 + 2), 0.0], rtol=1e-15)


def test_views_that_are_not_contiguous():
    label, prediction = _draw_case()
    confusion = ConfusionMatrix(6)
    confusion.update(label[::2, ::3], prediction.T[::3, ::2].T)
    np.testing.assert_array_equal(
        confusion.matrix, _count_naively(label[::2, ::3], prediction[::2, ::3], 6)
    )


@pytest.mark.parametrize(
    "label, prediction, message",
    [
        (np.zeros((4, 6), int), np.zeros((4, 5), int), "has the size 4x5, but its label .* 4x6"),
        (np.zeros((1, 4, 6), int), np.zeros((4, 6), int), "has the size 4x6, .* 1x4x6"),
        (np.array([0, 3, 7]), np.zeros(3, int), "ids 3, 7, which are neither classes .0 to 2"),
        (np.array([0, -1]), np.zeros(2, int), "0 to 255, but they range from -1 to 0"),
        (np.array([0, 300]), np.zeros(2, int), "0 to 255, but they range from 0 to 300"),
        (np.array([0.0]), np.zeros(1, int), "Labels must be integers, not float64"),
        (np.array([0]), np.zeros(1), "Predictions must be integers, not float64"),
        (np.array([0]), np.array([True]), "Predictions must be integers, not bool"),
    ],
)
def test_bad_arrays_are_named_and_not_counted(label, prediction, message):
    confusion = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=message):
        confusion.update(label, prediction)
    assert confusion.matrix.sum() == 0


def test_bad_arguments_are_named():
    for num_classes in (0, 256):
        with pytest.raises(ValueError, match=f"1 to 255, not {num_classes}"):
            ConfusionMatrix(num_classes)
    with pytest.raises(ValueError, match=r"int64 of shape \(3, 3\)"):
        ConfusionMatrix.from_matrix(np.zeros((3, 3), np.int64))
    with pytest.raises(ValueError, match="negative"):
        ConfusionMatrix.from_matrix(np.full((3, 4), -1))


@pytest.mark.parametrize("seed", range(3))
def test_iou_agrees_with_cityscapesscripts(seed, tmp_path):
    scripts = evalPixelLevelSemanticLabeling
    label_ids = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    void_ids = [0, 1, 4, 9, 10, 14, 29, 30]
    rng = np.random.default_rng(seed)
    scripts.args.evalInstLevelScore = False
    expected = scripts.generateMatrix(scripts.args)
    confusion = ConfusionMatrix(19)
    to_train_id = np.full(256, 255, np.uint8)
    to_train_id[label_ids] = np.arange(19)
    # Class 16 neither present nor predicted; class 15 predicted only; voids on both sides.
    present = [i for c, i in enumerate(label_ids) if c not in (15, 16)]
    predicted = [i for c, i in enumerate(label_ids) if c != 16]
    for image in range(2):
        truth = rng.choice(present, (40, 60))
        guess = np.where(rng.random(truth.shape) < 0.7, truth, rng.choice(predicted, truth.shape))
        for array in (truth, guess):
            voids = rng.random(truth.shape) < 0.1
            array[voids] = rng.choice(void_ids, voids.sum())
        paths = [str(tmp_path / f"{name}_{image}.png") for name in ("guess", "truth")]
        for path, array in zip(paths, (guess, truth)):
            Image.fromarray(array.astype(np.uint8)).save(path)
        scripts.evaluatePair(*paths, expected, {}, {}, scripts.args)
        confusion.update(to_train_id[truth], to_train_id[guess])
    scores = [scripts.getIouScoreForLabel(i, expected, scripts.args) for i in label_ids]
    np.testing.assert_allclose(confusion.iou(), scores, rtol=1e-12)
    assert np.isnan(scores[16]) and scores[15] == 0.0
    assert confusion.num_present == 18
