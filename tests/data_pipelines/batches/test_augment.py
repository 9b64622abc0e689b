"""Geometry is shared by image and label, and everything follows from the seed."""

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.batches import colour
from data_pipelines.batches.augment import PAD_VALUE
from data_pipelines.batches.augment import Augmenter
from data_pipelines.errors import UserError


def _make_pair(height=40, width=60):
    # Every pixel's label can be read off its colour, so a broken pairing shows.
    label = np.arange(height * width).reshape(height, width) // 40 % 19
    image = np.repeat(label[..., np.newaxis] * 10 + 20, 3, axis=2)
    return image.astype(np.uint8), label.astype(np.uint8)


def test_same_seed_same_pair_other_seed_other_pair():
    augmenter = Augmenter(
        size=(32, 48),
        scale=(0.5, 1.5),
        brightness=0.2,
        contrast=(0.5, 1.5),
        saturation=(0.5, 1.5),
        hue=0.1,
        gamma=(0.5, 2.0),
    )
    image, label = _make_pair()
    first, second, other = (augmenter(image, label, seed) for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert np.any(first[0].numpy() != other[0].numpy())


def test_plain_augmenter_crops_without_changing_a_pixel():
    image, label = _make_pair()
    augmenter = Augmenter(size=(16, 24), mirror=False)
    for seed in range(20):
        crop, crop_label = augmenter(image, label, [seed, 0])
        np.testing.assert_allclose(crop[..., 0], crop_label.numpy() * 10 + 20, atol=1e-3)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_labels_stay_with_their_pixels_when_resized(scale):
    image, label = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    image[10:30, 20:50], label[10:30, 20:50] = 200, 7
    augmenter = Augmenter(size=(80, 120), scale=(scale, scale))
    crop, crop_label = augmenter(image, label, [3, 4])
    valid = crop_label.numpy() != 255
    agree = (crop.numpy()[..., 0] > 100)[valid] == (crop_label.numpy() == 7)[valid]
    assert agree.mean() > 0.98
    assert set(np.unique(crop_label)) <= {0, 7, 255}


def test_padding_is_grey_and_ignored():
    image, label = _make_pair()
    crop, crop_label = Augmenter(size=(64, 96), mirror=False)(image, label, [0, 0])
    padded = crop_label.numpy() == 255
    assert padded.sum() == 64 * 96 - 40 * 60
    np.testing.assert_allclose(crop.numpy()[padded], PAD_VALUE, atol=1e-3)


def test_a_crop_larger_than_the_resized_image_is_a_warning(caplog):
    for size in ((40, 60), (32, 61)):
        assert not caplog.text
        Augmenter(size=size, resize=(40, 60))
    assert "Augmenter.size is (32, 61) (CROP) and the whole image is (40, 60)" in caplog.text


def test_mirror_flips_half_of_the_pairs():
    image, label = _make_pair(16, 24)
    augmenter = Augmenter(size=(16, 24))
    flipped = 0
    for seed in range(40):
        _, crop = augmenter(image, label, [seed, 1])
        same = np.array_equal(crop, label)
        assert same or np.array_equal(crop, label[:, ::-1])
        flipped += not same
    assert 10 <= flipped <= 30


def test_resize_is_the_size_at_scale_one():
    image, label = _make_pair(80, 120)
    crop, crop_label = Augmenter(size=(40, 60), resize=(40, 60), mirror=False)(image, label, [0, 0])
    expected = tf.image.resize(image.astype(np.float32), (40, 60), antialias=True)
    np.testing.assert_allclose(crop, expected, atol=1e-3)
    assert 255 not in crop_label.numpy()


def test_photometry_leaves_labels_and_range_alone():
    image, label = _make_pair()
    augmenter = Augmenter(
        size=(40, 60),
        mirror=False,
        brightness=0.5,
        contrast=(0.2, 3.0),
        saturation=(0.2, 3.0),
        hue=0.3,
        gamma=(0.4, 2.5),
    )
    for seed in range(10):
        crop, crop_label = augmenter(image, label, [seed, 0])
        np.testing.assert_array_equal(crop_label, label)
        assert crop.numpy().min() >= 0 and crop.numpy().max() <= 255


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.7, 1.0, 1.2, 5.0])
@pytest.mark.parametrize("hue", [-0.5, -0.05, 0.0, 0.03, 0.4])
def test_hue_and_saturation_are_those_of_tensorflow(hue, factor):
    flat = [[0, 0, 0], [1, 1, 1], [0.3, 0.3, 0.3], [1, 0, 0], [0.5, 0.5, 0.2], [0.2, 0.6, 0.6]]
    drawn = np.random.default_rng(0).random((20, 6, 3))
    image = np.concatenate([[flat], drawn]).astype(np.float32)
    expected = tf.image.adjust_hue(tf.image.adjust_saturation(image, factor), hue)
    actual = colour.adjust_hue_and_saturation(image, hue, factor)
    np.testing.assert_allclose(actual, expected, atol=2e-6)


