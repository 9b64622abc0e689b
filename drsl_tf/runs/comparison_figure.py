"""The figure that compares a run's first and last predictions."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf import files
from drsl_tf.runs.run_directory import RunDirectory

_PANEL_WIDTH = 3.2  # Inches.


class ComparisonFigure:
    """Draws image, truth, source-only and adapted prediction side by side.

    Predictions of the chosen frames are kept as PNGs of class ids, so a resumed run draws the
    same figure.

    Args:
        run_dir: the run's directory.
        domain: the target.
        pairs: frames to show, with labels.
    """

    def __init__(self, run_dir: str, domain: Domain, pairs: Sequence[Pair]):
        self._run = RunDirectory(run_dir)
        self._domain = domain
        self._pairs = list(pairs)

    def collect(self, round_index: int) -> Callable[[Pair, np.ndarray], None]:
        """Returns a function that stores the chosen frames' predictions of a round.

        Args:
            round_index: 0 for the source stage.

        Returns:
            A callable(pair, prediction (H, W) uint8).
        """
        chosen = {pair.name for pair in self._pairs}

        def keep(pair, prediction):
            if pair.name in chosen:
                path = self._find(round_index, pair)
                files.write_png(path, Image.fromarray(prediction))

        return keep

    def draw(self, last_round: int) -> str | None:
        """Draws the figure.

        Args:
            last_round: the round of the adapted predictions.

        Returns:
            Its path; None if there is no labelled frame to show.
        """
        rounds = sorted({0, last_round})
        # An image that the split gained during the run lacks earlier predictions.
        pairs = [
            pair for pair in self._pairs if all(os.path.isfile(self._find(r, pair)) for r in rounds)
        ]
        if not pairs:
            return None
        # matplotlib is slow to import, which would delay the start of training.
        from drsl_tf.figures import panel_grid
        from drsl_tf.figures import rendering

        titles = ["image", "truth", "source only"]
        if last_round:
            titles.append(f"adapted, round {last_round}")
        rows = []
        for pair in pairs:
            panels = map(panel_grid.Panel, titles, self._read_panels(pair, rounds))
            rows.append(panel_grid.Row("", list(panels)))
            titles = [""] * len(titles)
        figure = panel_grid.draw_panels(rows, _PANEL_WIDTH, self._domain.label_space)
        files.write_png(self._run.figure, rendering.to_image(figure))
        return self._run.figure

    def _read_panels(self, pair, rounds) -> list[np.ndarray]:
        maps = [self._domain.read_label(pair.label_path)]
        for round_index in rounds:
            maps.append(read_id_map(self._find(round_index, pair), self._domain.max_pixels))
        # A prediction without ground truth cannot be judged by eye either.
        maps = [np.where(maps[0] == common.IGNORE_ID, common.IGNORE_ID, ids) for ids in maps]
        return [self._domain.read_image(pair.image_path), *maps]

    def _find(self, round_index, pair):
        return os.path.join(self._run.locate_predictions(round_index), pair.name + ".png")
