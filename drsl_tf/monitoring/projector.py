"""Modes and pixel embeddings for TensorBoard's Projector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf import files
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.models import inference
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training import rounds

_HEADER = ("class", "domain", "mode")


class ProjectorWriter(keras.callbacks.Callback):
    """Writes, after every stage, the modes and some pixels of both domains.

    The class of a source pixel is its label, that of a target pixel its prediction; a pixel's mode
    is the nearest of its predicted class. Pixels are drawn evenly over the classes from a fixed
    set of images.

    Args:
        run_dir: the run's directory; tables are written to its TensorBoard folder.
        domains: the readers of "target" and, unless the adaptation is source-free, "source".
        pairs: the images to draw from, by domain; those of the source with labels.
        strategy: distribution strategy of the model.
        size: (height, width) of the network's input; None is each image's own.
        pixels_per_class: most pixels of a class in a domain.
        seed: seed of the draw.
    """

    def __init__(
        self,
        run_dir: str,
        domains: dict,
        pairs: dict,
        strategy: tf.distribute.Strategy,
        size: tuple[int, int] | None = None,
        *,
        pixels_per_class: int = 30,
        seed: int = 0,
    ):
        super().__init__()
        self._run_dir = RunDirectory(run_dir)
        self._domains = domains
        self._pairs = pairs
        self._strategy = strategy
        self._size = size
        self._pixels_per_class = pixels_per_class
        self._seed = seed
        self._run: ReplicatedFunction | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes vectors and metadata of a stage.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: not used.
        """
        head = self.model.multimodal_head
        if head is None:
            return
        if self._run is None:
            self._run = ReplicatedFunction(self._embed, self._strategy)
        modes = head.modes.numpy()
        names = self._domains[common.TARGET].label_space.class_names
        vectors = [modes.reshape(-1, modes.shape[-1])]
        rows = [(name, "mode", str(k)) for name in names for k in range(modes.shape[1])]
        for place, domain in enumerate((common.SOURCE, common.TARGET)):
            if domain not in self._domains:
                continue
            rng = np.random.default_rng([self._seed, place])
            drawn, classes, nearest = self._draw(domain, rng)
            vectors.append(drawn)
            rows += [(names[c], domain, str(m)) for c, m in zip(classes, nearest)]
        lines = ["\t".join(f"{x:.5g}" for x in vector) for vector in np.concatenate(vectors)]
        files.write_text(self._run_dir.locate_vectors(epoch), "\n".join(lines) + "\n")
        table = ["\t".join(row) for row in (_HEADER, *rows)]
        files.write_text(self._run_dir.locate_vector_metadata(epoch), "\n".join(table) + "\n")
        self._list_stages(epoch)

    def _embed(self, images):
        outputs = inference.predict_logits(self.model, images)
        embedding = outputs[common.EMBEDDING]
        return embedding, rounds.find_modes(outputs, self.model.multimodal_head.modes)

    def _draw(self, domain, rng):
        """Returns (n, d) embeddings, (n,) classes and (n,) modes."""
        parts: list[tuple] = []
        modes_per_class = self.model.multimodal_head.modes_per_class
        for pair, image in self._read_images(domain):
            embedding, nearest = (result[0] for result in self._run(image[np.newaxis]))
            classes = nearest // modes_per_class
            if domain == common.SOURCE:
                classes = self._sample_labels(pair, image.shape[:2], classes.shape)
            # The network's images are padded; cells in the padding are excluded.
            rows, columns = (-(-n // self.model.embedding_stride) for n in image.shape[:2])
            inside = np.zeros(classes.shape, bool)
            inside[:rows, :columns] = True
            chosen = inside & (classes != common.IGNORE_ID)
            parts.append((embedding[chosen], classes[chosen], nearest[chosen] % modes_per_class))
        vectors, classes, nearest = (np.concatenate(part) for part in zip(*parts))
        order = rng.permutation(len(classes))
        kept = [order[classes[order] == c][: self._pixels_per_class] for c in np.unique(classes)]
        index = np.concatenate(kept) if kept else np.zeros(0, int)
        return vectors[index], classes[index], nearest[index]

    def _read_images(self, domain):
        batches = image_batches.iterate_image_batches(
            self._pairs[domain], self._domains[domain].read_image, size=self._size, batch_size=1
        )
        for batch in batches:
            yield batch.pairs[0], batch.images[0]

    def _sample_labels(self, pair: Pair, size: Sequence[int], grid: Sequence[int]):
        """Returns the (h, w) labels at the centres of the embedding's cells, 255 in the padding."""
        reader: Domain = self._domains[common.SOURCE]
        assert pair.label_path is not None  # The source is labelled.
        label = reader.read_label(pair.label_path)
        stride = self.model.embedding_stride
        picks = []
        for axis in (0, 1):
            centre = np.minimum(np.arange(grid[axis]) * stride + stride // 2, size[axis] - 1)
            picks.append(centre * label.shape[axis] // size[axis])
        return label[np.ix_(*picks)].astype(np.int64)

    def _list_stages(self, last):
        """Lists every stage on disk for the Projector, the newest first."""
        entries = []
        for stage in range(last, -1, -1):
            vectors = self._run_dir.locate_vectors(stage)
            metadata = self._run_dir.locate_vector_metadata(stage)
            if os.path.isfile(vectors):
                title = f"round {stage}" if stage else "source stage"
                entries.append(
                    "embeddings {\n"
                    f'  tensor_name: "{title}"\n'
                    f'  tensor_path: "{self._relate(vectors)}"\n'
                    f'  metadata_path: "{self._relate(metadata)}"\n'
                    "}\n"
                )
        files.write_text(self._run_dir.projector_config, "".join(entries))

    def _relate(self, path: str) -> str:
        """Returns a path relative to TensorBoard's folder, as the Projector reads it."""
        return os.path.relpath(path, self._run_dir.tensorboard).replace(os.sep, "/")