def test_unlabelled_images_have_the_same_geometry_and_keep_their_colours():
    image, label = _make_pair(80, 120)
    geometry = {"size": (40, 60), "resize": (60, 90), "scale": (0.5, 1.5)}
    # No class is counted: every crop of one class would be drawn again.
    label = np.zeros_like(label)
    jittering = Augmenter(
        **geometry,
        max_class_share=0.5,
        brightness=0.5,
        contrast=(0.5, 2.0),
        hue=0.3,
        gamma=(2.0, 2.0),
    )
    for seed in range(5):
        crop, crop_label = jittering.for_unlabelled()(image, label, [seed, 0])
        expected, expected_label = Augmenter(**geometry)(image, label, [seed, 0])
        np.testing.assert_array_equal(crop, expected)
        np.testing.assert_array_equal(crop_label, expected_label)
        changed, _ = jittering(image, label, [seed, 0])
        assert np.abs(changed - crop).max() > 1.0


def test_crops_that_one_class_fills_are_drawn_again():
    """The first crop stays where it fits; ignored pixels do not count."""
    label = np.zeros((80, 120), np.uint8)
    label[:, 90:] = np.arange(80)[:, np.newaxis] // 8
    label[::2] = 255
    image = np.zeros((80, 120, 3), np.uint8)
    settings = {"size": (40, 60), "mirror": False}

    def share(crop):
        counts = np.bincount(crop[crop != 255])
        return counts.max() / counts.sum()

    kept = left = 0
    for seed in range(30):
        _, plain = Augmenter(**settings)(image, label, [seed, 0])
        _, crop = Augmenter(**settings, max_class_share=0.75)(image, label, [seed, 0])
        plain, crop = plain.numpy(), crop.numpy()
        if share(plain) <= 0.75:
            np.testing.assert_array_equal(crop, plain)
            kept += 1
        else:
            left += share(crop) > 0.75
    # One crop in four fits; eleven draws miss it once in 25.
    assert 3 < kept < 15 and left <= 4
    # Without any fitting crop the last one is taken.
    _, crop = Augmenter(**settings, max_class_share=0.5)(image, np.zeros_like(label), [0, 0])
    assert crop.shape == (40, 60)


def test_gamma_is_a_power_and_keeps_black_and_white():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    augmenter = Augmenter(size=(16, 16), mirror=False, gamma=(2.0, 2.0))
    crop, _ = augmenter(image, np.zeros((16, 16), np.uint8), [0, 0])
    np.testing.assert_allclose(crop, (image / 255.0) ** 2 * 255.0, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({"size": (0, 4)}, "size"),
        ({"size": (4, 4), "scale": (0.0, 1.0)}, "scale"),
        ({"size": (4, 4), "brightness": -0.1}, "brightness"),
        ({"size": (4, 4), "max_class_share": 0.0}, "max_class_share"),
        ({"size": (4, 4), "contrast": (2.0, 1.0)}, "contrast"),
    ],
)
def test_bad_arguments_are_named(arguments, named):
    with pytest.raises(UserError, match=named):
        Augmenter(**arguments)
