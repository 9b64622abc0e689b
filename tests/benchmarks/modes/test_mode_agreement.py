"""Agreement of modes and hidden classes, against naive loops and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn import metrics

from benchmarks.modes import mode_agreement
from benchmarks.modes.feature_clusters import FeatureClusters


def _draw(rng, count, modes=3, classes=4, noise=0.5):
    """Draws modes that tell their classes in part."""
    hidden = rng.choice(classes, count, p=rng.dirichlet(np.ones(classes)))
    drawn = np.where(rng.random(count) < noise, rng.integers(0, modes, count), hidden % modes)
    return drawn, hidden


def _tabulate(modes, hidden, shape):
    return mode_agreement.count_pixels(np.zeros_like(modes), modes, hidden, (1, *shape))[0]


def _naive_nmi(modes, hidden):
    """The formula by loops over pairs of values."""
    total = 0.0
    for m in set(modes):
        for c in set(hidden):
            joint = np.mean((modes == m) & (hidden == c))
            if joint:
                total += joint * math.log(joint / np.mean(modes == m) / np.mean(hidden == c))
    entropies = [
        -sum(np.mean(values == v) * math.log(np.mean(values == v)) for v in set(values))
        for values in (modes, hidden)
    ]
    return total / math.sqrt(entropies[0] * entropies[1])


def test_counts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    shape = (2, 3, 4)
    pixels = [rng.integers(0, size, 200) for size in shape]
    expected = np.zeros(shape, int)
    for place in zip(*pixels):
        expected[place] += 1
    np.testing.assert_array_equal(mode_agreement.count_pixels(*pixels, shape), expected)
    nothing = [np.zeros(0, int)] * 3
    assert mode_agreement.count_pixels(*nothing, shape).shape == shape


@pytest.mark.parametrize("noise", [0.0, 0.4, 1.0])
def test_mutual_information(noise):
    modes, hidden = _draw(np.random.default_rng(1), 400, noise=noise)
    # A mode and a class without pixels change nothing.
    table = _tabulate(modes, hidden, (5, 6))
    found = mode_agreement.compute_agreement(table)
    assert found["nmi"] == pytest.approx(_naive_nmi(modes, hidden))
    assert found["nmi"] == pytest.approx(
        metrics.normalized_mutual_info_score(hidden, modes, average_method="geometric")
    )
    assert found["ami"] == pytest.approx(
        metrics.adjusted_mutual_info_score(hidden, modes, average_method="geometric"), abs=1e-9
    )


@pytest.mark.parametrize("table", [[[5, 3]], [[5], [3]], [[0, 0], [5, 3]]])
def test_one_mode_or_one_class_says_nothing(table):
    assert not any(mode_agreement.compute_agreement(np.array(table)).values())


def test_pixels_of_a_mode_and_a_class_each_are_no_evidence():
    assert mode_agreement.compute_agreement(np.eye(3, dtype=int))["ami"] == 0


def test_effective_modes():
    assert mode_agreement.count_effective([4, 4, 4]) == pytest.approx(3)
    assert mode_agreement.count_effective([9, 0, 0]) == 1
    assert mode_agreement.count_effective([3, 1]) == pytest.approx(4 / 3**0.75)
    assert math.isnan(mode_agreement.count_effective([0, 0]))


def test_shuffled_modes_agree_as_permuted_ones_do_on_average():
    rng = np.random.default_rng(2)
    modes, hidden = _draw(rng, 60, noise=0.1)
    found = mode_agreement.compute_agreement(_tabulate(modes, hidden, (3, 4)))
    permuted = [_naive_nmi(rng.permutation(modes), hidden) for _ in range(400)]
    assert found["shuffled"] == pytest.approx(np.mean(permuted), abs=0.005)
    assert found["shuffled"] < 0.1 < 0.3 < found["nmi"]


def test_votes_of_the_source_are_applied_to_the_target():
    source = np.array([[8, 1, 0], [2, 5, 0], [0, 0, 0]])
    votes = mode_agreement.vote(source)
    assert votes.tolist() == [0, 1, -1]
    target = np.array([[6, 3, 1], [2, 9, 0], [2, 0, 1]])
    recalls = mode_agreement.compute_recalls(target, votes)
    assert recalls == {0: pytest.approx(0.6), 1: pytest.approx(0.75), 2: 0.0}
    assert 1 not in mode_agreement.compute_recalls(np.array([[1, 0], [2, 0]]), np.array([0, 1]))


def test_the_description_averages_categories_of_several_classes():
    rng = np.random.default_rng(4)
    tables = np.zeros((4, 2, 5), int)
    tables[0, :, :2] = [[40, 10], [5, 45]]
    tables[1, :, 2:4] = rng.integers(1, 50, (2, 2))
    tables[2, :, 4] = [30, 10]  # One class.
    names, classes = ["a", "b", "c", "absent"], list("vwxyz")
    found = mode_agreement.describe_tables(tables, tables, names, classes)
    assert list(found["categories"]) == ["a", "b", "c"]
    expected = np.mean([mode_agreement.compute_agreement(table)["nmi"] for table in tables[:2]])
    assert found["nmi"] == pytest.approx(expected)
    assert "nmi" not in found["categories"]["c"]
    assert found["categories"]["c"]["usage"] == [30, 10]
    effective = [mode_agreement.count_effective(t.sum(axis=1)) for t in tables[:3]]
    assert found["effective_modes"] == pytest.approx(np.mean(effective))
    assert set(found["recalls"]) == set("vwxy")
    assert found["recalls"]["v"] == pytest.approx(40 / 45)
    assert found["recall"] == pytest.approx(np.mean(list(found["recalls"].values())))
    # Votes of a domain that shows the modes the other way round.
    swapped = mode_agreement.describe_tables(tables, tables[:, ::-1], names, classes)
    assert swapped["recalls"]["v"] == pytest.approx(5 / 45)
    nothing = mode_agreement.describe_tables(tables[3:], tables[3:], names[3:], classes)
    assert nothing["nmi"] is None and nothing["categories"] == {}


def test_clusters_find_separate_directions():
    rng = np.random.default_rng(5)
    hidden = rng.integers(0, 3, 600)
    scale = rng.uniform(1, 9, (600, 1))
    features = (scale * (np.eye(3, 8)[hidden] + rng.normal(0, 0.05, (600, 8)))).astype(np.float32)
    # The second category has fewer pixels than clusters.
    clusters = FeatureClusters({0: features[:300], 1: features[:1]}, 3, seed=0)
    found = clusters.assign(np.zeros(300, int), features[300:])
    assert metrics.normalized_mutual_info_score(hidden[300:], found) == pytest.approx(1)
    assert clusters.assign(np.array([2, 1]), features[:2]).tolist() == [0, 0]
