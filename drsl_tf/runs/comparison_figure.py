"""The figure that compares a run's first and last predictions."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL import ImageDraw

from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from drsl_tf import common
from drsl_tf import files
from drsl_tf.figures import label_maps
from drsl_tf.runs.run_directory import RunDirectory

_PANEL_WIDTH = 320
_GAP = 6


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
        """Gives the function that keeps the chosen frames' predictions of a round.

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
            last_round: the round whose predictions are the adapted ones.

        Returns:
            Its path; None where there is no labelled frame to show.
        """
        if not self._pairs:
            return None
        titles = ["image", "truth", "source only"]
        if last_round:
            titles.append(f"adapted, round {last_round}")
        rows = [self._make_row(pair, last_round) for pair in self._pairs]
        legend = label_maps.draw_legend(
            self._domain.label_space, len(titles) * (_PANEL_WIDTH + _GAP) - _GAP
        )
        height = sum(row[0].height + _GAP for row in rows) + label_maps.TEXT_HEIGHT + legend.height
        sheet = Image.new("RGB", (legend.width, height), "white")
        draw = ImageDraw.Draw(sheet)
        for column, title in enumerate(titles):
            draw.text((column * (_PANEL_WIDTH + _GAP), 0), title, "black", label_maps.load_font())
        top = label_maps.TEXT_HEIGHT
        for row in rows:
            for column, panel in enumerate(row):
                sheet.paste(panel, (column * (_PANEL_WIDTH + _GAP), top))
            top += row[0].height + _GAP
        sheet.paste(legend, (0, top))
        files.write_png(self._run.figure, sheet)
        return self._run.figure

    def _make_row(self, pair, last_round) -> list[Image.Image]:
        maps = [self._domain.read_label(pair.label_path)]
        for round_index in sorted({0, last_round}):
            maps.append(read_id_map(self._find(round_index, pair), self._domain.max_pixels))
        # A prediction where the truth says nothing cannot be judged by eye either.
        maps = [np.where(maps[0] == common.IGNORE_ID, common.IGNORE_ID, ids) for ids in maps]
        image = Image.fromarray(self._domain.read_image(pair.image_path))
        size = (_PANEL_WIDTH, round(_PANEL_WIDTH * image.height / image.width))
        panels = [image.resize(size, Image.Resampling.LANCZOS)]
        for ids in maps:
            painted = Image.fromarray(label_maps.color_label_map(ids, self._domain.label_space))
            panels.append(painted.resize(size, Image.Resampling.NEAREST))
        return panels

    def _find(self, round_index, pair):
        return os.path.join(self._run.locate_predictions(round_index), pair.name + ".png")
