"""ResNet-101: dilation against the strided network, counts, frozen batch norm, preprocessing."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.networks.backbones.resnet import resnet101
from tests.support.weight_writer import save_weights

_MEAN_BGR = np.array([103.939, 116.779, 123.68], "float32")


@pytest.fixture(scope="module")
def strided():
    """The network of keras.applications, with batch-norm statistics that keep maps in scale."""
    keras.utils.set_random_seed(0)
    return keras.applications.ResNet101(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )


@pytest.fixture(scope="module")
def base(strided):
    """The dilated network with "imagenet" weights: here those of the strided one."""

    def download(*, weights, include_top, **_):
        assert weights == "imagenet" and not include_top
        return strided

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "ResNet101", download)
        return resnet101(weights="imagenet")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (1, 65, 97, 3)).astype("float32")


def test_sizes_and_stride(base, image):
    outputs = base(image)
    shapes = {key: tuple(value.shape) for key, value in outputs.items()}
    assert shapes == {
        FEATURES: (1, 9, 13, 2048),
        "level2": (1, 17, 25, 256),
        "level3": (1, 9, 13, 512),
    }


def test_dense_features_subsampled_are_the_strided_ones(base, strided, image):
    """Also shows that images arrive as BGR less the mean, and that the weights were loaded."""
    expected = strided(image[..., ::-1] - _MEAN_BGR).numpy()
    features = base(image)[FEATURES].numpy()[:, ::4, ::4]
    assert features.shape == expected.shape == (1, 3, 4, 2048)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def test_parameter_count_is_the_published_one(base):
    assert base.count_params() == 42_658_176


def test_dilation_of_the_stages(base):
    trunk = base.get_layer("resnet101_trunk")
    for stage, rate in ((2, 1), (3, 1), (4, 2), (5, 4)):
        for block in (1, 2):
            layer = trunk.get_layer(f"conv{stage}_block{block}_2_conv")
            assert layer.dilation_rate == (rate, rate), layer.name


def test_weight_files_that_are_missing_or_do_not_fit(strided, tmp_path):
    with pytest.raises(UserError, match="nowhere.h5.*does not exist"):
        resnet101(weights="nowhere.h5")
    path = str(tmp_path / "resnet101.h5")
    save_weights(strided, path)
    with h5py.File(path, "r+") as file:
        for name in ("conv3_block1_1_conv", "conv4_block2_1_conv"):
            del file[name]["weight_0"]
            file[name]["weight_0"] = np.zeros((3, 3, 8, 8), "float32")
    with pytest.raises(UserError, match="first layer that does not fit is 'conv3_block1_1_conv'"):
        resnet101(weights=path)


def test_frozen_batch_norm(base, image):
    # 104 convolutions with a bias each, and nothing else.
    assert len(base.trainable_variables) == 2 * 104
    np.testing.assert_array_equal(
        base(image, training=True)[FEATURES], base(image, training=False)[FEATURES]
    )


@pytest.mark.slow
def test_stride_16_is_dense_too(strided, image, tmp_path):
    """The base of DeepLab-v3+, from a weight file, its batch norm trained."""
    path = str(tmp_path / "resnet101.h5")
    save_weights(strided, path)
    base = resnet101(output_stride=16, weights=path, freeze_batch_norm=False)
    assert len(base.trainable_variables) == 4 * 104
    trunk = base.get_layer("resnet101_trunk")
    assert trunk.get_layer("conv4_block2_2_conv").dilation_rate == (1, 1)
    assert trunk.get_layer("conv5_block2_2_conv").dilation_rate == (2, 2)
    features = base(image)[FEATURES].numpy()
    assert features.shape == (1, 5, 7, 2048)
    expected = strided(image[..., ::-1] - _MEAN_BGR).numpy()
    np.testing.assert_allclose(features[:, ::2, ::2], expected, atol=1e-4 * np.abs(expected).max())
