"""The triplet control against TensorFlow Addons called directly."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.losses import segmentation
from tests.support import toys

if importlib.util.find_spec("tensorflow_addons") is None:
    pytest.skip("TensorFlow Addons is on the older line alone", allow_module_level=True)

import tensorflow_addons as tfa

from benchmarks import triplet_model


def _make(**settings):
    model = toys.make_model(model_class=triplet_model.TripletModel, **settings)
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    return model


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_all_pixels_give_what_addons_give(mining):
    model = _make(mining=mining, pixels=100000)
    batch = toys.make_batch(2, 1)
    images = tf.concat([batch["source"]["image"], batch["target"]["image"]], axis=0)
    labels = tf.concat([batch["source"]["label"], batch["target"]["label"]], axis=0)
    outputs = model(images)
    sums, counts = model.objective.compute_sums(outputs, batch, None, tf.constant([0, 0]))
    terms = dict(zip(model.objective.names, zip(sums, counts)))
    assert set(terms) == {"ce_source", "ce_target", "dml_source", "dml_target"}
    loss = getattr(tfa.losses, f"triplet_{mining}_loss")
    small = segmentation.sample_labels(labels, tf.shape(outputs["embedding"])[1:3])
    for name, part in (("dml_source", slice(0, 2)), ("dml_target", slice(2, 3))):
        valid = small[part] != 255
        expected = loss(small[part][valid], outputs["embedding"][part][valid], margin=0.5)
        total, count = terms[name]
        assert count == np.count_nonzero(valid)
        np.testing.assert_allclose(total / count, expected, rtol=1e-4)


def test_a_target_without_labels_adds_nothing():
    model = _make()
    batch = toys.make_batch()
    batch["target"]["label"] = tf.fill(tf.shape(batch["target"]["label"]), 255)
    results = model.train_step(batch)
    assert results["dml_target"] == 0 and np.isfinite(results["loss"])
    assert results["dml_source"] > 0


def test_unknown_mining_is_refused():
    with pytest.raises(UserError, match="semihard"):
        _make(mining="easy")
