"""Images and maps whose sizes are no powers of two."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.common import FEATURES
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel
from drsl_tf.networks import backbones
from drsl_tf.networks.heads.linear_head import LinearHead
from drsl_tf.networks.layers.image_grid import CropToGrid
from drsl_tf.networks.layers.image_grid import PadToMultiple
from drsl_tf.networks.layers.image_grid import find_size_multiple
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import toys


def _make_base(patch=14, *, declared=True):
    """Builds a base with square patches, as of DINOv2."""
    image = keras.Input((None, None, 3), name="image")
    x = PadToMultiple(patch, name="pad")(image) if declared else image
    x = keras.layers.Conv2D(8, patch, strides=patch, name="patches")(x)
    x = CropToGrid(patch, name="crop")([x, image]) if declared else x
    return keras.Model(image, {FEATURES: x, "level4": x}, name="patched")


@pytest.mark.parametrize("size", [(28, 42), (29, 41), (1, 14)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_maps_have_ceiled_sizes_and_pads_are_zero(size, dynamic):
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    padded_size = tuple(-(-side // 14) * 14 for side in size)
    expected = np.zeros((2, *padded_size, 3), "float32")
    expected[:, : size[0], : size[1]] = image

    def run(image):
        padded = PadToMultiple(14)(image)
        return padded, CropToGrid(7)([padded, image])

    if dynamic:
        run = tf.function(run, input_signature=[tf.TensorSpec((None, None, None, 3))])
    padded, cropped = run(tf.constant(image))
    np.testing.assert_array_equal(padded, expected)
    rows, columns = (-(-side // 7) for side in size)
    np.testing.assert_array_equal(cropped, expected[:, :rows, :columns])


def test_a_stride_that_is_no_power_of_two():
    base = _make_base()
    assert find_size_multiple(base) == 14
    assert find_size_multiple(backbones.small_cnn(width=8)) == 32
    model = DrslModel(base, LinearHead(toys.NUM_CLASSES))
    assert (model.size_multiple, model.logits_stride, model.embedding_stride) == (14, 14, 14)
    images = np.random.default_rng(0).uniform(0, 255, (1, 33, 50, 3)).astype("float32")
    outputs = inference.predict_logits(model, images)
    assert tuple(outputs["logits"].shape[1:3]) == (3, 4)
    logits = inference.predict_full_size_logits(model, images)
    assert tuple(logits.shape) == (1, 33, 50, toys.NUM_CLASSES)


def test_a_teacher_pads_to_the_multiple_of_its_student():
    model = OnlineDrslModel(_make_base(), LinearHead(toys.NUM_CLASSES))
    images = np.random.default_rng(0).uniform(0, 255, (1, 33, 50, 3)).astype("float32")
    expected = inference.predict_full_size_logits(model, images)
    np.testing.assert_allclose(model.teacher.predict_logits(images), expected, atol=1e-4)


def test_a_base_may_declare_its_multiple_itself():
    base = _make_base(12, declared=False)
    with pytest.raises(UserError, match="'logits' has 5 rows for an image of 64.*size_multiple"):
        DrslModel(base, LinearHead(toys.NUM_CLASSES))
    base.size_multiple = 12
    assert DrslModel(base, LinearHead(toys.NUM_CLASSES)).logits_stride == 12
