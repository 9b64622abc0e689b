"""Compares the target's batch statistics on several replicas with those on one."""

import pathlib
import tempfile

import numpy as np

from data_pipelines.domains.cityscapes import Cityscapes
from drsl_tf.self_training.target_statistics import TargetStatistics
from tests.support import replicas
from tests.support import streets
from tests.support import toys


def _update(strategy, domain):
    with strategy.scope():
        model = toys.make_model()
    before = model.get_weights()
    TargetStatistics().update(model, strategy, domain, domain.list_pairs("train"), batch_size=3)
    return before, model.get_weights()


def check(one, many):
    """Compares all weights; every replica saw all images, so nothing but rounding differs."""
    with tempfile.TemporaryDirectory() as folder:
        _, camera = streets.render_roots(pathlib.Path(folder), num_source=1)
        before, whole = _update(one, Cityscapes(root=camera))
        _, shared = _update(many, Cityscapes(root=camera))
    moved = [a for a, b in zip(whole, before) if not np.array_equal(a, b)]
    assert len(moved) == 26, len(moved)  # A mean and a variance of 13 layers.
    for a, b in zip(whole, shared):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    print(f"statistics: largest difference {replicas.find_largest_difference(whole, shared):.2e}")
