"""Every form of a batch is read as one form, and anything else is refused in one message."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.models.batch_forms import read_batch

_IMAGES = np.random.default_rng(0).integers(0, 256, (2, 6, 10, 3), np.uint8)
_LABELS = np.random.default_rng(1).integers(0, 5, (2, 6, 10)).astype(np.int32)
_HALF = {"image": _IMAGES, "label": _LABELS}


@pytest.mark.parametrize("image_type", [np.uint8, np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("label_type", [np.uint8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("has_axis", [False, True])
def test_all_forms_of_labelled_images_are_the_source_alone(image_type, label_type, has_axis):
    images, labels = _IMAGES.astype(image_type), _LABELS.astype(label_type)
    labels = labels[..., np.newaxis] if has_axis else labels
    half = {"image": images, "label": labels}
    for data in ((images, labels), [images, labels], half, (half,), {"source": half}):
        batch = read_batch(data)
        assert list(batch) == ["source", "target"]
        for name, count in (("source", 2), ("target", 0)):
            assert batch[name]["image"].dtype == tf.float32
            assert batch[name]["label"].dtype == tf.int32
            assert batch[name]["image"].shape == (count, 6, 10, 3)
            assert batch[name]["label"].shape == (count, 6, 10)
        np.testing.assert_array_equal(batch["source"]["image"], _IMAGES)
        np.testing.assert_array_equal(batch["source"]["label"], _LABELS)


def test_both_halves_stay_as_they_are():
    target = {"image": _IMAGES[:1], "label": _LABELS[:1, ..., np.newaxis]}
    batch = read_batch({"target": target, "source": _HALF})
    assert list(batch) == ["source", "target"], "the order of the images in a step"
    np.testing.assert_array_equal(batch["target"]["image"], _IMAGES[:1])
    np.testing.assert_array_equal(batch["target"]["label"], _LABELS[:1])


@pytest.mark.parametrize("labels", [_LABELS, _LABELS[..., np.newaxis]])
@pytest.mark.parametrize("image_shape", [None, (None, None, None, 3), (None, 6, 10, 3)])
@pytest.mark.parametrize("label_rank", [None, 1])
def test_sizes_that_only_a_step_knows(labels, image_shape, label_rank):
    label_shape = label_rank and [None] * labels.ndim
    signature = [tf.TensorSpec(image_shape, tf.uint8), tf.TensorSpec(label_shape, tf.int32)]
    if label_rank and labels.ndim == 4:
        signature[1] = tf.TensorSpec((None, None, None, 1), tf.int32)

    @tf.function(input_signature=signature)
    def read(images, labels):
        batch = read_batch((images, labels))
        assert batch["target"]["image"].shape[0] == 0, "steps leave the target out by this"
        assert batch["source"]["image"].shape[-1] == 3
        assert batch["source"]["label"].shape.rank == 3
        return batch

    np.testing.assert_array_equal(read(_IMAGES, labels)["source"]["label"], _LABELS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Label maps of the source need"):
        read(_IMAGES, labels[:, :3])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((_IMAGES, _LABELS.astype(np.float32)), "integers of shape.*source's are float32"),
        ((_IMAGES, np.eye(5, dtype=np.int32)[_LABELS]), r"\(2, 6, 10, 5\).*argmax"),
        ((_IMAGES, _LABELS[0]), "integers of shape"),
        ((_IMAGES, _LABELS[:, :5]), "label map of its size"),
        ((_IMAGES, _LABELS[:1]), "label map of its size"),
        ((_IMAGES, _LABELS.transpose(0, 2, 1)), "label map of its size"),
        ((_IMAGES[..., :1], _LABELS), r"Images are \(B, H, W, 3\)"),
        ((_IMAGES[0], _LABELS[0]), r"Images are \(B, H, W, 3\)"),
        ((_IMAGES > 0, _LABELS), "Images.*bool"),
        ((_IMAGES,), "no labels"),
        (_IMAGES, "no labels"),
        ((_IMAGES, _LABELS, np.ones(2)), "no sample_weight.*class_weights"),
        ({"images": _IMAGES}, "has the keys 'images'"),
        ({"target": _HALF}, "has the keys 'target'"),
        ({"source": _HALF, "target": _IMAGES}, "target half"),
        ({"source": {"image": _IMAGES}}, 'no "image" and "label"'),
        (([_IMAGES, _IMAGES[0]], _LABELS), "several sizes"),
        (None, "NoneType"),
    ],
)
def test_other_data_are_refused(data, words):
    with pytest.raises(UserError, match=words):
        read_batch(data)


def test_the_message_is_the_same_inside_a_step():
    """AutoGraph puts other errors of a user's code into an error of its own."""
    step = tf.function(lambda *data: read_batch(data))
    with pytest.raises(UserError, match="^Labels are integers"):
        step(_IMAGES, _LABELS.astype(np.float32))
