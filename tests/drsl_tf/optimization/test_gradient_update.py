"""What happens to gradients between the losses and the optimizer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.common import FEATURES
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.backbones import preprocessing
from drsl_tf.networks.heads.linear_head import LinearHead
from drsl_tf.networks.layers import sublayers
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.optimization.stage_schedule import StageSchedule
from drsl_tf.runs.checkpoint_store import CheckpointStore
from tests.support import toys


def _move(model, update, batch=None, optimizer=None, compiled=False):
    """Trains a step; returns how far each variable moved, in units of the rate of 1, and the logs.

    Compiling takes ten times as long as a step without it.
    """
    optimizer = optimizer or keras.optimizers.SGD(1.0)
    model.compile(optimizer=optimizer, gradient_update=update, jit_compile=False)
    before = [variable.numpy() for variable in model.trainable_variables]
    step = tf.function(model.train_step) if compiled else model.train_step
    logs = step(batch or toys.make_batch())
    moved = [old - variable.numpy() for old, variable in zip(before, model.trainable_variables)]
    return moved, {name: float(value) for name, value in logs.items()}


def _make_model(**settings):
    return toys.make_model(batch_norm_training=False, **settings)


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("num_target", [0, 4])
def test_parts_of_a_batch_give_the_step_of_the_whole(parts, num_target):
    settings = {"sma_weight": 0.0, "posterior_weight": 0.3, "kld_weight": 0.2}
    settings.update({"pool_cross_entropy": parts == 2, "source_weight": 0.25})
    batch = toys.make_uneven_batch(num_target)
    compiled = (parts, num_target) == (2, 4)
    whole, whole_logs = _move(_make_model(**settings), None, batch, compiled=compiled)
    update = GradientUpdate(micro_batches=parts)
    split, split_logs = _move(_make_model(**settings), update, batch, compiled=compiled)
    assert max(np.abs(a).max() for a in whole) > 1e-2
    for a, b in zip(whole, split):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name, value in whole_logs.items():
        assert split_logs[name] == pytest.approx(value, abs=1e-5), name


def test_mode_alignment_is_the_mean_over_the_parts():
    batch = toys.make_batch(num_source=2, num_target=2)
    twice = tf.nest.map_structure(lambda x: tf.concat([x, x], axis=0), batch)
    # Every pixel is drawn and modes are full of pairs, so two equal parts give two equal sums.
    settings = {"samples_per_mode": 1024, "dml_weight": 0.0}
    _, logs = _move(_make_model(**settings), None, batch)
    _, split = _move(_make_model(**settings), GradientUpdate(micro_batches=2), twice)
    assert split["sma"] == pytest.approx(logs["sma"], rel=1e-5)


@pytest.mark.parametrize("clip_norm", [0.01, 1e6])
def test_clipping_bounds_the_norm_over_all_variables(clip_norm):
    whole, _ = _move(_make_model(), None)
    clipped, _ = _move(_make_model(), GradientUpdate(clip_norm=clip_norm))
    norm = np.sqrt(sum((a**2).sum() for a in whole))
    assert norm > 0.1
    for a, b in zip(whole, clipped):
        np.testing.assert_allclose(a * min(1.0, clip_norm / norm), b, atol=1e-6)


def test_kernels_alone_decay():
    model = _make_model()
    batch = toys.make_batch()
    for half in batch.values():
        half["label"] = tf.fill(half["label"].shape, 255)
    before = [variable.numpy() for variable in model.trainable_variables]
    moved, _ = _move(model, GradientUpdate(weight_decay=0.25), batch)
    kernels = 0
    for variable, old, distance in zip(model.trainable_variables, before, moved):
        is_kernel = "kernel" in variable.name
        kernels += is_kernel
        np.testing.assert_allclose(distance, 0.25 * old if is_kernel else 0 * old, rtol=1e-5)
    assert 0 < kernels < len(before)


def test_decay_comes_after_clipping_and_before_the_momentum():
    update = GradientUpdate(weight_decay=0.5, clip_norm=1e-3)
    model = _make_model()
    old = model.segmentation_head.trainable_variables[0].numpy()
    raw, _ = _move(_make_model(), GradientUpdate(clip_norm=1e-3))
    moved, _ = _move(model, update, optimizer=keras.optimizers.SGD(1.0, momentum=0.9))
    index = [id(v) for v in model.trainable_variables].index(
        id(model.segmentation_head.trainable_variables[0])
    )
    np.testing.assert_allclose(moved[index], raw[index] + 0.5 * old, atol=1e-6)


def _list_optimizers():
    rules = {
        "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
        "adam": lambda rate: keras.optimizers.Adam(rate, epsilon=1.0),
        "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1, epsilon=1.0),
    }
    if not compat.KERAS_3:
        import tensorflow_addons as tfa

        rules["lamb"] = lambda rate: tfa.optimizers.LAMB(rate)
    return rules


@pytest.mark.parametrize("name", _list_optimizers())
@pytest.mark.parametrize("scheduled", [False, True])
def test_heads_move_at_a_multiple_of_the_rate(name, scheduled):
    """One step of any rule is proportional to the rate, so the heads go ten times as far."""
    rate = 0.1
    if scheduled:
        rate = StageSchedule(source_rate=0.1, source_steps=10, adaptation_rate=0.01)
    make = _list_optimizers()[name]
    plain, _ = _move(_make_model(), None, optimizer=make(rate))
    model = _make_model()
    update = GradientUpdate(head_rate_factor=10.0)
    scaled, _ = _move(model, update, optimizer=make(rate))
    heads = {id(v) for v in model.head_variables}
    assert 0 < len(heads) < len(plain)
    for variable, a, b in zip(model.trainable_variables, plain, scaled):
        factor = 10.0 if id(variable) in heads else 1.0
        np.testing.assert_allclose(factor * a, b, rtol=1e-2, atol=2e-6)
    assert int(update.head_optimizer.iterations) == int(model.optimizer.iterations) == 1


class _Encoder(keras.layers.Layer):
    """Three layers that tell their depths."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [
            keras.layers.Conv2D(4, 8, strides=8, name="patches"),
            keras.layers.Dense(4, name="block"),
            keras.layers.LayerNormalization(name="norm"),
        ]

    def build(self, input_shape):
        shape = tuple(input_shape)
        for part in self.parts:
            shape = sublayers.build_sublayer(part, shape)

    def call(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return inputs

    def compute_output_shape(self, input_shape):
        return (*(side and side // 8 for side in tuple(input_shape)[:3]), 4)

    def list_depths(self):
        parts = enumerate(self.parts[::-1])
        return [(v, depth) for depth, part in parts for v in part.trainable_variables]


def _make_layered_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    features = _Encoder(name="encoder")(preprocessing.normalise_signed(image))
    base = keras.Model(image, {FEATURES: features})
    return DrslModel(base, LinearHead(toys.NUM_CLASSES))


@pytest.mark.parametrize("scheduled", [False, True])
def test_layers_move_at_falling_rates(scheduled):
    rate = 0.1
    if scheduled:
        rate = StageSchedule(source_rate=0.1, source_steps=10, adaptation_rate=0.01)
    plain, _ = _move(_make_layered_model(), None, optimizer=keras.optimizers.SGD(rate, 0.9))
    model = _make_layered_model()
    update = GradientUpdate(layer_decay=0.5, head_rate_factor=10.0)
    scaled, _ = _move(model, update, optimizer=keras.optimizers.SGD(rate, 0.9))
    # Kernel and bias of the patches, of the block, of the head; the norm's scale and offset.
    factors = {"patches": 0.25, "block": 0.5, "norm": 1.0, "score": 10.0}
    parts = {part.name: part for part in model.base.get_layer("encoder").parts}
    parts["score"] = model.segmentation_head
    of_variable = {
        id(v): factors[name] for name, part in parts.items() for v in part.trainable_variables
    }
    assert len(of_variable) == len(model.trainable_variables) == 8
    for variable, a, b in zip(model.trainable_variables, plain, scaled):
        np.testing.assert_allclose(of_variable[id(variable)] * a, b, rtol=1e-3, atol=1e-6)
        assert np.abs(b).max() > 1e-5
    assert set(update.copies) == {"depth1_optimizer", "depth2_optimizer", "head_optimizer"}


def test_checkpoints_hold_the_optimizers_of_all_layers(tmp_path):
    model = _make_layered_model()
    update = GradientUpdate(layer_decay=0.5, head_rate_factor=10.0)
    model.compile(optimizer=keras.optimizers.Adam(), gradient_update=update, jit_compile=False)
    store = CheckpointStore(str(tmp_path), model, model.optimizer, {})
    slots = sum(len(found) for key, found in store.variables.items() if "optimizer" in key)
    assert slots >= 2 * len(model.trainable_variables) + 4


def test_a_base_without_depths_refuses_rates_by_layer():
    with pytest.raises(UserError, match="layer_decay is 0.9, but the base 'tiny_base'"):
        _move(_make_model(), GradientUpdate(layer_decay=0.9))


def test_the_rate_of_the_heads_follows_the_schedule():
    schedule = StageSchedule(source_rate=1.0, source_steps=4, adaptation_rate=0.1, power=1.0)
    model = _make_model(with_modes=False)
    update = GradientUpdate(head_rate_factor=10.0)
    model.compile(
        optimizer=keras.optimizers.SGD(schedule), gradient_update=update, jit_compile=False
    )
    for done in (0, 1, 3, 5):
        for optimizer in (model.optimizer, update.head_optimizer):
            optimizer.iterations.assign(done)
        rates = [
            float(tf.convert_to_tensor(optimizer.learning_rate))
            for optimizer in (model.optimizer, update.head_optimizer)
        ]
        assert rates[1] == pytest.approx(10 * rates[0]) and rates[0] > 0


def test_checkpoints_hold_both_optimizers(tmp_path):
    def make():
        model = _make_model()
        update = GradientUpdate(head_rate_factor=10.0, micro_batches=2)
        model.compile(
            optimizer=keras.optimizers.Adam(1e-2), gradient_update=update, jit_compile=False
        )
        return model, CheckpointStore(str(tmp_path), model, model.optimizer, {})

    model, store = make()
    model.train_step(toys.make_batch())
    store.save()
    model.train_step(toys.make_batch())
    twin, twin_store = make()
    assert twin_store.restore_latest()
    twin.train_step(toys.make_batch())
    for a, b in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_allclose(a, b, atol=1e-6)
    listed = twin_store.variables
    slots = sum(len(listed[key]) for key in ("optimizer", "head_optimizer"))
    # Two moments of every variable, and at least the step of either optimizer.
    assert slots >= 2 * len(model.trainable_variables) + 2


def test_half_precision_gives_the_same_step_and_skips_infinite_ones(monkeypatch):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        update = GradientUpdate(weight_decay=0.1, clip_norm=0.5, head_rate_factor=10.0)
        model = _make_model(sma_weight=0.0)
        moved, _ = _move(model, update, compiled=True)
        optimizers = [model.optimizer, update.head_optimizer]
        assert all(compat.has_loss_scale(optimizer) for optimizer in optimizers)
        listed = [len(compat.list_optimizer_variables(optimizer)) for optimizer in optimizers]
        # An infinite gradient of one head alone: nothing moves, both scales fall.
        broken = _make_model(sma_weight=0.0)
        broken.multimodal_head.mode_weights.assign(broken.multimodal_head.mode_weights * np.inf)
        weights = [v.numpy() for v in broken.trainable_variables]
        again = GradientUpdate(head_rate_factor=10.0)
        _move(broken, again, compiled=True)
        for old, variable in zip(weights, broken.trainable_variables):
            np.testing.assert_array_equal(old, variable.numpy())
        scales = [
            float(compat.scale_loss(optimizer, tf.constant(1.0)))
            for optimizer in (broken.optimizer, again.head_optimizer)
        ]
        assert scales == [2.0**14, 2.0**14]
        # The loss scale and its counter stand beside SGD's step and rate.
        assert min(listed) >= 3
    finally:
        keras.mixed_precision.set_global_policy("float32")
    expected, _ = _move(
        _make_model(sma_weight=0.0),
        GradientUpdate(weight_decay=0.1, clip_norm=0.5, head_rate_factor=10.0),
    )
    length = np.sqrt(sum((a**2).sum() for a in expected))
    error = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(expected, moved)))
    assert error < 0.03 * length


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": -1},
        {"clip_norm": 0},
        {"head_rate_factor": 0},
        {"layer_decay": 0},
        {"micro_batches": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        GradientUpdate(**settings)
