"""Modes from clusters of embeddings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.losses import segmentation
from drsl_tf.modes.start import ModeStart
from drsl_tf.optimization.gradient_update import GradientUpdate
from tests.support import toys

_ABSENT, _RARE = 3, 4


def _make_batches():
    """Two batches without one class, and with a few pixels of another."""
    batches = []
    for seed in range(2):
        half = toys.make_batch(num_source=6, seed=seed)["source"]
        label = half["label"].numpy()
        label[label >= _ABSENT] = 0
        label[0, :8, :8] = _RARE
        batches.append({"image": half["image"].numpy(), "label": label})
    return batches


def _train(model, **update):
    model.compile(keras.optimizers.Adam(0.01), gradient_update=GradientUpdate(**update))
    model.train_step(toys.make_batch())
    return model


def _start(model, seed=1, step=2, **settings):
    strategy = tf.distribute.get_strategy()
    ModeStart(**settings).update(model, strategy, _make_batches, seed=seed, step=step)


@pytest.fixture(scope="module")
def started():
    """A model of one step; with its modes and optimizer's state before and after the start."""
    model = _train(toys.make_model())
    before = model.multimodal_head.modes.numpy(), _list_mode_slots(model)
    _start(model)
    return model, before, (model.multimodal_head.modes.numpy(), _list_mode_slots(model))


def _list_mode_slots(model):
    optimizers = (model.optimizer, *model.optimizer_copies.values())
    shape = tuple(model.multimodal_head.modes.shape)
    variables = [v for each in optimizers for v in compat.list_optimizer_variables(each)]
    return [compat.as_tf_variable(v).numpy() for v in variables if tuple(v.shape) == shape]


def _list_pixels(model, batches):
    """The embeddings of each class, the images one at a time."""
    pixels = {}
    for batch in batches:
        for image, label in zip(batch["image"], batch["label"]):
            embedding = model(image[np.newaxis], training=False)[common.EMBEDDING]
            label = segmentation.sample_labels(label[np.newaxis], embedding.shape[1:3]).numpy()
            vectors = tf.reshape(embedding, (-1, embedding.shape[-1])).numpy()
            for vector, each in zip(vectors, label.reshape(-1)):
                pixels.setdefault(int(each), []).append(vector)
    return {each: np.array(vectors) for each, vectors in pixels.items()}


def test_modes_are_where_the_pixels_of_their_class_are(started):
    model, _, (modes, _) = started
    for each, vectors in _list_pixels(model, _make_batches()).items():
        if each not in (_ABSENT, _RARE, common.IGNORE_ID):
            cosines = vectors @ modes[each].T
            nearest = cosines.argmax(axis=1)
            # A fixed point of k-means, and every mode has pixels.
            for k in range(2):
                total = vectors[nearest == k].sum(axis=0)
                assert modes[each, k] @ total / np.linalg.norm(total) > 0.999


def test_a_class_with_few_pixels_keeps_its_modes_and_their_optimizer_state(started):
    _, (old_modes, old_slots), (modes, slots) = started
    assert len(old_slots) == 2
    np.testing.assert_allclose(modes[_ABSENT:], old_modes[_ABSENT:], atol=1e-6)
    assert np.abs(modes[:_ABSENT] - old_modes[:_ABSENT]).max(axis=(1, 2)).min() > 1e-3
    for old, new in zip(old_slots, slots):
        assert np.abs(old).max() > 0
        np.testing.assert_array_equal(new[:_ABSENT], 0)
        np.testing.assert_array_equal(new[_ABSENT:], old[_ABSENT:])


def test_the_slots_of_a_head_optimizer_are_reset():
    model = _train(toys.make_model(), head_rate_factor=10.0)
    _start(model)
    slots = _list_mode_slots(model)
    assert len(slots) == 2 and not any(slot[:_ABSENT].any() for slot in slots)


def test_seed_and_step_decide_the_modes(started):
    model, _, _ = started

    def find_modes(**options):
        _start(model, pixels_per_class=30, **options)
        return model.multimodal_head.modes.numpy()

    modes = find_modes()
    np.testing.assert_array_equal(find_modes(), modes)
    assert np.abs(find_modes(seed=2) - modes).max() > 1e-6
    assert np.abs(find_modes(step=3) - modes).max() > 1e-6


def test_other_variables_do_not_change():
    model = _train(toys.make_model())
    modes = id(compat.as_tf_variable(model.multimodal_head.mode_weights))
    others = [v for v in map(compat.as_tf_variable, model.variables) if id(v) != modes]
    before = [variable.numpy() for variable in others]
    _start(model)
    for variable, array in zip(others, before):
        np.testing.assert_array_equal(variable, array)


def test_invalid_embeddings_change_no_mode():
    model = _train(toys.make_model())
    modes = model.multimodal_head.modes.numpy()
    for variable in model.multimodal_head.trainable_variables:
        if tuple(variable.shape) == (8,):  # The bias of the embedding.
            variable.assign(tf.fill(variable.shape, float("nan")))
    _start(model)
    np.testing.assert_array_equal(model.multimodal_head.modes, modes)


@pytest.mark.parametrize("feature_share", [0.0, 0.5])
def test_usage_and_variance_are_those_of_the_clusters(feature_share):
    settings = {"usage_decay": 0.9, "feature_share": feature_share}
    model = _train(toys.make_model(head_settings=settings))
    usage = model.multimodal_head.usage.numpy()
    _start(model)
    head = model.multimodal_head
    if feature_share:
        projection = np.array(head.projection)
        identity = np.eye(projection.shape[1])
        np.testing.assert_allclose(projection.T @ projection, identity, atol=1e-5)
    for each, vectors in _list_pixels(model, _make_batches()).items():
        if each not in (_ABSENT, _RARE, common.IGNORE_ID):
            cosines = vectors @ head.modes.numpy()[each].T
            members = cosines.argmax(axis=1)[:, np.newaxis] == np.arange(2)
            np.testing.assert_allclose(head.usage[each], members.mean(axis=0), atol=1e-6)
            squares = np.where(members, 2 - 2 * cosines, 0).sum(axis=0) / members.sum(axis=0)
            np.testing.assert_allclose(head.variance[each], squares, atol=1e-4)
    np.testing.assert_array_equal(head.usage[_ABSENT:], usage[_ABSENT:])


def test_starts_are_at_shares_of_the_steps():
    assert ModeStart().list_steps(900) == [300, 600]
    assert ModeStart(at=(0.5, 1)).list_steps(3) == [2, 3]
    assert ModeStart(at=(0.01,)).list_steps(5) == [1]


def test_a_class_needs_enough_pixels_for_its_modes():
    start = ModeStart(pixels_per_class=59)
    start.check(5)
    with pytest.raises(UserError, match="pixels_per_class is 59; with 6 .* at least 60"):
        start.check(6)


@pytest.mark.parametrize(
    "settings",
    [
        {"at": ()},
        {"at": 0.5},
        {"at": (0,)},
        {"at": (1.5,)},
        {"images": 0},
        {"pixels_per_class": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=f"ModeStart.{next(iter(settings))} is"):
        ModeStart(**settings)
