"""Backbones of KerasHub, tiny and with random weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import drsl_tf
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from drsl_tf import common
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel
from drsl_tf.networks import backbones
from drsl_tf.networks.backbones.preprocessing import find_neutral_colour
from drsl_tf.networks.heads.daformer_head import DAFormerHead
from drsl_tf.networks.heads.linear_head import LinearHead
from drsl_tf.networks.heads.multimodal_head import MultimodalHead
from drsl_tf.networks.heads.segformer_head import SegFormerHead
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.self_training.online_model import OnlineDrslModel
from drsl_tf.serving import model_description
from drsl_tf.serving import saved_models
from tests.support import toys

keras_hub = pytest.importorskip(
    "keras_hub", reason="KerasHub needs the newer dependency line and the extra vfm"
)

_CLASSES = toys.NUM_CLASSES
_RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 16, 16, 16],
    "stackwise_num_blocks": [1, 1, 1, 1],
    "stackwise_num_strides": [1, 2, 2, 2],
    "block_type": "basic_block",
}
_EFFICIENTNET = {
    "stackwise_width_coefficients": [1.0] * 5,
    "stackwise_depth_coefficients": [1.0] * 5,
    "stackwise_kernel_sizes": [3] * 5,
    "stackwise_num_repeats": [1] * 5,
    "stackwise_input_filters": [32, 16, 16, 16, 16],
    "stackwise_output_filters": [16] * 5,
    "stackwise_expansion_ratios": [1, 2, 2, 2, 2],
    "stackwise_squeeze_and_excite_ratios": [0.25] * 5,
    "stackwise_strides": [1, 2, 2, 2, 2],
    "stackwise_block_types": ["v1"] * 5,
    "dropout": 0.0,
}
_CSPNET = {
    "stem_filters": 8,
    "stem_kernel_size": 3,
    "stem_strides": 2,
    "stackwise_depth": [1, 1, 1, 1],
    "stackwise_strides": [2, 2, 2, 2],
    "stackwise_num_filters": [8, 8, 16, 16],
    "block_type": "dark_block",
    "stage_type": "dark",
    "image_shape": (None, None, 3),
}
_DENSENET = {
    "stackwise_num_repeats": [1, 1, 1, 1],
    "growth_rate": 8,
    "image_shape": (None, None, 3),
}
_DINOV3 = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64}


def _build_pyramid(name, **arguments):
    given = {
        "ResNetBackbone": _RESNET,
        "EfficientNetBackbone": _EFFICIENTNET,
        "CSPNetBackbone": _CSPNET,
        "DenseNetBackbone": _DENSENET,
    }[name]
    return backbones.keras_hub_pyramid(
        backbone=name, **{"arguments": given, "feature_dim": 8, **arguments}
    )


def _build_dinov3(**arguments):
    return backbones.dinov3(**{"arguments": _DINOV3, "feature_dim": 8, **arguments})


_BASES = {
    "resnet": lambda: _build_pyramid("ResNetBackbone"),
    "efficientnet": lambda: _build_pyramid("EfficientNetBackbone"),
    "cspnet": lambda: _build_pyramid("CSPNetBackbone"),
    "densenet": lambda: _build_pyramid("DenseNetBackbone"),
    "dinov3": _build_dinov3,
}
every_base = pytest.mark.parametrize("name", list(_BASES))
# One of either adapter.
both_kinds = pytest.mark.parametrize("name", ["resnet", "dinov3"])


def _draw_images(*size, batch=1):
    return np.random.default_rng(0).uniform(0, 255, (batch, *size, 3)).astype("float32")


def _build_model(name, head=SegFormerHead, *, with_modes=True, model_class=DrslModel, **settings):
    keras.utils.set_random_seed(0)
    narrow = {} if head is LinearHead else {"filters": 8}
    modes = MultimodalHead(_CLASSES, 2, embedding_dim=8, hidden_units=(16,))
    return model_class(
        _BASES[name](), head(_CLASSES, **narrow), modes if with_modes else None, **settings
    )


@every_base
def test_levels_have_ceiled_sizes(name):
    base = _BASES[name]()
    for size in ((64, 128), (65, 99), (31, 50)):
        outputs = base(_draw_images(*size))
        assert set(outputs) == {"features", "level2", "level3", "level4", "level5"}
        for key, value in outputs.items():
            stride = 8 if key == common.FEATURES else 2 ** int(key[len("level") :])
            assert tuple(value.shape[1:3]) == tuple(-(-side // stride) for side in size), key
            assert np.isfinite(value.numpy()).all()


@both_kinds
def test_a_graph_of_unknown_sizes_computes_the_same(name):
    base = _BASES[name]()
    run = tf.function(base, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in ((64, 128), (33, 50)):
        expected = base(_draw_images(*size, batch=2))
        for key, value in run(_draw_images(*size, batch=2)).items():
            np.testing.assert_allclose(value, expected[key], atol=2e-5, err_msg=key)


def test_a_pyramid_is_that_of_keras_hub():
    base = _build_pyramid("ResNetBackbone")
    network = keras_hub.models.ResNetBackbone(**_RESNET)
    network.set_weights(base.get_layer(f"{base.name}_trunk").get_weights())
    image = _draw_images(64, 96)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = keras.Model(network.input, network.pyramid_outputs)((image / 255 - mean) / std)
    for level in range(2, 6):
        np.testing.assert_allclose(
            base(image)[f"level{level}"], expected[f"P{level}"], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_tokens_are_those_of_keras_hub_at_its_fixed_size(size):
    base = _build_dinov3(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    encoder = base.get_layer("encoder")
    network = keras_hub.models.DINOV3Backbone(**encoder.arguments, image_shape=(*size, 3))
    for variable, value in zip(network.weights, encoder.backbone.weights):
        # Beyond their initial values, which hide errors of scales and registers.
        value.assign(value + 0.1 * np.random.default_rng(1).normal(size=value.shape))
        variable.assign(value)
    image = _draw_images(*size)
    tokens = network({"pixel_values": image / 127.5 - 1}).numpy()[:, 1 + 4 :]
    level4 = base(image)["level4"].numpy()
    np.testing.assert_allclose(level4.reshape(tokens.shape), tokens, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "variant, millions", [("small", 21.6), pytest.param("base", 86, marks=pytest.mark.slow)]
)
def test_published_sizes_of_dinov3(variant, millions):
    encoder = backbones.dinov3(variant=variant).get_layer("encoder")
    assert encoder.count_params() / 1e6 == pytest.approx(millions, rel=0.005)


@both_kinds
@pytest.mark.parametrize("head", [SegFormerHead, DAFormerHead, LinearHead])
@pytest.mark.parametrize("with_modes", [False, True])
def test_gradients_reach_every_variable(name, head, with_modes):
    model = _build_model(name, head, with_modes=with_modes)
    stride = 8 if head is LinearHead else 4
    assert (model.logits_stride, model.embedding_stride) == (stride, 8 if with_modes else stride)
    with tf.GradientTape() as tape:
        outputs = model(_draw_images(65, 99, batch=2), training=True)
        loss = tf.add_n([tf.reduce_sum(tf.square(value)) for value in outputs.values()])
        if with_modes:
            loss += tf.reduce_sum(outputs["embedding"][..., 0])
    variables = model.trainable_variables
    unused = ["modes"]
    if head is LinearHead:
        unused += ["neck_up2", "neck_norm"]
    elif not with_modes:
        unused += ["lateral", "fuse_", "refine_"]
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
        is_used = not any(part in variable.path for part in unused)
        assert (gradient is not None) == is_used, variable.path
    assert tuple(inference.predict_full_size_logits(model, _draw_images(65, 99)).shape[1:3]) == (
        65,
        99,
    )


@both_kinds
def test_half_precision_trains(precision, name):
    precision("mixed_bfloat16")
    model = _build_model(name)
    model.compile(keras.optimizers.SGD(1e-3), jit_compile=False)
    assert model.base.get_layer("normalise").compute_dtype == "float32"
    assert model.base(_draw_images(32, 64))["level4"].dtype == "bfloat16"
    before = model.get_weights()
    logs = model.train_step(toys.make_batch(1, 1, size=(32, 64)))
    assert np.isfinite(float(logs["loss"]))
    assert any((old != new).any() for old, new in zip(before, model.get_weights()))


@both_kinds
def test_a_teacher_and_an_initial_encoder_follow(name):
    model = _build_model(
        name, DAFormerHead, model_class=OnlineDrslModel, feature_weight=0.1, feature_classes=(1, 2)
    )
    model.compile(
        keras.optimizers.SGD(1e-2),
        gradient_update=GradientUpdate(head_rate_factor=10.0),
        jit_compile=False,
    )
    copied = [variable.numpy() for variable in model.extra_variables]
    logs = tf.function(model.train_step)(toys.make_batch(2, 2, size=(64, 64)))
    assert np.isfinite(float(logs["loss"]))
    moved = [variable.numpy() for variable in model.extra_variables]
    assert any((a != b).any() for a, b in zip(copied, moved))


@both_kinds
def test_model_files_round_trip(tmp_path, name):
    model = _build_model(name)
    path = str(tmp_path / "model.keras")
    model.save(path)
    twin = drsl_tf.load_model(path)
    assert twin.size_multiple == 32
    for key, value in model(_draw_images(33, 50)).items():
        np.testing.assert_allclose(value, twin(_draw_images(33, 50))[key], atol=1e-5)


@both_kinds
@pytest.mark.parametrize("lite", [False, True])
def test_an_export_labels_images_of_any_size(tmp_path, name, lite):
    model = _build_model(name)
    space = label_spaces.custom(
        name="toys", class_names=[f"class{index}" for index in range(_CLASSES)]
    )
    path = str(tmp_path / ("exported.tflite" if lite else "exported"))
    export = saved_models.export_tflite if lite else saved_models.export_saved_model
    export(model, model_description.ModelDescription(space), path)
    predictor = drsl_tf.Predictor(path)
    for size in ((64, 128), (33, 50)):
        image = _draw_images(*size).astype("uint8")
        label, _ = predictor.predict(image)
        logits = inference.predict_full_size_logits(model, image).numpy()
        top = np.sort(logits, axis=-1)
        clear = top[..., -1] - top[..., -2] > 1e-4
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(label[clear], logits.argmax(-1)[clear])


def test_weights_are_read_from_a_path(tmp_path):
    network = keras_hub.models.ResNetBackbone(**_RESNET)
    path = str(tmp_path / "resnet.weights.h5")
    network.save_weights(path)
    base = _build_pyramid("ResNetBackbone", weights=path)
    trunk = base.get_layer(f"{base.name}_trunk")
    for own, expected in zip(trunk.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(own, expected)
    other = {**_RESNET, "stackwise_num_filters": [64, 16, 16, 32]}
    with pytest.raises(UserError, match="does not fit"):
        _build_pyramid("ResNetBackbone", arguments=other, weights=path)
    with pytest.raises(UserError, match="nowhere.h5.*does not exist"):
        _build_dinov3(weights="nowhere.h5")


def _make_dinov3_backbone():
    network = keras_hub.models.DINOV3Backbone(
        **_DINOV3, patch_size=16, use_key_bias=False, image_shape=(64, 64, 3), name="published"
    )
    assert network.embeddings.mask_token.trainable
    return network


def test_weights_of_dinov3_are_read_from_a_path(tmp_path):
    network = _make_dinov3_backbone()
    path = str(tmp_path / "dinov3.weights.h5")
    network.save_weights(path)
    encoder = _build_dinov3(weights=path).get_layer("encoder")
    for own, expected in zip(encoder.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(own, expected)
    with pytest.raises(UserError, match="does not fit"):
        _build_dinov3(arguments={**_DINOV3, "num_layers": 3}, weights=path)


@pytest.mark.parametrize("kind", ["ResNet", "DINOV3"])
def test_a_preset_brings_arguments_weights_and_normalisation(tmp_path, kind):
    preset = str(tmp_path)
    if kind == "ResNet":
        network = keras_hub.models.ResNetBackbone(**_RESNET)
    else:
        network = _make_dinov3_backbone()
    network.save_to_preset(preset)

    def build(**arguments):
        if kind == "ResNet":
            return backbones.keras_hub_pyramid(
                backbone="ResNetBackbone", preset=preset, feature_dim=8, **arguments
            )
        return backbones.dinov3(preset=preset, feature_dim=8, **arguments)

    with pytest.raises(UserError, match="cannot be read"):
        build()  # It has no image converter yet.
    plain = build(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert find_neutral_colour(plain) == pytest.approx((127.5, 127.5, 127.5))
    converter = getattr(keras_hub.layers, f"{kind}ImageConverter")
    converter(scale=[0.02, 0.02, 0.02], offset=[-1.0, -2.0, -3.0]).save_to_preset(preset)
    base = build()
    assert find_neutral_colour(base) == pytest.approx((50, 100, 150), rel=1e-5)
    part = "encoder" if kind == "DINOV3" else f"{base.name}_trunk"
    for own, expected in zip(base.get_layer(part).get_weights(), network.get_weights()):
        np.testing.assert_array_equal(own, expected)


def test_batch_norm_is_frozen_inside_blocks_too():
    base = _build_pyramid("EfficientNetBackbone", freeze_batch_norm=True)
    statistics = base.get_weights()
    base(_draw_images(64, 64, batch=2), training=True)
    trunk = base.get_layer(f"{base.name}_trunk")
    assert not any("bn" in variable.path for variable in trunk.trainable_variables)
    changed = [(a != b).any() for a, b in zip(statistics, base.get_weights())]
    assert sum(changed) == 4  # The two batch norms that join levels.


def test_layers_of_dinov3_learn_at_falling_rates():
    def move(layer_decay):
        model = _build_model("dinov3")
        model.compile(
            keras.optimizers.SGD(1e-2),
            gradient_update=GradientUpdate(layer_decay=layer_decay, head_rate_factor=10.0),
            jit_compile=False,
        )
        before = [variable.numpy() for variable in model.trainable_variables]
        model.train_step(toys.make_batch(1, 1))
        after = [variable.numpy() for variable in model.trainable_variables]
        return model, [new - old for new, old in zip(after, before)]

    _, plain = move(1.0)
    model, decayed = move(0.5)
    expected = {"embeddings": 0.125, "layers_0": 0.25, "layers_1": 0.5}
    seen = set()
    for variable, a, b in zip(model.trainable_variables, plain, decayed):
        found = [part for part in expected if part in variable.path.split("/")]
        seen.update(found)
        np.testing.assert_allclose(b, a * (expected[found[0]] if found else 1), atol=1e-6)
        assert not found or np.abs(a).max() > 1e-6 or "k_proj" in variable.path
    assert seen == set(expected)


def test_bad_arguments_are_user_errors():
    with pytest.raises(UserError, match="no class 'NoBackbone'"):
        backbones.keras_hub_pyramid(backbone="NoBackbone")
    with pytest.raises(UserError, match="ResNetBackbone refuses its arguments"):
        backbones.keras_hub_pyramid(backbone="ResNetBackbone")
    with pytest.raises(UserError, match="drsl_tf.backbones.mit"):
        backbones.keras_hub_pyramid(backbone="MiTBackbone")
    tokens = {**_DINOV3, "patch_size": 16, "image_shape": (64, 64, 3)}
    with pytest.raises(UserError, match="no map at stride 8"):
        backbones.keras_hub_pyramid(backbone="DINOV3Backbone", arguments=tokens)
    with pytest.raises(UserError, match="variant is 'tiny'"):
        backbones.dinov3(variant="tiny")
    with pytest.raises(UserError, match="patches of 14"):
        _build_dinov3(arguments={**_DINOV3, "patch_size": 14})
    with pytest.raises(UserError, match="'no_such_preset' of DINOV3Backbone cannot be read"):
        backbones.dinov3(preset="no_such_preset")
