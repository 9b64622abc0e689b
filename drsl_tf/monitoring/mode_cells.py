"""Pixels of a few images with their classes and nearest modes, at the embedding's stride."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.models import inference
from drsl_tf.models.model import DrslModel


class Cells(NamedTuple):
    """The cells of one image's embedding that have a class.

    Attributes:
        image: (H, W, 3) float32 in [0, 255].
        centres: (n, 2) row and column of their centres in the image.
        vectors: (n, d) embeddings, unit vectors.
        classes: (n,) classes.
        modes: (n,) nearest mode of the class.
        cosines: (n,) cosine of the embedding and that mode.
    """

    image: np.ndarray
    centres: np.ndarray
    vectors: np.ndarray
    classes: np.ndarray
    modes: np.ndarray
    cosines: np.ndarray


class CellReader:
    """Runs a model with a multi-modal head on images of both domains.

    The class of a source pixel is its label, that of a target pixel its prediction.

    Args:
        domains: the readers of "target" and, unless the adaptation is source-free, "source".
        strategy: distribution strategy of the model.
        size: (height, width) of the network's input; None is each image's own.
    """

    def __init__(
        self,
        domains: Mapping[str, Domain],
        strategy: tf.distribute.Strategy,
        size: tuple[int, int] | None = None,
    ):
        self.domains = dict(domains)
        self._strategy = strategy
        self._size = size
        self._run: ReplicatedFunction | None = None

    def read(self, model: DrslModel, role: str, pairs: Sequence[Pair]) -> Iterator[Cells]:
        """Reads images.

        Args:
            model: the same at every call.
            role: "source" or "target".
            pairs: its images; those of the source with labels.

        Yields:
            The cells of each image.
        """
        if self._run is None:
            self._run = ReplicatedFunction(lambda images: _embed(model, images), self._strategy)
        assert model.multimodal_head is not None
        domain, modes = self.domains[role], model.multimodal_head.modes.numpy()
        batches = image_batches.iterate_image_batches(
            pairs,
            domain.read_image,
            domain.read_label if role == common.SOURCE else None,
            size=self._size,
            batch_size=1,
        )
        stride = model.embedding_stride
        for batch in batches:
            image = batch.images[0]
            embedding, classes = (result[0] for result in self._run(batch.images))
            size, grid = image.shape[:2], classes.shape
            if batch.labels is not None:
                classes = image_batches.sample_cells(batch.labels[0], size, grid, stride)
            rows, columns = np.indices(grid) * stride + stride // 2
            # The network's images are padded; cells in the padding are excluded.
            chosen = (rows < size[0]) & (columns < size[1]) & (classes != common.IGNORE_ID)
            vectors, classes = embedding[chosen], classes[chosen].astype(np.int64)
            cosines = np.zeros((len(classes), modes.shape[1]), np.float32)
            for index in np.unique(classes):
                cosines[classes == index] = vectors[classes == index] @ modes[index].T
            yield Cells(
                image,
                np.stack([rows[chosen], columns[chosen]], axis=-1),
                vectors,
                classes,
                cosines.argmax(axis=1),
                cosines.max(axis=1),
            )


def measure_distances(modes: np.ndarray) -> np.ndarray:
    """Computes the Euclidean distances between the modes of a class.

    Args:
        modes: (K, d) unit vectors.

    Returns:
        (K (K - 1) / 2,) numbers from 0 to 2, of all pairs.
    """
    first, second = np.triu_indices(len(modes), 1)
    return np.linalg.norm(modes[first] - modes[second], axis=-1)


def _embed(model, images):
    outputs = inference.predict_logits(model, images)
    return outputs[common.EMBEDDING], inference.predict_cells(outputs)
