"""Strong augmentation and masks, against oracles of numpy and TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from drsl_tf.networks.backbones import preprocessing
from drsl_tf.self_training import image_draws
from drsl_tf.self_training import student_view

_ALWAYS = {"jitter": 0.2, "jitter_chance": 1.0, "blur_chance": 1.0}


def _draw_images(count=3, size=(12, 20), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, *size, 3)).astype(np.float32)


def _draw(count=3, seed=1):
    return np.random.default_rng(seed).random((count, 7)).astype(np.float32)


def test_colours_change_as_tensorflow_changes_them():
    images, draws = _draw_images(), _draw()
    found = student_view.augment_strongly(images, draws, **{**_ALWAYS, "blur_chance": 0.0})
    for image, numbers, changed in zip(images, draws, found):
        brightness, contrast, saturation, hue = 0.2 * (2 * numbers[2:6] - 1)
        image = np.clip(image / 255 + brightness, 0, 1)
        image = np.clip(image.mean() + (1 + contrast) * (image - image.mean()), 0, 1)
        image = tf.image.adjust_hue(tf.image.adjust_saturation(image, 1 + saturation), hue)
        np.testing.assert_allclose(changed, image * 255, atol=2e-3)


def test_blur_is_a_gaussian_of_the_drawn_width():
    images, draws = _draw_images(), _draw()
    found = student_view.augment_strongly(images, draws, **{**_ALWAYS, "jitter": 0.0})
    for image, numbers, blurred in zip(images, draws, found):
        offsets = np.arange(-4, 5)
        taps = np.exp(-0.5 * (offsets / (0.15 + numbers[6])) ** 2)
        taps /= taps.sum()
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
        expected = np.zeros_like(image)
        for row in range(image.shape[0]):
            for column in range(image.shape[1]):
                window = padded[row : row + 9, column : column + 9]
                expected[row, column] = np.einsum("i,j,ijc->c", taps, taps, window)
        np.testing.assert_allclose(blurred, expected, atol=2e-3)


def test_chances_are_per_image():
    images = _draw_images(count=2)
    draws = np.full((2, 7), 0.9, np.float32)
    draws[0, 0], draws[1, 1] = 0.79, 0.49
    settings = {"jitter": 0.2, "jitter_chance": 0.8, "blur_chance": 0.5}
    found = student_view.augment_strongly(images, draws, **settings).numpy()
    jittered = student_view.augment_strongly(images, draws, **{**_ALWAYS, "blur_chance": 0.0})
    blurred = student_view.augment_strongly(images, draws, **{**_ALWAYS, "jitter": 0.0})
    np.testing.assert_allclose(found[0], jittered[0], atol=1e-3)
    np.testing.assert_allclose(found[1], blurred[1], atol=2e-3)


def test_nothing_changes_without_strength():
    images = _draw_images()
    settings = {"jitter": 0.0, "jitter_chance": 0.8, "blur_chance": 0.0}
    found = student_view.augment_strongly(images, _draw(), **settings)
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("numbers", [7, (2, 3)])
def test_draws_do_not_depend_on_how_a_batch_is_split(numbers):
    seed = tf.constant([3, 4])
    whole = image_draws.draw(8, numbers, seed=seed)
    parts = [image_draws.draw(2, numbers, seed=seed, first=i, total=8) for i in (0, 2, 4, 6)]
    np.testing.assert_array_equal(whole, tf.concat(parts, axis=0))
    assert len(np.unique(whole)) == tf.size(whole)


def test_masks_are_blocks_of_one_colour():
    size, block = (20, 27), 8
    images = _draw_images(size=size)
    rows, columns = student_view.count_blocks(size, block)
    assert (rows, columns) == (3, 4)
    draws = np.random.default_rng(2).random((3, rows, columns)).astype(np.float32)
    found = student_view.mask_blocks(images, draws, block, 0.7, (1.0, 2.0, 3.0)).numpy()
    for index in np.ndindex(3, *size):
        image, row, column = index
        masked = draws[image, row // block, column // block] < 0.7
        expected = (1.0, 2.0, 3.0) if masked else images[index]
        np.testing.assert_array_equal(found[index], expected)


@pytest.mark.parametrize(
    "size, block",
    [((512, 512), 64), ((1024, 2048), 64), ((180, 240), 22), ((128, 256), 16), ((4, 4), 1)],
)
def test_blocks_scale_with_the_crop(size, block):
    assert student_view.choose_block(size) == block


@pytest.mark.parametrize("name", ["signed", "torch", "caffe"])
def test_the_neutral_colour_is_normalised_to_zero(name):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, getattr(preprocessing, f"normalise_{name}")(image))
    colour = preprocessing.find_neutral_colour(model)
    np.testing.assert_allclose(model(np.full((1, 2, 2, 3), colour, np.float32)), 0.0, atol=2e-5)


def test_a_base_without_normalisation_has_mid_grey():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Activation("linear")(image))
    assert preprocessing.find_neutral_colour(model) == (127.5, 127.5, 127.5)
