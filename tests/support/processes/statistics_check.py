"""Compares the target's batch statistics on several replicas with those on one."""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from data_pipelines.domains.cityscapes import Cityscapes
from drsl_tf.models.inference import Inference
from drsl_tf.self_training.target_statistics import TargetStatistics
from drsl_tf.self_training.target_statistics import list_statistics
from tests.support import replicas
from tests.support import streets
from tests.support import toys


def _update(strategy, domain, prior_images):
    with strategy.scope():
        model = toys.make_model()
    if prior_images:
        strategy.run(lambda: _set_apart(list_statistics(model)))
    before = model.get_weights()
    statistics = TargetStatistics(prior_images=prior_images)
    pairs = domain.list_pairs("train")
    statistics.update(model, strategy, domain, pairs, Inference(batch_size=3))
    return before, model.get_weights()


def _set_apart(variables):
    """Sets statistics that differ between the replicas, as after training, with a mean of 1."""
    context = tf.distribute.get_replica_context()
    place = tf.cast(context.replica_id_in_sync_group, tf.float32)
    value = (2.0 * place + 1.0) / context.num_replicas_in_sync
    for variable in variables:
        variable.assign(tf.fill(variable.shape, value))


def check(one, many):
    """Compares all weights; every replica saw all images, so nothing but rounding differs."""
    with tempfile.TemporaryDirectory() as folder:
        _, camera = streets.render_roots(pathlib.Path(folder), num_source=1)
        for prior_images in (0, 8):
            before, whole = _update(one, Cityscapes(root=camera), prior_images)
            _, shared = _update(many, Cityscapes(root=camera), prior_images)
            moved = [a for a, b in zip(whole, before) if not np.array_equal(a, b)]
            assert len(moved) == 4, len(moved)  # A mean and a variance of two layers.
            for a, b in zip(whole, shared):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            difference = replicas.find_largest_difference(whole, shared)
            print(f"statistics, prior {prior_images}: largest difference {difference:.2e}")
