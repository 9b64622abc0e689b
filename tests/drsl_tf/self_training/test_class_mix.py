"""Half of the classes, all of their pixels, nothing else."""

import numpy as np
import tensorflow as tf

from drsl_tf.self_training import class_mix

_CLASSES = 6


def _draw_labels(count=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, _CLASSES, (count, 4, 6))
    labels[rng.uniform(size=labels.shape) < 0.2] = 255
    labels[0] = 255
    labels[1] = 3
    return labels


def test_a_mask_is_a_union_of_half_of_the_classes():
    labels = _draw_labels()
    for step in range(20):
        mask = class_mix.draw_class_masks(tf.constant(labels), _CLASSES, seed=(1, step)).numpy()
        assert mask.shape == labels.shape
        for pixels, chosen in zip(labels, mask):
            inside = set(pixels[chosen].tolist())
            present = set(pixels.reshape(-1).tolist()) - {255}
            assert inside <= present
            assert len(inside) == (len(present) + 1) // 2
            np.testing.assert_array_equal(chosen, np.isin(pixels, list(inside)))


def test_every_class_is_drawn_equally_often():
    labels = np.arange(4).reshape(1, 2, 2)
    draws = [
        class_mix.draw_class_masks(tf.constant(labels), _CLASSES, seed=(0, step)).numpy()
        for step in range(600)
    ]
    np.testing.assert_allclose(np.mean(draws, axis=0), np.full((1, 2, 2), 0.5), atol=0.08)


def test_a_share_of_the_batch_draws_what_the_whole_draws():
    labels = tf.constant(_draw_labels(6))
    whole = class_mix.draw_class_masks(labels, _CLASSES, seed=(3, 4))
    part = class_mix.draw_class_masks(labels[2:4], _CLASSES, seed=(3, 4), first=2, total=6)
    np.testing.assert_array_equal(whole[2:4], part)


def test_pasting_takes_every_pixel_from_one_side():
    rng = np.random.default_rng(0)
    mask = rng.uniform(size=(2, 3, 4)) < 0.5
    for shape in ((2, 3, 4), (2, 3, 4, 3)):
        pasted, under = rng.uniform(size=(2, *shape)).astype(np.float32)
        mixed = class_mix.paste(tf.constant(mask), tf.constant(pasted), tf.constant(under)).numpy()
        np.testing.assert_array_equal(mixed[mask], pasted[mask])
        np.testing.assert_array_equal(mixed[~mask], under[~mask])
