"""Measures the modes of a model against classes that were hidden from its training.

A pixel's mode is the nearest mode of its true category. Pixels are the cells of the embedding, with
the hidden class at their centres.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from benchmarks.modes import mode_agreement
from benchmarks.modes.feature_clusters import FeatureClusters
from data_pipelines import progress
from data_pipelines.batches import whole_images
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf.losses import metric_learning
from drsl_tf.losses import segmentation
from drsl_tf.models.inference import Inference
from drsl_tf.models.inference import pad_images
from drsl_tf.models.model import DrslModel
from drsl_tf.modes.pixel_sample import PixelSample

_SAMPLE = 20_000


class Pixels(NamedTuple):
    """The pixels of a batch that have a hidden class.

    Attributes:
        categories: (N,) true categories.
        classes: (N,) hidden classes.
        modes: (N,) nearest mode of the true category.
        is_right: (N,) bool: whether the category is predicted right.
        features: (N, D) float32, of the base.
    """

    categories: np.ndarray
    classes: np.ndarray
    modes: np.ndarray
    is_right: np.ndarray
    features: np.ndarray


class PixelReader:
    """Runs a model on images and pairs its modes with hidden classes.

    Args:
        model: a `DrslModel` with a multi-modal head, of the categories.
        to_category: (256,) hidden class -> category; 255 is ignored.
        inference: size and number of the images in a batch.
    """

    def __init__(
        self,
        model: DrslModel,
        to_category: np.ndarray,
        inference: Inference,
    ):
        self._model = model
        self._to_category = to_category
        self._inference = inference
        self._predict = tf.function(self._run_network, reduce_retracing=True)

    def read(self, domain: Domain, pairs: Sequence[Pair], title: str) -> Iterator[Pixels]:
        """Reads images.

        Args:
            domain: reads labels as hidden classes.
            pairs: images with labels.
            title: of the progress bar.

        Yields:
            The pixels of one batch.
        """
        batches = whole_images.iterate_image_batches(
            pairs,
            domain.read_image,
            domain.read_label,
            size=self._inference.size,
            batch_size=self._inference.batch_size,
        )
        stride, multiple = self._model.embedding_stride, self._model.size_multiple
        with progress.make_progress_bar(len(pairs), title, "image") as bar:
            for batch in batches:
                size = batch.images.shape[1:3]
                grid = tuple(-(-n // multiple) * multiple // stride for n in size)
                classes = np.stack(
                    [whole_images.sample_cells(label, size, grid, stride) for label in batch.labels]
                )
                categories = self._to_category[classes]
                arrays = self._predict(batch.images, tf.constant(categories, tf.int32))
                known = categories != label_spaces.IGNORE_ID
                yield Pixels(
                    categories[known], classes[known], *(array.numpy()[known] for array in arrays)
                )
                bar.update(len(batch.pairs))

    def _run_network(self, images, categories):
        """Returns nearest mode, whether the category is right, and features of all cells."""
        model = self._model
        features = model.base(pad_images(images, model.size_multiple), training=False)
        embedding = model.multimodal_head(features, training=False)
        logits = model.segmentation_head(features, training=False)
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        shape = tf.shape(embedding)[:3]
        distances = metric_learning.squared_distances(embedding, model.multimodal_head.modes)
        modes = metric_learning.nearest_modes(distances, categories)
        return (
            tf.reshape(modes, shape),
            tf.equal(segmentation.sample_labels(predicted, shape[1:]), categories),
            tf.cast(features[common.FEATURES], tf.float32),
        )


def measure(
    reader: PixelReader,
    splits: dict[str, tuple[Domain, Sequence[Pair]]],
    num_modes: int,
    num_clusters: int,
    spaces: tuple[LabelSpace, LabelSpace],
    seed: int = 0,
) -> dict[str, Any]:
    """Measures modes, and k-means on features, on both domains.

    k-means is fitted on a sample of the source's pixels. Modes and clusters vote for hidden classes
    on the source.

    Args:
        reader: reads the pixels.
        splits: domain and images of "source" and "target", with hidden classes as labels.
        num_modes: number K of modes.
        num_clusters: number of clusters of k-means.
        spaces: the categories and the hidden classes.
        seed: seed of samples and k-means.

    Returns:
        "source", "target" and "right", the target's pixels of rightly predicted category, and
        "kmeans", of the target, as `mode_agreement.describe_tables` returns them.
    """
    categories, classes = spaces
    shape = (categories.num_classes, num_modes, classes.num_classes)
    tables = {name: np.zeros(shape, np.int64) for name in ("source", "target", "right")}
    sample = PixelSample(_SAMPLE, np.random.default_rng(seed))
    for pixels in reader.read(*splits["source"], "source"):
        tables["source"] += mode_agreement.count_pixels(
            pixels.categories, pixels.modes, pixels.classes, shape
        )
        sample.add(pixels.categories, pixels.features, pixels.classes)
    drawn = sample.get()
    clusters = FeatureClusters({key: kept[0] for key, kept in drawn.items()}, num_clusters, seed)
    cluster_shape = (shape[0], num_clusters, shape[2])
    voting, found = (np.zeros(cluster_shape, np.int64) for _ in range(2))
    for category, (features, hidden) in drawn.items():
        ids = np.full(len(features), category)
        voting += mode_agreement.count_pixels(
            ids, clusters.assign(ids, features), hidden, cluster_shape
        )
    for pixels in reader.read(*splits["target"], "target"):
        arrays = pixels.categories, pixels.modes, pixels.classes
        tables["target"] += mode_agreement.count_pixels(*arrays, shape)
        right = (array[pixels.is_right] for array in arrays)
        tables["right"] += mode_agreement.count_pixels(*right, shape)
        assigned = clusters.assign(pixels.categories, pixels.features)
        found += mode_agreement.count_pixels(
            pixels.categories, assigned, pixels.classes, cluster_shape
        )
    names = categories.class_names, classes.class_names
    return {
        **{
            name: mode_agreement.describe_tables(table, tables["source"], *names)
            for name, table in tables.items()
        },
        "kmeans": mode_agreement.describe_tables(found, voting, *names),
    }
