"""Usage, restarts and moving averages of modes in training steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.losses import metric_learning
from drsl_tf.losses import segmentation
from drsl_tf.networks.heads.multimodal_head import MultimodalHead
from drsl_tf.optimization.gradient_update import GradientUpdate
from tests.support import naive
from tests.support import toys

_TRACKED = {"usage_decay": 0.9, "restart_share": 0.0}
_MOVING = {**_TRACKED, "mode_decay": 0.8}
_JOINED = {**_MOVING, "feature_share": 0.5}


def _make_model(head_settings, rate=0.0, micro_batches=1, **settings):
    model = toys.make_model(batch_norm_training=False, head_settings=head_settings, **settings)
    model.compile(
        keras.optimizers.SGD(rate), gradient_update=GradientUpdate(micro_batches=micro_batches)
    )
    # Skewed, so that usage and distance disagree for some pixels.
    usage = np.tile(np.float32([[0.9, 0.1]]), (toys.NUM_CLASSES, 1))
    model.multimodal_head.usage.assign(usage)
    return model


def _read_state(model):
    head = model.multimodal_head
    return [tf.convert_to_tensor(v).numpy() for v in (head.usage, head.variance, head.modes)]


def _list_pixels(model, batch):
    """Embeddings and labels of both domains."""
    images = tf.concat([half["image"] for half in batch.values()], axis=0)
    labels = tf.concat([half["label"] for half in batch.values()], axis=0)
    embedding = model(images)[common.EMBEDDING]
    labels = segmentation.sample_labels(labels, embedding.shape[1:3])
    return tf.reshape(embedding, (-1, embedding.shape[-1])).numpy(), labels.numpy().reshape(-1)


def test_usage_and_variance_follow_the_nearest_modes_of_both_domains():
    model, batch = _make_model(_TRACKED), toys.make_uneven_batch()
    embedding, labels = _list_pixels(model, batch)
    usage, variance, modes = _read_state(model)
    groups = naive.group_by_mode(embedding, labels, modes)
    model.train_step(batch)
    for c, k in np.ndindex(usage.shape):
        rows = groups.get((c, k), [])
        share = len(rows) / np.count_nonzero(labels == c)
        usage[c, k] = 0.9 * usage[c, k] + 0.1 * share
        if rows:
            distances = np.sum((embedding[rows] - modes[c, k]) ** 2, axis=1)
            variance[c, k] = 0.1 * distances.mean()
    for new, expected in zip(_read_state(model), (usage, variance, modes)):
        np.testing.assert_allclose(new, expected, atol=1e-5)


@pytest.mark.parametrize(
    "head_settings, sibling_weight", [(_MOVING, 0.0), (_MOVING, 0.5), (_JOINED, 0.0)]
)
def test_modes_follow_the_pixels_that_they_win(head_settings, sibling_weight):
    model = _make_model(head_settings, sibling_weight=sibling_weight, sibling_temperature=0.5)
    batch = toys.make_uneven_batch()
    embedding, labels = _list_pixels(model, batch)
    usage, _, modes = _read_state(model)
    cosines = np.einsum("nd,ckd->nck", embedding, modes)
    nearest = naive.competing_modes(cosines, labels, np.ones_like(usage), 0.5)
    chosen = naive.competing_modes(cosines, labels, usage, 0.5) if sibling_weight else nearest
    assert (chosen != nearest) == bool(sibling_weight)
    expected = modes.copy()
    for c, k in np.ndindex(usage.shape):
        rows = (labels == c) & (np.array(chosen) == k)
        if rows.any():
            expected[c, k] = 0.8 * modes[c, k] + 0.2 * embedding[rows].mean(axis=0)
            expected[c, k] /= np.linalg.norm(expected[c, k])
    model.train_step(batch)
    np.testing.assert_allclose(_read_state(model)[2], expected, atol=1e-5)


def test_modes_that_follow_their_pixels_are_not_trained():
    for settings, is_trained in ((_TRACKED, True), (_MOVING, False)):
        model = _make_model(settings)
        trained = [id(compat.as_tf_variable(v)) for v in model.trainable_variables]
        modes = compat.as_tf_variable(model.multimodal_head.mode_weights)
        assert (id(modes) in trained) == is_trained


def test_micro_batches_change_nothing():
    states = []
    for parts in (1, 2):
        model = _make_model(
            _JOINED, rate=0.1, micro_batches=parts, sibling_weight=0.5, sma_weight=0
        )
        logs = model.train_step(toys.make_uneven_batch())
        states.append([*_read_state(model), *(float(logs[name]) for name in sorted(logs))])
    for whole, parts in zip(*states):
        np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)


def test_a_batch_without_labels_changes_no_mode():
    model, batch = _make_model(_MOVING, sibling_weight=0.5), toys.make_batch()
    for half in batch.values():
        half["label"] = tf.fill(half["label"].shape, 255)
    before = _read_state(model)
    logs = model.train_step(batch)
    assert float(logs["siblings_source"]) == 0
    for new, old in zip(_read_state(model), before):
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_an_unused_mode_restarts_beside_the_used_one():
    # A share of 0.9 of an equal usage: the second mode restarts whatever the batch holds.
    settings = {"usage_decay": 0.9, "restart_share": 0.9}
    model, batch = _make_model(settings, rate=0.01), toys.make_batch()
    head, num_classes = model.multimodal_head, toys.NUM_CLASSES
    embedding, _ = _list_pixels(model, batch)
    centre = embedding.mean(axis=0)
    head.mode_weights.assign(np.tile(np.stack([centre, -centre]), (num_classes, 1, 1)))
    head.usage.assign(np.tile(np.float32([[1.0, 0.0]]), (num_classes, 1)))
    model.train_step(batch)
    usage, variance, modes = _read_state(model)
    assert np.all(np.einsum("cd,cd->c", modes[:, 0], modes[:, 1]) > 0.98)
    np.testing.assert_array_equal(usage[:, 0], usage[:, 1])
    assert 0.45 <= usage.min() and usage.max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(variance[:, 0], variance[:, 1])
    assert len({tuple(each) for each in modes[:, 1] - modes[:, 0]}) == num_classes
    # Both of them have pixels now.
    model.train_step(batch)
    assert np.all(_read_state(model)[0] > 0.9 * usage + 1e-3)


def test_the_competition_of_siblings_rises_with_the_optimizers_steps():
    model = _make_model(_MOVING, sibling_weight=0.5, sibling_steps=4)
    batch = toys.make_batch()
    half = {"source": batch["source"]}
    for step in (0, 1, 4, 9):
        model.optimizer.iterations.assign(step)
        embedding, labels = _list_pixels(model, half)
        usage, _, modes = _read_state(model)
        cosines = np.einsum("nd,ckd->nck", embedding, modes)
        totals, counts, _ = naive.mode_sibling_loss(cosines, labels, usage, 0.1, min(step / 4, 1.0))
        logs = model.train_step(batch)
        assert float(logs["siblings_source"]) == pytest.approx(np.mean(totals / counts), rel=1e-3)


def test_the_sum_has_the_siblings_at_their_weight():
    logs = _make_model(_MOVING, sibling_weight=0.5, sma_weight=0.0).train_step(toys.make_batch())
    weights = {"ce_": 1.0, "dml_": 1.0, "siblings_": 0.5}
    terms = [
        (w, logs[name + domain]) for name, w in weights.items() for domain in ("source", "target")
    ]
    assert float(logs["loss"]) == pytest.approx(float(sum(w * term for w, term in terms)), rel=1e-5)


def test_siblings_need_modes_that_follow_their_pixels():
    for settings in (None, _TRACKED):
        with pytest.raises(UserError, match="DrslModel.sibling_weight is 0.5.*mode_decay"):
            toys.make_model(head_settings=settings, sibling_weight=0.5)
    # Without modes there is no such term, as for the other losses on the embedding.
    model = toys.make_model(with_modes=False, sibling_weight=0.5)
    assert "siblings_source" not in model.objective.names
    with pytest.raises(UserError, match="sibling_steps is 9, which has no effect"):
        toys.make_model(sibling_steps=9)


@pytest.mark.parametrize(
    "settings",
    [{"usage_decay": 1.0}, {"restart_share": -0.1}, {"restart_share": 0.1}, {"mode_decay": 0.9}],
)
def test_head_settings_of_no_use_are_refused(settings):
    with pytest.raises(UserError, match=f"MultimodalHead.{next(iter(settings))} is"):
        MultimodalHead(5, **settings)


def test_a_saved_model_keeps_usage_and_modes(tmp_path):
    model = _make_model(_JOINED, sibling_weight=0.5, sibling_steps=7)
    batch = toys.make_batch()
    model.train_step(batch)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
    for new, old in zip(_read_state(loaded), _read_state(model)):
        np.testing.assert_array_equal(new, old)
    assert loaded.get_config()["sibling_steps"] == 7
    logs, expected = loaded.train_step(batch), model.train_step(batch)
    assert float(logs["siblings_target"]) == pytest.approx(
        float(expected["siblings_target"]), rel=1e-5
    )
    model.export(str(tmp_path / "exported"))
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    served = exported.serve(batch["source"]["image"])
    np.testing.assert_allclose(
        served["logits"], model(batch["source"]["image"])["logits"], atol=1e-4
    )


def test_a_head_that_keeps_no_track_has_no_further_weights():
    plain, tracked = (toys.make_model(head_settings=each) for each in (None, _TRACKED))
    assert len(tracked.weights) == len(plain.weights) + 2
    assert len(plain.multimodal_head.non_trainable_weights) == 0


def test_distances_of_the_competition_are_those_of_the_margin_loss():
    """Of one pixel whose class has two equal modes, half of the probability is the sibling's."""
    distances = metric_learning.squared_distances([[1.0, 0.0]], [[[1.0, 0.0], [1.0, 0.0]]])
    loss, _ = metric_learning.mode_sibling_loss(distances, [0], tf.constant([[0.5, 0.5]]))
    assert float(loss) == pytest.approx(np.log(2), rel=1e-5)
