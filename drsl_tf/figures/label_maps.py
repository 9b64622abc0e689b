"""Pictures of label maps, and the figure that compares a run's first and last predictions."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import common
from drsl_tf import files

_IGNORE_COLOR = (0, 0, 0)
# Even in lightness, so that they read in grey and by colour-blind people.
_CONFIDENCE_COLORS = (
    (0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164),
)  # fmt: skip
_PANEL_WIDTH = 320
_GAP = 6
_TEXT_HEIGHT = 16
_FONT_SIZE = 12


def color_label_map(label: np.ndarray, label_space: LabelSpace) -> np.ndarray:
    """Paints class ids in the label space's palette.

    Args:
        label: (H, W) uint8 ids; those without a class are black.
        label_space: gives the palette.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    table = np.full((256, 3), _IGNORE_COLOR, np.uint8)
    table[: label_space.num_classes] = label_space.palette
    return table[label]


def color_confidence(confidence: np.ndarray) -> np.ndarray:
    """Paints confidences: black for 0 over violet and orange to pale yellow for 1.

    Args:
        confidence: (H, W) float in [0, 1].

    Returns:
        (H, W, 3) uint8 RGB.
    """
    places = np.linspace(0.0, 1.0, len(_CONFIDENCE_COLORS))
    channels = np.transpose(_CONFIDENCE_COLORS)
    painted = [np.interp(confidence, places, channel) for channel in channels]
    return np.rint(np.stack(painted, axis=-1)).astype(np.uint8)


def make_mode_palette(label_space: LabelSpace, modes_per_class: int) -> np.ndarray:
    """Gives every mode a shade of its class's colour, from dark to light.

    Args:
        label_space: gives the classes' colours.
        modes_per_class: K.

    Returns:
        (C * K, 3) uint8 RGB; mode k of class c has row c * K + k.
    """
    base = np.repeat(np.array(label_space.palette, np.float64), modes_per_class, axis=0)
    shift = np.linspace(-0.5, 0.5, modes_per_class) if modes_per_class > 1 else np.zeros(1)
    shift = np.tile(shift, label_space.num_classes)[:, np.newaxis]
    # Towards black below the class's own colour, towards white above it.
    shades = np.where(shift < 0, base * (1 + shift), base + (255 - base) * shift)
    return np.rint(shades).astype(np.uint8)


def draw_legend(label_space: LabelSpace, width: int) -> Image.Image:
    """Draws the classes' names beside their colours.

    Args:
        label_space: the classes.
        width: pixels from left to right; as many lines as needed.

    Returns:
        The picture.
    """
    font = load_font()
    swatch = _FONT_SIZE
    places, left, top = [], 0, 0
    for name in (*label_space.class_names, "ignored"):
        needed = swatch + 4 + round(font.getlength(name)) + 14
        if left + needed > width:
            left, top = 0, top + _TEXT_HEIGHT + 2
        places.append((name, left, top))
        left += needed
    legend = Image.new("RGB", (width, top + _TEXT_HEIGHT + 2), "white")
    draw = ImageDraw.Draw(legend)
    for (name, left, top), color in zip(places, (*label_space.palette, _IGNORE_COLOR)):
        box = (left, top + 2, left + swatch, top + 2 + swatch)
        draw.rectangle(box, fill=tuple(color), outline="black")
        draw.text((left + swatch + 4, top + 1), name, "black", font)
    return legend


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
        self.path = os.path.join(run_dir, "figure.png")
        self._directory = os.path.join(run_dir, "predictions")
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
        legend = draw_legend(self._domain.label_space, len(titles) * (_PANEL_WIDTH + _GAP) - _GAP)
        height = sum(row[0].height + _GAP for row in rows) + _TEXT_HEIGHT + legend.height
        sheet = Image.new("RGB", (legend.width, height), "white")
        draw = ImageDraw.Draw(sheet)
        for column, title in enumerate(titles):
            draw.text((column * (_PANEL_WIDTH + _GAP), 0), title, "black", load_font())
        top = _TEXT_HEIGHT
        for row in rows:
            for column, panel in enumerate(row):
                sheet.paste(panel, (column * (_PANEL_WIDTH + _GAP), top))
            top += row[0].height + _GAP
        sheet.paste(legend, (0, top))
        files.write_png(self.path, sheet)
        return self.path

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
            painted = Image.fromarray(color_label_map(ids, self._domain.label_space))
            panels.append(painted.resize(size, Image.Resampling.NEAREST))
        return panels

    def _find(self, round_index, pair):
        return os.path.join(self._directory, f"round_{round_index}", pair.name + ".png")


def load_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Loads the font of all pictures."""
    return ImageFont.load_default(_FONT_SIZE)
