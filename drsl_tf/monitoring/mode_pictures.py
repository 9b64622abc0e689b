"""Pictures of the pixels nearest to each mode, at the end of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from data_pipelines.batches.augment import PAD_VALUE
from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf import files
from drsl_tf.figures import label_maps
from drsl_tf.monitoring.mode_cells import CellReader
from drsl_tf.monitoring.mode_cells import Cells
from drsl_tf.monitoring.mode_cells import measure_distances
from drsl_tf.runs.run_directory import RunDirectory

_CROPS = 8
_CROP_PIXELS = 64  # Side of a crop in the picture.
_CROP_SHARE = 3  # The side of a crop is the shorter side of the image over this.
_COLORS = 256


class ModePictures(keras.callbacks.Callback):
    """Writes, after the last round, a picture of the modes of every class.

    For each mode it shows the pixels nearest to it, at most one of an image, source above target,
    and the shares of the pixels that have this mode. The pictures are `RUN_DIR/modes/CLASS_ID.png`.

    Args:
        run_dir: the run's directory.
        reader: reads the pixels of both domains.
        pairs: the images to choose from, by domain; those of the source with labels.
        last_round: the round after which to write.

    Attributes:
        pictures: after the last round, (H, W, 3) uint8 by name, such as "modes/road".
    """

    def __init__(
        self,
        run_dir: str,
        reader: CellReader,
        pairs: Mapping[str, Sequence[Pair]],
        last_round: int,
    ):
        super().__init__()
        self._run_dir = RunDirectory(run_dir)
        self._reader = reader
        self._pairs = pairs
        self._last_round = last_round
        self.pictures: dict[str, np.ndarray] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the pictures.

        Args:
            epoch: 0 for the source stage, then the round.
            logs: not used.
        """
        head = self.model.multimodal_head
        if epoch != self._last_round or head is None:
            return
        # Those of fewer rounds.
        folder = os.path.dirname(self._run_dir.locate_mode_picture(0))
        shutil.rmtree(folder, ignore_errors=True)
        # matplotlib is slow to import, which would delay the start of training.
        from drsl_tf.figures import mode_strips
        from drsl_tf.figures import rendering

        space = self._reader.domains[common.TARGET].label_space
        shape = space.num_classes, head.modes_per_class
        found = {}
        for role in (common.SOURCE, common.TARGET):
            if role in self._reader.domains:
                found[role] = NearestCrops(shape)
                for cells in self._reader.read(self.model, role, self._pairs[role]):
                    found[role].add(cells)
        palette = label_maps.make_mode_palette(space, shape[1]).reshape(*shape, 3)
        for index, name in enumerate(space.class_names):
            modes = [
                mode_strips.Mode(
                    palette[index, mode],
                    [
                        mode_strips.Strip(role, *crops.get(index, mode))
                        for role, crops in found.items()
                    ],
                )
                for mode in range(shape[1])
            ]
            if not any(strip.crops for mode in modes for strip in mode.strips):
                continue
            title = f"{name}: the pixels nearest to each mode, and the share of pixels with it"
            note = _describe_distances(head.modes.numpy()[index])
            picture = rendering.to_image(mode_strips.draw_modes(title, modes, _CROPS, note))
            self.pictures[f"modes/{name}"] = np.asarray(picture)
            # A third of the size; reports contain the files.
            small = picture.quantize(_COLORS, method=Image.Quantize.FASTOCTREE)
            files.write_png(self._run_dir.locate_mode_picture(index), small)


class NearestCrops:
    """The crops around the pixels nearest to each mode, of the images added so far.

    Args:
        shape: (C, K), the numbers of classes and of modes of a class.
    """

    def __init__(self, shape: tuple[int, int]):
        self._usage = np.zeros(shape, np.int64)
        self._crops: dict[tuple[int, int], list[tuple[float, np.ndarray]]] = {}

    def add(self, cells: Cells) -> None:
        """Offers the cells of an image.

        Args:
            cells: of one image.
        """
        np.add.at(self._usage, (cells.classes, cells.modes), 1)
        for key in set(zip(cells.classes.tolist(), cells.modes.tolist())):
            members = np.flatnonzero((cells.classes == key[0]) & (cells.modes == key[1]))
            nearest = members[cells.cosines[members].argmax()]
            cosine = float(cells.cosines[nearest])
            kept = self._crops.setdefault(key, [])
            if len(kept) < _CROPS or cosine > kept[-1][0]:
                kept.append((cosine, cut_crop(cells.image, cells.centres[nearest])))
                kept.sort(key=lambda entry: -entry[0])
                del kept[_CROPS:]

    def get(self, class_id: int, mode: int) -> tuple[float | None, list[np.ndarray]]:
        """Returns the share and the crops of a mode.

        Args:
            class_id: the class.
            mode: one of its modes.

        Returns:
            The share of the class's pixels that have the mode, None without pixels; and the crops,
            (s, s, 3) uint8, the nearest pixel's first.
        """
        total = self._usage[class_id].sum()
        share = float(self._usage[class_id, mode] / total) if total else None
        return share, [crop for _, crop in self._crops.get((class_id, mode), [])]


def _describe_distances(modes):
    distances = measure_distances(modes)
    if not distances.size:
        return ""
    return (
        f"Distances between these modes: {distances.min():.2f} to {distances.max():.2f} "
        "(0 is identical, 2 opposite)"
    )


def cut_crop(image: np.ndarray, centre: Sequence[int] | np.ndarray) -> np.ndarray:
    """Cuts a square around a pixel, grey where it exceeds the image.

    Args:
        image: (H, W, 3) float32 in [0, 255].
        centre: row and column of the pixel.

    Returns:
        (64, 64, 3) uint8.
    """
    reach = max(1, min(image.shape[:2]) // (2 * _CROP_SHARE))
    padded = np.pad(image, [(reach, reach), (reach, reach), (0, 0)], constant_values=PAD_VALUE)
    row, column = map(int, centre)
    square = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
    picture = Image.fromarray(np.clip(square + 0.5, 0, 255).astype(np.uint8))
    return np.asarray(picture.resize((_CROP_PIXELS, _CROP_PIXELS), Image.Resampling.LANCZOS))
