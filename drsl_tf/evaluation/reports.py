"""The report of an evaluation: a table to read, JSON and CSV to work with, a picture to see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont

from drsl_tf import files
from drsl_tf.evaluation import confusion_files
from drsl_tf.evaluation import protocols
from drsl_tf.evaluation.confusion import ConfusionMatrix

_CELL = 34
_FONT_SIZE = 13
_MARGIN = 12
_HOT = np.array((8, 48, 107))
_INK_LIMIT = 0.5


class EvaluationReport:
    """Says how well label maps were predicted.

    Args:
        confusion: counts over the whole split.
        class_names: names of the classes, in the order of their ids.
        header: what was evaluated and how; JSON-ready, its entries come first.
    """

    def __init__(
        self, confusion: ConfusionMatrix, class_names: Sequence[str], header: dict[str, Any]
    ):
        self._confusion = confusion
        self._class_names = list(class_names)
        self._header = dict(header)
        self._title = self._header.get("title", "Confusion matrix")
        self._protocols = protocols.score_protocols(confusion, self._class_names)

    def as_dict(self) -> dict[str, Any]:
        """Gives the content of the JSON file.

        Returns:
            A dict; IoUs in percent, None for a class that is neither present nor predicted, which
            the mean leaves out.
        """
        return {
            "schema": 1,
            **self._header,
            "miou": _percent(self._confusion.mean_iou()),
            "num_classes_scored": self._confusion.num_present,
            "iou": dict(zip(self._class_names, map(_percent, self._confusion.iou()))),
            "protocols": {name: scores.as_json() for name, scores in self._protocols.items()},
        }

    def format_table(self) -> str:
        """Formats the scores as text of several lines: a row a class, then the means.

        Every mean over Cityscapes' classes says which 19, 16 or 13 they are: by which head.
        """
        width = max(len(name) for name in self._class_names)
        lines = [self._title, f"{'class':<{width}}     IoU (%)"]
        for name, value in zip(self._class_names, map(_percent, self._confusion.iou())):
            lines.append(f"{name:<{width}}{_cell(value)}")
        lines.append("-" * (width + 12))
        scored, total = self._confusion.num_present, len(self._class_names)
        if str(total) not in self._protocols:
            mean = _cell(_percent(self._confusion.mean_iou()))
            lines.append(f"{'mIoU':<{width}}{mean}   over {scored} of {total} classes")
        for name, scores in self._protocols.items():
            text = f"over {scores.num_classes} of {name} classes: {scores.convention}"
            lines.append(f"{'mIoU':<{width}}{_cell(scores.miou)}   {text}")
        return "\n".join(lines)

    def draw(self) -> Image.Image:
        """Draws the confusion matrix, each row in percent of its label's pixels."""
        matrix = self._confusion.matrix
        columns = [*self._class_names, confusion_files.NO_CLASS]
        if not matrix[:, -1].any():
            matrix, columns = matrix[:, :-1], columns[:-1]
        sums = matrix.sum(axis=1, keepdims=True)
        shares = matrix / np.maximum(sums, 1)
        font = ImageFont.load_default(_FONT_SIZE)
        side = round(max(font.getlength(name) for name in columns)) + _MARGIN
        left, top = 2 * _MARGIN + side, 5 * _MARGIN + side
        right, bottom = left + _CELL * len(columns), top + _CELL * len(matrix)
        sheet = Image.new("RGB", (right + _MARGIN, bottom + 3 * _MARGIN), "white")
        draw = ImageDraw.Draw(sheet)
        draw.text((_MARGIN, _MARGIN), self._title, "black", font)
        caption = "rows: label, columns: prediction; percent of the label's pixels"
        draw.text((_MARGIN, 2.5 * _MARGIN), caption, "dimgray", font)
        for column, name in enumerate(columns):
            text = Image.new("RGB", (side, _CELL), "white")
            ImageDraw.Draw(text).text((4, _CELL // 2), name, "black", font, anchor="lm")
            sheet.paste(text.rotate(90, expand=True), (left + column * _CELL, top - side))
        for row, name in enumerate(self._class_names):
            middle = top + row * _CELL + _CELL // 2
            draw.text((left - 6, middle), name, "black", font, anchor="rm")
            for column in range(len(columns)):
                self._draw_cell(
                    draw,
                    font,
                    left + column * _CELL,
                    top + row * _CELL,
                    shares[row, column],
                    sums[row, 0],
                )
        draw.rectangle((left, top, right, bottom), outline="black")
        note = "blank rows: no pixel has the label" if not sums.all() else ""
        draw.text((left, bottom + _MARGIN), note, "dimgray", font)
        needed = round(max(font.getlength(self._title), font.getlength(caption))) + 2 * _MARGIN
        if needed > sheet.width:
            wide = Image.new("RGB", (needed, sheet.height), "white")
            wide.paste(sheet, (0, 0))
            ImageDraw.Draw(wide).text((_MARGIN, _MARGIN), self._title, "black", font)
            ImageDraw.Draw(wide).text((_MARGIN, 2.5 * _MARGIN), caption, "dimgray", font)
            return wide
        return sheet

    def write(self, json_path: str, csv_path: str, png_path: str) -> None:
        """Writes the report's files, each whole or not at all; their folders are made.

        Args:
            json_path: where the scores go.
            csv_path: where the confusion matrix goes.
            png_path: where the picture of it goes.

        Raises:
            UserError: they cannot be written.
        """
        confusion_files.write_confusion(csv_path, self._confusion, self._class_names)
        files.write_png(png_path, self.draw())
        # Last, for whoever takes it as the sign that the others are there.
        files.write_json(json_path, self.as_dict())

    @staticmethod
    def _draw_cell(draw, font, x, y, share, pixels):
        if not pixels:
            return
        color = tuple(np.round(255 + (_HOT - 255) * share).astype(int).tolist())
        draw.rectangle((x, y, x + _CELL, y + _CELL), fill=color, outline="lightgray")
        text = f"{100 * share:.0f}"
        if share and text == "0":
            text = "<1"
        if share:
            ink = "white" if share > _INK_LIMIT else "black"
            draw.text((x + _CELL // 2, y + _CELL // 2), text, ink, font, anchor="mm")


def _percent(fraction):
    return None if np.isnan(fraction) else 100.0 * float(fraction)


def _cell(value):
    return f"{'-':>12}" if value is None else f"{value:>12.2f}"
