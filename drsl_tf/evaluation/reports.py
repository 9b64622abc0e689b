"""The report of an evaluation: a table, JSON and CSV files, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from drsl_tf import files
from drsl_tf.evaluation import confusion_files
from drsl_tf.evaluation import protocols
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.confusion import to_percent


class EvaluationReport:
    """Reports the scores of predicted label maps.

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
        """Returns the content of the JSON file.

        Returns:
            A dict; IoUs in percent, None for a class that is neither present nor predicted, which
            the mean omits.
        """
        return {
            "schema": 1,
            **self._header,
            "miou": to_percent(self._confusion.mean_iou()),
            "num_classes_scored": self._confusion.num_present,
            "iou": dict(zip(self._class_names, map(to_percent, self._confusion.iou()))),
            "protocols": {name: scores.as_json() for name, scores in self._protocols.items()},
        }

    def format_table(self) -> str:
        """Formats the scores as text of several lines: one row per class, then the means.

        Every mean over 19, 16 or 13 of Cityscapes' classes names its convention.
        """
        width = max(len(name) for name in self._class_names)
        lines = [self._title, f"{'class':<{width}}     IoU (%)"]
        for name, value in zip(self._class_names, map(to_percent, self._confusion.iou())):
            lines.append(f"{name:<{width}}{_cell(value)}")
        lines.append("-" * (width + 12))
        scored, total = self._confusion.num_present, len(self._class_names)
        if str(total) not in self._protocols:
            mean = _cell(to_percent(self._confusion.mean_iou()))
            lines.append(f"{'mIoU':<{width}}{mean}   over {scored} of {total} classes")
        for name, scores in self._protocols.items():
            text = f"over {scores.num_classes} of {name} classes: {scores.convention}"
            lines.append(f"{'mIoU':<{width}}{_cell(scores.miou)}   {text}")
        return "\n".join(lines)

    def draw(self) -> Image.Image:
        """Draws the confusion matrix, each row in percent of its label's pixels."""
        # matplotlib is slow to import, which would delay training.
        from drsl_tf.figures import charts
        from drsl_tf.figures import rendering

        matrix = self._confusion.matrix
        figure = charts.draw_confusion(self._title, self._class_names, matrix)
        return rendering.to_image(figure)

    def write(self, json_path: str, csv_path: str, png_path: str) -> None:
        """Writes each of the report's files atomically, and creates their folders.

        Args:
            json_path: file of the scores.
            csv_path: file of the confusion matrix.
            png_path: file of its picture.

        Raises:
            UserError: they cannot be written.
        """
        confusion_files.write_confusion(csv_path, self._confusion, self._class_names)
        files.write_png(png_path, self.draw())
        # Last, so that its presence implies the others.
        files.write_json(json_path, self.as_dict())


def _cell(value):
    return f"{'-':>12}" if value is None else f"{value:>12.2f}"
