"""The multi-modal head: unit vectors, seeded modes, round trip and precision."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.heads.multimodal_head import MultimodalHead


def _features(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def test_embedding_is_a_unit_vector_of_each_pixel():
    head = MultimodalHead(5, embedding_dim=16, hidden_units=(8, 12))
    embedding = head({FEATURES: _features(2, 5, 7, 6), "level2": _features(2, 10, 14, 3)})
    assert embedding.shape == (2, 5, 7, 16) and embedding.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)
    assert head.compute_output_shape({FEATURES: (2, 5, 7, 6)}) == (2, 5, 7, 16)


@pytest.mark.parametrize("hidden_units", [(), (8,), (8, 12)])
def test_embedding_equals_a_naive_mlp_of_each_pixel(hidden_units):
    head = MultimodalHead(3, embedding_dim=4, hidden_units=hidden_units)
    features = _features(1, 2, 3, 6)
    embedding = head(features).numpy()
    weights = {id(head.mode_weights)}
    kernels = [w.numpy() for w in head.weights if id(w) not in weights and len(w.shape) == 4]
    biases = [w.numpy() for w in head.weights if id(w) not in weights and len(w.shape) == 1]
    for row in range(2):
        for column in range(3):
            x = features.numpy()[0, row, column]
            for index, (kernel, bias) in enumerate(zip(kernels, biases)):
                x = x @ kernel[0, 0] + bias
                if index < len(hidden_units):
                    x = np.maximum(x, 0)
            np.testing.assert_allclose(embedding[0, row, column], x / np.linalg.norm(x), atol=1e-5)


def test_a_pixel_of_zeros_has_a_direction_and_a_bounded_gradient():
    head = MultimodalHead(5)
    features = tf.zeros((1, 1, 1, 6))
    with tf.GradientTape() as tape:
        embedding = head(features)
        loss = tf.reduce_sum(embedding[..., 0])
    np.testing.assert_allclose(np.linalg.norm(embedding), 1, atol=1e-5)
    for gradient in tape.gradient(loss, head.trainable_variables):
        assert gradient is None or np.abs(gradient).max() < 100


def test_features_join_the_embedding_and_get_no_gradient_by_it():
    maps = {FEATURES: _features(2, 3, 4, 6), "level5": _features(2, 2, 2, 200, seed=1)}
    shapes = {name: value.shape for name, value in maps.items()}
    head, plain = (MultimodalHead(5, 2, 16, (8,), feature_share=share) for share in (0.36, 0.0))
    plain.build(shapes)
    assert head.compute_output_shape(shapes) == (2, 3, 4, 144)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        joined = head({**maps, "level2": _features(2, 6, 8, 3)})
        by_features, by_layers = (
            tf.reduce_sum(part[..., 0]) for part in (joined[..., 16:], joined)
        )
    assert joined.shape == (2, 3, 4, 144) and head.modes.shape == (5, 2, 144)
    layers = [v for v in head.weights if v is not head.projection and v is not head.mode_weights]
    for old, new in zip([v for v in plain.weights if v is not plain.mode_weights], layers):
        old.assign(new)
    np.testing.assert_allclose(joined[..., :16], 0.8 * plain(maps), atol=1e-6)
    features, deepest = (
        value / np.linalg.norm(value, axis=-1, keepdims=True) for value in maps.values()
    )
    deepest = tf.image.resize(deepest, (3, 4), method="bilinear")
    whole = np.concatenate([features, deepest], axis=-1)
    np.testing.assert_allclose(head.join_features(maps), whole, atol=1e-6)
    projected = whole @ np.array(head.projection)
    projected /= np.linalg.norm(projected, axis=-1, keepdims=True)
    np.testing.assert_allclose(joined[..., 16:], 0.6 * projected, atol=1e-5)
    for gradient in tape.gradient(by_features, list(maps.values())):
        assert gradient is None or np.abs(gradient).max() < 1e-6
    assert np.abs(tape.gradient(by_layers, maps[FEATURES])).max() > 0.01
    assert all(v is not head.projection for v in head.trainable_variables)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_feature_share_out_of_range_is_refused(share):
    with pytest.raises(UserError, match="MultimodalHead.feature_share is"):
        MultimodalHead(5, feature_share=share)


def test_features_alone_join_the_embedding_of_a_base_without_levels():
    head = MultimodalHead(5, 2, 16, feature_share=0.5)
    features = _features(1, 3, 4, 6)
    assert head(features).shape == (1, 3, 4, 22)  # No more dimensions than channels.
    np.testing.assert_array_equal(head({FEATURES: features}), head(features))
    # A pixel without any features has the part of the convolutions alone.
    zero = head(tf.zeros((1, 1, 1, 6)))
    np.testing.assert_allclose(np.linalg.norm(zero, axis=-1), 1, atol=1e-6)
    np.testing.assert_array_equal(zero[..., 16:], 0)


def test_the_map_alone_gives_the_same_embedding():
    head = MultimodalHead(5, embedding_dim=16)
    features = _features(1, 3, 4, 6)
    np.testing.assert_array_equal(head({FEATURES: features}), head(features))


def test_modes_are_unit_vectors_with_a_gradient():
    head = MultimodalHead(5, modes_per_class=4, embedding_dim=16)
    head.build({FEATURES: (None, None, None, 6)})
    with tf.GradientTape() as tape:
        modes = head.modes
        loss = tf.reduce_sum(modes[..., 0])
    assert modes.shape == (5, 4, 16) and modes.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(modes, axis=-1), 1, atol=1e-6)
    (gradient,) = tape.gradient(loss, [v for v in head.trainable_variables if len(v.shape) == 3])
    assert np.abs(gradient).max() > 0


def test_initial_modes_are_class_centres_plus_shared_offsets():
    head = MultimodalHead(200, modes_per_class=40, embedding_dim=64, seed=3)
    head.build({FEATURES: (None, None, None, 6)})
    weights = head.mode_weights.numpy()
    # R[c, k] = u_c + v_k: the difference of two modes is the same for every class.
    offsets = weights - weights[:, :1]
    np.testing.assert_allclose(offsets, np.broadcast_to(offsets[:1], offsets.shape), atol=1e-6)
    assert abs((weights - weights.mean(0)).std() - 0.1) < 0.002
    assert abs((weights - weights.mean(1, keepdims=True)).std() - 0.05) < 0.002


def test_the_seed_alone_decides_modes_and_projection():
    def draw(seed):
        head = MultimodalHead(5, seed=seed, feature_share=0.5)
        head.build({FEATURES: (None, None, None, 6)})
        return head.modes.numpy(), np.array(head.projection)

    for first, same, other in zip(draw(1), draw(1), draw(2)):
        np.testing.assert_array_equal(first, same)
        assert np.abs(first - other).max() > 0.01


def test_config_round_trip():
    head = MultimodalHead(5, 2, 8, (4, 6), seed=7, feature_share=0.5, name="modes_of_five")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert copy.get_config() == head.get_config()
    features = {FEATURES: _features(1, 3, 4, 6)}
    head(features), copy(features)
    np.testing.assert_array_equal(copy.modes, head.modes)
    copy.set_weights(head.get_weights())
    np.testing.assert_array_equal(copy(features), head(features))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_embedding_and_modes_stay_float32_in_mixed_precision(precision, policy):
    precision(policy)
    head = MultimodalHead(5, embedding_dim=16, feature_share=0.5)
    features = tf.cast(_features(1, 3, 4, 6), policy[len("mixed_") :])
    embedding = head({FEATURES: features})
    assert embedding.dtype == tf.float32 and head.modes.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)
    assert all(tf.as_dtype(weight.dtype) == tf.float32 for weight in head.weights)
