"""The bootstrap over blocks and seeds against naive loops."""

import numpy as np
import pytest

from benchmarks.comparison import bootstrap


def _draw_methods(seed, seeds, images, classes, *qualities):
    """Draws counts of methods whose hits are about a share of the same labels' pixels."""
    generator = np.random.default_rng(seed)
    labelled = generator.integers(20, 60, (1, images, classes)).repeat(seeds, axis=0)
    methods = []
    for quality in qualities:
        hits = generator.binomial(labelled, quality)
        predicted = hits + generator.integers(0, 10, labelled.shape)
        methods.append(np.stack([hits, labelled, predicted], axis=-1))
    return methods


def _score(counts):
    hits, labelled, predicted = counts.sum(axis=0).T
    return 100 * np.mean(hits / (labelled + predicted - hits))


def test_means_and_intervals_equal_a_naive_bootstrap():
    better, worse = _draw_methods(0, 3, 22, 4, 0.8, 0.7)
    found = bootstrap.compare(better, worse, block=4, draws=4000)
    scores = [[_score(run) for run in method] for method in (better, worse)]
    assert found.mean == pytest.approx(np.mean(np.subtract(*scores)))
    # The last block has two images; seeds are drawn apart from the blocks.
    generator = np.random.default_rng(1)
    naive = []
    blocks = [range(first, min(first + 4, 22)) for first in range(0, 22, 4)]
    for _ in range(2000):
        images = [i for b in generator.integers(0, 6, 6) for i in blocks[b]]
        seeds = generator.integers(0, 3, 3)
        naive.append(np.mean([_score(better[s][images]) - _score(worse[s][images]) for s in seeds]))
    assert found.low == pytest.approx(np.quantile(naive, 0.025), abs=0.25)
    assert found.high == pytest.approx(np.quantile(naive, 0.975), abs=0.25)
    assert 0 < found.low < found.mean < found.high and found.p < 0.05
    other_way = bootstrap.compare(worse, better, block=4, draws=4000)
    assert other_way.mean == -found.mean and other_way.high == pytest.approx(-found.low)


def test_equal_methods_do_not_differ():
    (counts,) = _draw_methods(1, 2, 8, 3, 0.8)
    assert bootstrap.compare(counts, counts, block=1, draws=100) == (0.0, 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="paired"):
        bootstrap.compare(counts, counts[:, 1:], block=1)


def test_blocks_of_similar_images_widen_the_interval():
    """Ten copies of each image carry no more information than one."""
    pairs = _draw_methods(2, 1, 12, 3, 0.75, 0.73)
    copies = [counts.repeat(10, axis=1) for counts in pairs]

    def measure_width(counts, block):
        found = bootstrap.compare(*counts, block=block, draws=2000)
        return found.high - found.low

    assert measure_width(copies, 10) == pytest.approx(measure_width(pairs, 1))
    assert measure_width(copies, 1) < 0.5 * measure_width(pairs, 1)


def test_holm_multiplies_by_the_hypotheses_left_and_keeps_the_order():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1; the third is raised to the second's 0.06.
    assert bootstrap.adjust_by_holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx(
        [0.06, 0.04, 0.5, 0.06]
    )
    assert bootstrap.adjust_by_holm([0.6, 0.9]) == [1.0, 1.0]
    assert bootstrap.adjust_by_holm([]) == []


def test_the_rarest_class_is_in_the_fewest_images():
    counts = np.zeros((2, 5, 4, 3), np.int64)
    counts[:, :, 0, 1] = 1
    counts[:, :2, 1, 1] = 100
    counts[:, :3, 2, 1] = 1
    index, images = bootstrap.find_rarest(counts)
    assert index == 1 and images.tolist() == [5, 2, 3, 0]
