"""Choices between models without labels, on records made by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.selection import label_free_scores
from benchmarks.selection.label_free_scores import Candidates

_NAMES = ("road", "car", "sign", "dust")


def _make_record(miou, agreement, *, pixels=(600, 300, 99, 0), entropy=0.5):
    """Makes a record; `agreement` is the IoU of each class in every view."""
    ious = dict(zip(_NAMES, agreement))
    return {
        "miou": miou,
        "label_free": {
            "images": 1,
            "pixels": dict(zip(_NAMES, pixels)),
            "agreement": {view: ious for view in ("mirrored", "smaller", "recoloured")},
            "entropies": {n: entropy if p else None for n, p in zip(_NAMES, pixels)},
            "entropy": entropy,
            "marginal_entropy": 1.2,
            "density": 3.0,
        },
        "stability": {other: ious for other in ("source", "others", "vote")},
    }


@pytest.fixture(name="records")
def _records():
    return [
        _make_record(40.0, [0.8, 0.7, 0.4, None]),
        # Steadier where it predicts, but the signs are gone.
        _make_record(38.0, [0.9, 0.8, None, None], pixels=(650, 349, 0, 0), entropy=0.1),
        _make_record(43.0, [0.9, 0.75, 0.45, None], entropy=0.4),
    ]


def test_a_class_that_vanishes_counts_as_0(records):
    candidates = Candidates(records)
    expected = [(0.8 + 0.7 + 0.4) / 4, (0.9 + 0.8) / 4, (0.9 + 0.75 + 0.45) / 4]
    assert candidates.compute_agreement("mirrored", "smaller") == pytest.approx(expected)
    assert candidates.compute_stability("vote") == pytest.approx(expected)
    own = candidates.compute_agreement_of_predicted()
    assert own == pytest.approx([(0.8 + 0.7 + 0.4) / 3, 0.85, 0.7])
    certainty = candidates.compute_class_certainty()
    assert certainty[1] == pytest.approx((1 - 0.1 / math.log(4)) * 2 / 4)


def test_a_few_stray_pixels_do_not_make_a_class(records):
    pixels = (600_000, 300_000, 99_000, 20)
    stray = _make_record(39.0, [0.8, 0.7, 0.4, 0.9], pixels=pixels)
    agreement = Candidates([*records, stray]).compute_agreement()
    assert agreement[3] == pytest.approx(agreement[0])


def test_regret_and_gain_are_those_of_the_chosen_model(records):
    results = label_free_scores.evaluate_scores([records, records[:2]])
    assert results["agreement"]["regret"] == 0 and results["agreement"]["gain"] == 1.5
    assert results["agreement"]["within"] == pytest.approx(1.0)
    # The lowest entropy is that of the model without signs.
    assert results["entropy"]["worst_regret"] == 5 and results["entropy"]["regret"] == 3.5
    assert results["entropy"]["least_gain"] == -2 and results["entropy"]["gain"] == -2
    assert results["entropy"]["within"] == pytest.approx(-0.75)


def test_rank_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(5):
        first, second = rng.integers(0, 5, (2, 8))  # Some are equal.
        expected = stats.spearmanr(first, second).statistic
        assert label_free_scores.compute_rank_correlation(first, second) == pytest.approx(expected)
    assert math.isnan(label_free_scores.compute_rank_correlation([1.0, 1.0], [2.0, 3.0]))


def test_votes_take_the_most_frequent_class_of_each_pixel():
    maps = [np.array([[row]], np.uint8).repeat(2, axis=1) for row in (2, 1, 2)]
    assert label_free_scores.vote(maps, 3).tolist() == [[2, 2]]
    assert label_free_scores.vote(maps[:2], 3).tolist() == [[1, 1]]
    iou = label_free_scores.compare_maps(maps[:2], [maps[0], maps[0]], 4)
    np.testing.assert_array_equal(iou, [np.nan, 0.0, 0.5, np.nan])
