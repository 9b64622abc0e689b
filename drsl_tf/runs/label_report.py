"""The report of a round's pseudo-labels: the model of `report.json`."""

from __future__ import annotations

from typing import Annotated
from typing import Literal

import pydantic

from data_pipelines.io.json_models import VersionedModel
from drsl_tf import files

_Share = Annotated[float, pydantic.Field(ge=0, le=1)]
# The rule "ratio" labels pixels as a class that they were not predicted as.
_Ratio = Annotated[float, pydantic.Field(ge=0)]


class LabelReport(files.Entry):
    """Number of pixels that a round labels, their thresholds and accuracy.

    Attributes:
        round: 1 for the first round.
        portion: share of each class's pixels that the round was to select.
        fraction: share of all pixels that have a label.
        accuracy: share of the correct labels, where the truth is known; None without truth.
        fractions: share of the pixels predicted as a class that have its label, by class name; None
            for a class that is never predicted.
        accuracies: share of a class's correct labels; None without truth.
        pixels: labelled pixels, by class name.
        thresholds: least confidence of a labelled pixel, by class name.
        mode_usage: cells of the embedding predicted as a class, by their nearest mode; None without
            a multi-modal head.
    """

    round: int
    portion: _Share
    fraction: _Share
    accuracy: _Share | None
    fractions: dict[str, _Ratio | None]
    accuracies: dict[str, _Share | None] | None
    pixels: dict[str, int]
    thresholds: dict[str, _Share]
    mode_usage: dict[str, list[int]] | None

    @pydantic.model_validator(mode="after")
    def _check_classes(self) -> LabelReport:
        for key in ("fractions", "accuracies", "pixels", "mode_usage"):
            values = getattr(self, key)
            if values is not None and list(values) != list(self.thresholds):
                raise ValueError(f"{key} are of other classes than thresholds")
        return self


class LabelReportFile(LabelReport, VersionedModel):
    """The content of `report.json`; versions that wrote no schema wrote the same fields."""

    version: Literal[1] = pydantic.Field(default=1, alias="schema")


def read_label_report(path: str) -> LabelReportFile:
    """Reads the report of a round's pseudo-labels.

    Args:
        path: the file `report.json`.

    Returns:
        Its content.

    Raises:
        UserError: it cannot be read, or holds an invalid value.
    """
    fix = "Put a copy of it back, or start over with --fresh."
    return files.read_model(path, LabelReportFile, fix)
