"""Scores without labels, against loops over images in NumPy."""

import types

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf.models.inference import Inference
from drsl_tf.runs import selection
from drsl_tf.self_training import label_free
from drsl_tf.self_training import student_view
from drsl_tf.self_training.label_free import LabelFreeScorer

_NAMES = ("road", "car", "sky", "never")
_SIZE = (14, 30)
_WEIGHTS = np.random.default_rng(1).normal(0, 0.02, (3, 4)).astype(np.float32)


class _ColourModel:
    """Classifies pixels by their colour and by their distance from the left."""

    num_classes, size_multiple, logits_stride = 4, 1, 1

    def __init__(self, slope=1.5, sharpness=1.0):
        self._slope, self._sharpness = slope, sharpness

    def __call__(self, images, training):
        assert not training
        logits = tf.einsum("bhwc,ck->bhwk", images - 128.0, _WEIGHTS)
        ramp = tf.linspace(0.0, self._slope, tf.shape(images)[2])[:, tf.newaxis]
        logits += ramp * [1.0, -1.0, 0.0, 0.0] + [0.0, 2.0, 0.0, -20.0]
        return {common.LOGITS: self._sharpness * logits}


@pytest.fixture(name="domain", scope="module")
def _domain():
    rng = np.random.default_rng(0)
    images = {
        str(index): rng.integers(0, 256, (7, 15, 3), np.uint8).repeat(2, 0).repeat(2, 1)
        for index in range(5)
    }
    return types.SimpleNamespace(
        read_image=images.__getitem__,
        label_space=types.SimpleNamespace(class_names=_NAMES),
        pairs=[Pair(name, name, None) for name in images],
        images=np.stack(list(images.values())).astype(np.float32),
    )


@pytest.fixture(name="scores", scope="module")
def _scores(domain):
    return _score(domain)


def _score(domain, model=None, pairs=None, batch_size=2, **settings):
    scorer = LabelFreeScorer(
        model or _ColourModel(),
        tf.distribute.get_strategy(),
        Inference(batch_size=batch_size),
        **settings,
    )
    return scorer.score(domain, pairs or domain.pairs)


def _predict(images):
    logits = _ColourModel()(tf.constant(images), training=False)[common.LOGITS].numpy()
    powers = np.exp(logits.astype(np.float64))
    return logits, powers / powers.sum(axis=-1, keepdims=True)


def _compute_iou(first, second, index):
    union = np.sum((first == index) | (second == index))
    return np.sum((first == index) & (second == index)) / union if union else None


def test_agreement_is_the_iou_of_each_class_on_the_image_and_on_its_views(domain, scores):
    whole = _predict(domain.images)[0].argmax(axis=-1)
    mirrored = _predict(domain.images[:, :, ::-1])[0][:, :, ::-1]
    small = _predict(tf.image.resize(domain.images, (10, 22), antialias=True))[0]
    draws = tf.random.stateless_uniform((5, 7), (0, 0), alg="philox")
    changed = student_view.augment_strongly(
        domain.images, draws, jitter=0.2, jitter_chance=1.0, blur_chance=1.0
    )
    views = [mirrored, tf.image.resize(small, _SIZE).numpy(), _predict(changed)[0]]
    assert tuple(scores.agreement) == label_free.VIEWS
    for view, logits in zip(label_free.VIEWS, views):
        expected = [_compute_iou(whole, logits.argmax(axis=-1), index) for index in range(4)]
        assert list(scores.agreement[view].values()) == pytest.approx(expected)
        assert expected[3] is None and 0.2 < min(expected[:3]) < 0.95
    assert scores.pixels == {name: np.sum(whole == index) for index, name in enumerate(_NAMES)}


def test_entropies_are_those_of_pixels_of_classes_and_of_the_mean(domain, scores):
    logits, probability = _predict(domain.images)
    entropy = -np.sum(probability * np.log(probability), axis=-1)
    assert scores.entropy == pytest.approx(entropy.mean(), rel=1e-5)
    mean = probability.mean(axis=(0, 1, 2))
    assert scores.marginal_entropy == pytest.approx(-np.sum(mean * np.log(mean)), rel=1e-5)
    for index, name in enumerate(_NAMES[:3]):
        of_class = entropy[logits.argmax(axis=-1) == index]
        assert scores.entropies[name] == pytest.approx(of_class.mean(), rel=1e-5)
    assert scores.entropies["never"] is None


def test_density_is_the_entropy_of_similarities_to_the_other_pixels(domain, scores):
    rows, columns = ((2 * np.arange(n) + 1) * s // (2 * n) for n, s in zip((12, 24), _SIZE))
    total = 0.0
    for probability in _predict(domain.images)[1]:
        vectors = probability[rows][:, columns].reshape(-1, 4)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        for index, vector in enumerate(vectors):
            powers = np.exp(np.delete(vectors, index, axis=0) @ vector / 0.05)
            share = powers / powers.sum()
            total -= np.sum(share * np.log(share)) / len(vectors)
    assert scores.density == pytest.approx(total / 5, rel=1e-4)


def test_predictions_that_are_not_finite_have_the_lowest_score(domain, scores):
    found = _score(domain, _ColourModel(sharpness=np.nan), domain.pairs[:1])
    assert found.entropy == pytest.approx(np.log(4), rel=1e-5)
    assert np.isfinite(found.density) and found.pixels["road"] == sum(found.pixels.values())
    assert selection.compute_score(found) == pytest.approx(0, abs=1e-5)
    assert selection.compute_score(scores) > 0.1


def test_some_images_are_chosen_evenly_and_resized(domain):
    seen = {}
    scorer = LabelFreeScorer(
        _ColourModel(), tf.distribute.get_strategy(), Inference(size=(8, 16)), images=2
    )
    found = scorer.score(
        domain, domain.pairs, on_prediction=lambda pair, ids: seen.update({pair.name: ids})
    )
    assert found.images == 2 and sum(found.pixels.values()) == 2 * 8 * 16
    assert list(seen) == ["0", "2"]
    assert {(each.shape, each.dtype.name) for each in seen.values()} == {((8, 16), "uint8")}


def test_a_sharper_model_in_other_batches_differs_in_entropy_alone(domain, scores):
    sharp = _score(domain, _ColourModel(sharpness=4.0), batch_size=5)
    assert sharp.pixels == scores.pixels and sharp.agreement == scores.agreement
    assert sharp.entropy < 0.7 * scores.entropy and sharp.density != scores.density
