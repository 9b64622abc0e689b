"""Counts of pixels in each image, against the confusion matrix of the split."""

import types

import numpy as np
import pytest

from benchmarks.comparison import image_counts
from data_pipelines.domains.domain import Pair
from drsl_tf.evaluation.confusion import ConfusionMatrix

_CLASSES = 4


class _Evaluator:
    """Hands out predictions as the program's evaluator does."""

    def __init__(self, predictions):
        self._predictions = predictions

    def evaluate(self, domain, pairs, *, on_prediction):
        for pair in pairs:
            on_prediction(pair, self._predictions[pair.name])


def test_sums_over_images_give_the_scores_of_the_split():
    generator = np.random.default_rng(0)
    names = ["b", "a", "c"]
    labels = {name: generator.choice([0, 1, 2, 255], (5, 7)).astype(np.uint8) for name in names}
    # A prediction of 9 is no class; class 3 is neither present nor predicted.
    guesses = {name: generator.choice([0, 1, 2, 9], (5, 7)).astype(np.uint8) for name in names}
    domain = types.SimpleNamespace(
        read_label=labels.__getitem__, label_space=types.SimpleNamespace(num_classes=_CLASSES)
    )
    pairs = [Pair(name, name, name) for name in names]
    counts = image_counts.count_images(_Evaluator(guesses), domain, pairs)
    assert counts.keys() == set(names) and "3" not in counts["a"]
    array = image_counts.to_array(counts, _CLASSES)
    for row, name in enumerate("abc"):
        for index in range(_CLASSES):
            known = labels[name] != 255
            is_class, is_guess = labels[name] == index, (guesses[name] == index) & known
            expected = [(is_class & is_guess).sum(), is_class.sum(), is_guess.sum()]
            assert array[row, index].tolist() == expected
    whole = ConfusionMatrix(_CLASSES)
    for name in names:
        whole.update(labels[name], guesses[name])
    np.testing.assert_allclose(image_counts.compute_iou(array.sum(axis=0)), whole.iou())
    assert image_counts.compute_miou(array.sum(axis=0)) == pytest.approx(whole.mean_iou())
    each = image_counts.compute_miou(array)
    assert each.shape == (3,) and each[0] == image_counts.compute_miou(array[0])
    assert np.isnan(image_counts.compute_miou(np.zeros((2, 3))))
