"""Batches of whole images, in order, for inference and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipelines.batches.parallelism import PARALLEL_CALLS
from data_pipelines.batches.parallelism import fix_parallelism
from data_pipelines.domains.domain import Pair
from data_pipelines.error_relay import ErrorRelay
from data_pipelines.labels.label_spaces import IGNORE_ID


class ImageBatch(NamedTuple):
    """Images of one size, with their labels where requested.

    Attributes:
        pairs: the files of the batch, in the order given.
        images: (n, H, W, 3) float32 in [0, 255].
        labels: (n, H', W') uint8 at the labels' own size, or None.
    """

    pairs: list[Pair]
    images: np.ndarray
    labels: np.ndarray | None


def spread_evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Chooses evenly spaced items, starting with the first.

    Args:
        items: a sequence.
        count: most items to choose.

    Returns:
        The chosen ones, in order.
    """
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def iterate_image_batches(
    pairs: Sequence[Pair],
    read_image: Callable[[str], np.ndarray],
    read_label: Callable[[str], np.ndarray] | None = None,
    *,
    size: tuple[int, int] | None = None,
    batch_size: int,
) -> Iterator[ImageBatch]:
    """Reads images in order and batches neighbours of one size.

    A few batches are in memory at a time, whatever the number of images.

    Args:
        pairs: files to read.
        read_image: path -> (H, W, 3) uint8.
        read_label: path -> (H, W) uint8; None reads no labels.
        size: (height, width) to which images are resized; None keeps each at its own size.
        batch_size: maximum number of images in a batch.

    Yields:
        An `ImageBatch`; each is full, unless the next image has another size or there is none.

    Raises:
        UserError: a reader raises it.
    """
    relay = ErrorRelay()

    @relay.watch
    def read(place):
        pair = pairs[place]
        image = read_image(pair.image_path)
        label = np.zeros((0, 0), np.uint8) if read_label is None else read_label(pair.label_path)
        return image, label

    def load(place):
        image, label = tf.numpy_function(read, [place], [tf.uint8, tf.uint8], stateful=False)
        image = tf.cast(tf.ensure_shape(image, (None, None, 3)), tf.float32)
        if size is not None:
            image = resize_image(image, size)
        return image, tf.ensure_shape(label, (None, None))

    dataset = tf.data.Dataset.range(len(pairs))
    dataset = dataset.map(load, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    dataset = fix_parallelism(dataset.prefetch(2))
    held: list[tuple] = []
    arrays = relay.pass_errors(dataset.as_numpy_iterator())
    for place, (image, label) in enumerate(arrays):
        fits = not held or (image.shape, label.shape) == (held[0][1].shape, held[0][2].shape)
        if not fits or len(held) == batch_size:
            yield _make_batch(held, read_label is not None)
            held = []
        held.append((pairs[place], image, label))
    if held:
        yield _make_batch(held, read_label is not None)


def resize_image(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes an image as training does.

    Args:
        image: (H, W, 3) float32 in [0, 255].
        size: (height, width) in pixels.

    Returns:
        (height, width, 3) float32; unchanged where the size is the same.
    """
    resized = tf.cond(
        tf.reduce_all(tf.equal(tf.shape(image)[:2], size)),
        lambda: image,
        lambda: tf.image.resize(image, size, antialias=True),
    )
    return tf.ensure_shape(resized, (*size, 3))


def resize_label_map(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a label map to the size of another map of the same scene.

    Args:
        label: (H, W) uint8.
        size: (height, width) in pixels.

    Returns:
        (height, width) uint8, each pixel the nearest one of `label`.
    """
    if label.shape == tuple(size):
        return label
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))


def sample_cells(
    label: np.ndarray, size: tuple[int, int], grid: tuple[int, int], stride: int
) -> np.ndarray:
    """Samples a label map at the centres of the cells of a feature map.

    Args:
        label: (H', W') uint8, of any size.
        size: (H, W) of the image that the network was given, before padding.
        grid: (h, w) of the feature map of the padded image.
        stride: image pixels per cell.

    Returns:
        (h, w) uint8; 255 where the centre lies in the padding.
    """
    label = resize_label_map(label, size)
    cells = np.full(grid, IGNORE_ID, np.uint8)
    inside = label[stride // 2 :: stride, stride // 2 :: stride]
    cells[: inside.shape[0], : inside.shape[1]] = inside
    return cells


def _make_batch(held, with_labels):
    pairs, images, labels = zip(*held)
    return ImageBatch(list(pairs), np.stack(images), np.stack(labels) if with_labels else None)
