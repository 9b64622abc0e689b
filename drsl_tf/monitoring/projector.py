"""Modes and pixel embeddings for TensorBoard's Projector."""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf import files
from drsl_tf.monitoring.mode_cells import CellReader
from drsl_tf.runs.run_directory import RunDirectory

_HEADER = ("class", "domain", "mode")
_PIXELS_PER_CLASS = 30  # Of a domain.


class ProjectorWriter(keras.callbacks.Callback):
    """Writes, after every stage, the modes and some pixels of both domains.

    Pixels are drawn evenly over the classes from a fixed set of images.

    Args:
        run_dir: the run's directory; tables are written to its TensorBoard folder.
        reader: reads the pixels of both domains.
        pairs: the images to draw from, by domain; those of the source with labels.
    """

    def __init__(
        self,
        run_dir: str,
        reader: CellReader,
        pairs: Mapping[str, Sequence[Pair]],
    ):
        super().__init__()
        self._run_dir = RunDirectory(run_dir)
        self._reader = reader
        self._pairs = pairs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes vectors and metadata of a stage.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: not used.
        """
        head = self.model.multimodal_head
        if head is None:
            return
        modes = head.modes.numpy()
        names = self._reader.domains[common.TARGET].label_space.class_names
        vectors = [modes.reshape(-1, modes.shape[-1])]
        rows = [(name, "mode", str(k)) for name in names for k in range(modes.shape[1])]
        for place, domain in enumerate((common.SOURCE, common.TARGET)):
            if domain not in self._reader.domains:
                continue
            rng = np.random.default_rng(place)
            drawn, classes, nearest = self._draw(domain, rng)
            vectors.append(drawn)
            rows += [(names[c], domain, str(m)) for c, m in zip(classes, nearest)]
        lines = ["\t".join(f"{x:.5g}" for x in vector) for vector in np.concatenate(vectors)]
        files.write_text(self._run_dir.locate_vectors(epoch), "\n".join(lines) + "\n")
        table = ["\t".join(row) for row in (_HEADER, *rows)]
        files.write_text(self._run_dir.locate_vector_metadata(epoch), "\n".join(table) + "\n")
        self._list_stages(epoch)

    def _draw(self, role, rng):
        """Returns (n, d) embeddings, (n,) classes and (n,) modes."""
        found = [
            (cells.vectors, cells.classes, cells.modes)
            for cells in self._reader.read(self.model, role, self._pairs[role])
        ]
        vectors, classes, nearest = (np.concatenate(part) for part in zip(*found))
        order = rng.permutation(len(classes))
        kept = [order[classes[order] == c][:_PIXELS_PER_CLASS] for c in np.unique(classes)]
        index = np.concatenate(kept) if kept else np.zeros(0, int)
        return vectors[index], classes[index], nearest[index]

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
