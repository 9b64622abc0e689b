"""Training batches of source and target images.

Batch i of a stage is a function of (seed, round, i) alone: its images, their order and their
augmentation. A run that resumes at step i therefore reads the same batches as an uninterrupted
run.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.parallelism import PARALLEL_CALLS
from data_pipelines.batches.parallelism import fix_parallelism
from data_pipelines.batches.patch_mining import PatchMiner
from data_pipelines.batches.whole_images import resize_label_map
from data_pipelines.domains.domain import Pair
from data_pipelines.error_relay import ErrorRelay

SOURCE = "source"
TARGET = "target"
# Added to an image's seed for the draws of patch mining.
_MINING = 1


@dataclasses.dataclass(frozen=True)
class Stream:
    """One domain's share of every batch.

    Attributes:
        pairs: images and labels to sample from.
        read_image: path -> (H, W, 3) uint8.
        read_label: path -> (H, W) uint8 with 255 = ignore, a map of the whole image at any size;
            None reads no labels: every pixel of the image is 0, and 255 marks padding alone.
        augmenter: augments each pair to a fixed size.
        batch_size: images of this domain in a global batch.
        weights: (len(pairs), C) float probability of each image and class, sampled with
            replacement; None reads every image once an epoch.
        min_crop_pixels: pixels of the class that an image was drawn for that its crop should
            exceed; 0 takes any crop.
        miner: draws the pixels that crops are centred on; None leaves their places to chance.
        mined_classes: the classes that it mines.
    """

    pairs: Sequence[Pair]
    read_image: Callable[[str], np.ndarray]
    read_label: Callable[[str], np.ndarray] | None
    augmenter: Augmenter
    batch_size: int
    weights: np.ndarray | None = None
    min_crop_pixels: int = 0
    miner: PatchMiner | None = None
    mined_classes: tuple[int, ...] = ()

    @property
    def image_weights(self) -> np.ndarray | None:
        """(len(pairs),) probability of each image; None without weights."""
        return None if self.weights is None else self.weights.sum(axis=1)

    def watch(self, relay: ErrorRelay) -> Stream:
        """Returns the stream with readers whose errors a relay records."""
        read_label = None if self.read_label is None else relay.watch(self.read_label)
        return dataclasses.replace(
            self, read_image=relay.watch(self.read_image), read_label=read_label
        )


class Shard(NamedTuple):
    """The replicas that a worker feeds.

    Attributes:
        total: replicas over all workers; each gets an equal part of every global batch.
        here: indices of this worker's replicas; their batches are consecutive.
    """

    total: int = 1
    here: range = range(1)


def derive_seed(*parts: int | str) -> np.ndarray:
    """Computes one seed from numbers and names.

    Args:
        *parts: ints and strings; the same parts give the same seed on every machine.

    Returns:
        (2,) int32, for TensorFlow's stateless random functions.
    """
    text = "/".join(str(part) for part in parts).encode()
    return np.frombuffer(hashlib.sha256(text).digest()[:8], "<i4").astype(np.int32)


def draw_order(
    count: int,
    *,
    num_items: int,
    seed: int,
    round_index: int,
    stream: str,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Computes which item is at each of the first `count` places of a stage.

    Args:
        count: places to fill.
        num_items: items to choose from.
        seed: the experiment's seed.
        round_index: the stage: 0 for the source stage, then 1..R.
        stream: the stream's name; two streams have independent orders.
        weights: (num_items,) probability of each item, sampled with replacement; None permutes
            the items in every epoch.

    Returns:
        (count,) int64 indices below `num_items`.
    """
    chunks = []
    for epoch in range(-(-count // num_items)):
        entropy = derive_seed(seed, round_index, stream, "epoch", epoch).view(np.uint32)
        generator = np.random.Generator(np.random.PCG64(entropy.tolist()))
        if weights is None:
            chunks.append(generator.permutation(num_items))
        else:
            chance = np.asarray(weights, np.float64)
            chunks.append(generator.choice(num_items, num_items, p=chance / chance.sum()))
    if not chunks:
        return np.zeros((0,), np.int64)
    return np.concatenate(chunks)[:count].astype(np.int64)


def draw_classes(
    order: np.ndarray, weights: np.ndarray, *, seed: int, round_index: int, stream: str
) -> np.ndarray:
    """Draws the class that each image of a stage was sampled for.

    Args:
        order: (count,) indices of images, as `draw_order` returns.
        weights: (num_items, C) probability of each image and class.
        seed: the experiment's seed.
        round_index: the stage.
        stream: the stream's name.

    Returns:
        (count,) int32; the first n do not depend on how many follow.
    """
    entropy = derive_seed(seed, round_index, stream, "class").view(np.uint32)
    uniform = np.random.Generator(np.random.PCG64(entropy.tolist())).random(len(order))
    bounds = np.cumsum(weights, axis=1)[order]
    return (bounds <= uniform[:, np.newaxis] * bounds[:, -1:]).sum(axis=1).astype(np.int32)


def make_training_batches(
    source: Stream | None,
    target: Stream | None,
    *,
    steps: int,
    start_step: int = 0,
    seed: int,
    round_index: int,
    shard: Shard = Shard(),
) -> tf.data.Dataset:
    """Builds the batches of one stage, from `start_step` on.

    Args:
        source: the labelled domain; None, as in source-free adaptation, is an empty half of the
            batch (0 images).
        target: the pseudo-labelled domain; None, as in the source stage, is an empty half.
        steps: steps of the whole stage.
        start_step: the first step; earlier ones are not read.
        seed: the experiment's seed.
        round_index: the stage.
        shard: the replicas to feed.

    Returns:
        A dataset of (steps - start_step) * len(shard.here) batches
        `{"source": {"image": (b, H, W, 3) float32 in [0, 255], "label": (b, H, W) int32},
        "target": the same}`.

    Raises:
        ValueError: a batch size does not divide evenly over the replicas.
    """
    halves = {SOURCE: source, TARGET: target}
    height, width = next(s.augmenter.size for s in halves.values() if s is not None)
    empty = {
        "image": tf.zeros((0, height, width, 3)),
        "label": tf.zeros((0, height, width), tf.int32),
    }
    datasets = {
        name: tf.data.Dataset.from_tensors(empty).repeat()
        if stream is None
        else _make_stream_batches(
            stream,
            name,
            steps=steps,
            start_step=start_step,
            seed=seed,
            round_index=round_index,
            shard=shard,
        )
        for name, stream in halves.items()
    }
    options = tf.data.Options()
    # A private pool with a thread a core, one thread an operator: in the pool that all operators
    # share, decoding and augmenting sometimes get one thread, which halves the throughput.
    options.threading.private_threadpool_size = PARALLEL_CALLS
    options.threading.max_intra_op_parallelism = 1
    return fix_parallelism(tf.data.Dataset.zip(datasets).prefetch(2).with_options(options))


def list_batch(stream: Stream, name: str, *, step: int, seed: int, round_index: int) -> list[Pair]:
    """Lists the images of one batch, to report a step that failed.

    Args:
        stream: the stream of the batch.
        name: "source" or "target".
        step: the step within the stage.
        seed: the experiment's seed.
        round_index: the stage.

    Returns:
        The batch's `Pair`s, over all replicas.
    """
    order = draw_order(
        (step + 1) * stream.batch_size,
        num_items=len(stream.pairs),
        seed=seed,
        round_index=round_index,
        stream=name,
        weights=stream.image_weights,
    )
    return [stream.pairs[i] for i in order[step * stream.batch_size :]]


def _make_stream_batches(
    stream: Stream,
    name: str,
    *,
    steps: int,
    start_step: int,
    seed: int,
    round_index: int,
    shard: Shard,
) -> tf.data.Dataset:
    if stream.batch_size % shard.total:
        raise ValueError(
            f"the {name} batch of {stream.batch_size} images does not divide over "
            f"{shard.total} replicas"
        )
    order = draw_order(
        steps * stream.batch_size,
        num_items=len(stream.pairs),
        seed=seed,
        round_index=round_index,
        stream=name,
        weights=stream.image_weights,
    )
    # Without weights, images are drawn for no class that a crop could hold.
    classes, min_pixels = np.zeros(len(order), np.int32), 0
    if stream.weights is not None and stream.min_crop_pixels:
        min_pixels = stream.min_crop_pixels
        classes = draw_classes(
            order, stream.weights, seed=seed, round_index=round_index, stream=name
        )
    share = stream.batch_size // shard.total
    places = np.arange(steps * stream.batch_size).reshape(steps, shard.total, share)
    places = places[start_step:, shard.here.start : shard.here.stop].reshape(-1)
    image_paths = tf.constant([pair.image_path for pair in stream.pairs])
    label_paths = tf.constant([pair.label_path or "" for pair in stream.pairs])
    stage_seed = tf.constant(derive_seed(seed, round_index, name, "augment"))

    def read_pair(image_path, label_path):
        image = stream.read_image(image_path.decode())
        if stream.read_label is None:
            return image, np.zeros(image.shape[:2], np.uint8)
        # Pseudo-labels have the size of the network's input.
        label = stream.read_label(label_path.decode())
        return image, resize_label_map(label, image.shape[:2])

    def load(item, place, wanted_class):
        image, label = tf.numpy_function(
            read_pair,
            [tf.gather(image_paths, item), tf.gather(label_paths, item)],
            [tf.uint8, tf.uint8],
            stateful=False,
        )
        image = tf.ensure_shape(image, (None, None, 3))
        label = tf.ensure_shape(label, (None, None))
        item_seed = tf.random.fold_in(stage_seed, place)
        centre = None
        if stream.miner is not None and stream.mined_classes:
            mining_seed = tf.random.fold_in(item_seed, _MINING)
            centre = stream.miner.draw_centre(label, stream.mined_classes, mining_seed)
        image, label = stream.augmenter(
            image,
            label,
            item_seed,
            centre=centre,
            wanted_class=wanted_class,
            min_pixels=min_pixels,
        )
        return {"image": image, "label": label}

    dataset = tf.data.Dataset.from_tensor_slices(
        (order[places], places.astype(np.int32), classes[places])
    )
    dataset = dataset.map(load, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    return dataset.batch(share, drop_remainder=True)
