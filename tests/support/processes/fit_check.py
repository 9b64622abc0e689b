"""Compares the histories of `fit` on several replicas with those on one."""

import keras
import numpy as np
import tensorflow as tf

from drsl_tf.self_training.fit_callback import SelfTrainingCallback
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from tests.support import toys


def _fit(strategy, source, target):
    with strategy.scope():
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        model.compile(keras.optimizers.SGD(0.1))
    histories = [
        model.fit(data, epochs=2, validation_data=source, verbose=0).history
        for data in (source, target)
    ]
    rounds = SelfTrainingCallback(
        np.full((8, 32, 64, 3), 128.0),
        batch_size=8,
        pseudo_labeler=PseudoLabeler(portion=0.5, num_bins=1 << 16),
    )
    labelled = model.fit(source, epochs=2, callbacks=[rounds], verbose=0).history
    return histories, labelled


def check(one, many):
    """Compares pairs of images and labels, then batches of both domains, and tries the rounds."""
    batch = toys.make_batch(num_source=16, num_target=16)
    halves = tf.data.Dataset.from_tensor_slices(batch).batch(8, drop_remainder=True)
    pairs = halves.map(lambda batch: (batch["source"]["image"], batch["source"]["label"]))
    whole, _ = _fit(one, pairs, halves)
    shared, labelled = _fit(many, pairs, halves)
    for history, other in zip(whole, shared):
        assert history.keys() == other.keys()
        for name, values in history.items():
            np.testing.assert_allclose(other[name], values, rtol=1e-3, atol=1e-4, err_msg=name)
    assert len(labelled["loss"]) == 2 and labelled["ce_target"][1] > 0
    # The reduction that a strategy of GPUs has by default.
    plain = tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices("CPU")])
    with plain.scope():
        model = toys.make_model(batch_norm_training=False)
        model.compile(keras.optimizers.SGD(0.1))
    scores = model.evaluate(pairs, return_dict=True, verbose=0)
    assert scores["miou"] > 0
    print(f"fit: losses {whole[1]['loss']} and {shared[1]['loss']}")
