"""Source and target streams joined into one stream of training batches.

Batch i of a stage is a function of (seed, round, i) alone: which images it holds, in which order,
and how each is augmented. A run that is resumed at step i therefore sees what an unbroken run
would have seen.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.images import resize_label_map
from data_pipelines.domains.domain import Pair

SOURCE = "source"
TARGET = "target"


@dataclasses.dataclass(frozen=True)
class Stream:
    """One domain's share of every batch.

    Attributes:
        pairs: images and labels to draw from.
        read_image: path -> (H, W, 3) uint8.
        read_label: path -> (H, W) uint8 with 255 = ignore, at the image's size or, a map of the
            whole image too, at another; None reads no label and gives every pixel of the image 0,
            so that 255 marks padding alone.
        augmenter: makes a fixed-size pair of each.
        batch_size: images of this domain in a global batch.
        weights: (len(pairs),) float chance of each image, drawn with replacement; None draws
            every image once an epoch.
    """

    pairs: Sequence[Pair]
    read_image: Callable[[str], np.ndarray]
    read_label: Callable[[str], np.ndarray] | None
    augmenter: Augmenter
    batch_size: int
    weights: np.ndarray | None = None


def derive_seed(*parts: int | str) -> np.ndarray:
    """Mixes numbers and names into one seed.

    Args:
        *parts: ints and strings; the same parts give the same seed on every machine.

    Returns:
        (2,) int32, ready for TensorFlow's stateless random functions.
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
    """Says which item stands at each of the first `count` places of a stage.

    Args:
        count: places to fill.
        num_items: items to choose from.
        seed: the experiment's seed.
        round_index: the stage: 0 for the source stage, then 1..R.
        stream: the stream's name; two streams get independent orders.
        weights: (num_items,) chance of each item for draws with replacement; None gives a fresh
            permutation an epoch.

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


def make_training_batches(
    source: Stream,
    target: Stream | None,
    *,
    steps: int,
    start_step: int = 0,
    seed: int,
    round_index: int,
    num_shards: int = 1,
    shard_index: int = 0,
    shards_here: int = 1,
    parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Builds the batches of one stage, from `start_step` on.

    Args:
        source: the labelled domain.
        target: the pseudo-labelled domain; None gives an empty target half (0 images), which is
            what the source stage trains on.
        steps: steps of the whole stage.
        start_step: the first step wanted; earlier ones are not read.
        seed: the experiment's seed.
        round_index: the stage.
        num_shards: replicas over all workers; each gets an equal part of every global batch.
        shard_index: the first replica of this worker.
        shards_here: replicas of this worker; their batches follow each other.
        parallel_calls: images decoded and augmented at once.

    Returns:
        A dataset of (steps - start_step) * shards_here batches
        `{"source": {"image": (b, H, W, 3) float32 in [0, 255], "label": (b, H, W) int32},
        "target": the same}`.

    Raises:
        ValueError: when a batch size does not divide by the number of replicas.
    """
    halves = {SOURCE: source, TARGET: target}
    datasets = {
        name: _make_stream_batches(
            stream,
            name,
            steps=steps,
            start_step=start_step,
            seed=seed,
            round_index=round_index,
            num_shards=num_shards,
            shards=range(shard_index, shard_index + shards_here),
            parallel_calls=parallel_calls,
        )
        for name, stream in halves.items()
        if stream is not None
    }
    if target is None:
        height, width = source.augmenter.size
        empty = {
            "image": tf.zeros((0, height, width, 3)),
            "label": tf.zeros((0, height, width), tf.int32),
        }
        datasets[TARGET] = tf.data.Dataset.from_tensors(empty).repeat()
    options = tf.data.Options()
    # A thread a core of its own, and one thread an operator: in the pool that all operators share,
    # decoding and augmenting sometimes get a single thread, and half the images a second.
    options.threading.private_threadpool_size = os.cpu_count() or 1
    options.threading.max_intra_op_parallelism = 1
    return tf.data.Dataset.zip(datasets).prefetch(2).with_options(options)


def list_batch(stream: Stream, name: str, *, step: int, seed: int, round_index: int) -> list[Pair]:
    """Names the images of one batch, to report a step that went wrong.

    Args:
        stream: the stream that the batch was drawn from.
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
        weights=stream.weights,
    )
    return [stream.pairs[i] for i in order[step * stream.batch_size :]]


def _make_stream_batches(
    stream, name, *, steps, start_step, seed, round_index, num_shards, shards, parallel_calls
):
    if stream.batch_size % num_shards:
        raise ValueError(
            f"the {name} batch of {stream.batch_size} images does not divide over "
            f"{num_shards} replicas"
        )
    order = draw_order(
        steps * stream.batch_size,
        num_items=len(stream.pairs),
        seed=seed,
        round_index=round_index,
        stream=name,
        weights=stream.weights,
    )
    share = stream.batch_size // num_shards
    places = np.arange(steps * stream.batch_size).reshape(steps, num_shards, share)
    places = places[start_step:, shards.start : shards.stop].reshape(-1)
    image_paths = tf.constant([pair.image_path for pair in stream.pairs])
    label_paths = tf.constant([pair.label_path or "" for pair in stream.pairs])
    stage_seed = tf.constant(derive_seed(seed, round_index, name, "augment"))

    def read_pair(image_path, label_path):
        image = stream.read_image(image_path.decode())
        if stream.read_label is None:
            return image, np.zeros(image.shape[:2], np.uint8)
        # Pseudo-labels have the size at which the network saw the image.
        label = stream.read_label(label_path.decode())
        return image, resize_label_map(label, image.shape[:2])

    def load(item, place):
        image, label = tf.numpy_function(
            read_pair,
            [tf.gather(image_paths, item), tf.gather(label_paths, item)],
            [tf.uint8, tf.uint8],
            stateful=False,
        )
        image = tf.ensure_shape(image, (None, None, 3))
        label = tf.ensure_shape(label, (None, None))
        item_seed = tf.random.fold_in(stage_seed, place)
        image, label = stream.augmenter(image, label, item_seed)
        return {"image": image, "label": label}

    dataset = tf.data.Dataset.from_tensor_slices((order[places], places.astype(np.int32)))
    dataset = dataset.map(load, num_parallel_calls=parallel_calls, deterministic=True)
    return dataset.batch(share, drop_remainder=True)
