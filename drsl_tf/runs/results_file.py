"""The record of a run: `results.json`, and the printed table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import pydantic

from data_pipelines.errors import UserError
from drsl_tf import files
from drsl_tf.evaluation import confusion_files
from drsl_tf.evaluation import protocols
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.confusion import to_percent
from drsl_tf.runs import results_schema
from drsl_tf.runs import selection
from drsl_tf.runs import verdict
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.runs.results_schema import RunResults
from drsl_tf.runs.results_schema import Selected
from drsl_tf.runs.results_schema import Stage
from drsl_tf.runs.results_schema import StageScores
from drsl_tf.runs.results_schema import Verdict
from drsl_tf.runs.run_directory import RunDirectory

_PACKAGES = ("drsl_tf", "tensorflow", "keras", "keras-cv", "tensorflow-addons", "numpy")


class ResultsFile:
    """Reads and writes `results.json`, valid after every round.

    Args:
        run_dir: the run's directory.
        experiment: the experiment's name.
        seed: the experiment's seed.
        class_names: names of the classes, in the order of their ids.
        initial_run: directory of the run whose weights this one started from, if any.
        is_chief: whether this process writes the files of its job.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        experiment: str,
        seed: int,
        class_names: Sequence[str],
        initial_run: str | None = None,
        is_chief: bool = True,
    ):
        self._run = RunDirectory(run_dir)
        self.path = self._run.results
        self._is_chief = is_chief
        self._class_names = list(class_names)
        self._record = RunResults(
            schema=1,
            experiment=experiment,
            seed=seed,
            initial_run=initial_run,
            versions=_list_versions(),
            stages=[],
        )
        self.stages: list[Stage] = []
        if os.path.exists(self.path):
            try:
                self.stages = results_schema.read_results(self.path).stages
            except UserError as error:
                raise UserError(
                    f"{error} Its scores cannot be carried on otherwise; or start over with "
                    "--fresh."
                ) from error

    def record_stage(
        self,
        round_index: int,
        confusion: ConfusionMatrix | None,
        pseudo_label: LabelReport | None,
        seconds: float,
        warnings: Sequence[str] = (),
        *,
        steps: int | None = None,
        label_free: LabelFreeScores | None = None,
    ) -> Stage:
        """Adds a stage, or replaces that of the same round, and writes the file.

        The confusion matrix is written to `confusion/round_N.csv`.

        Args:
            round_index: 0 for the source stage.
            confusion: scores on the target; None where it has no labels.
            pseudo_label: report of the pseudo-labels it trained on; None in the source stage.
            seconds: wall time of the stage, over all processes that ran it.
            warnings: sentences for the user.
            steps: training steps of the stage.
            label_free: scores on unlabelled target images; None without a selection.

        Returns:
            The stage's entry in the file.
        """
        scores: dict[str, Any] = {"miou": None, "iou": None, "protocols": {}}
        if confusion is not None:
            scores = {
                "miou": to_percent(confusion.mean_iou()),
                "iou": dict(zip(self._class_names, map(to_percent, confusion.iou()))),
                "num_classes_scored": confusion.num_present,
                "protocols": protocols.score_protocols(confusion, self._class_names),
            }
            if self._is_chief:
                confusion_files.write_confusion(
                    self._run.locate_confusion(round_index),
                    confusion,
                    self._class_names,
                )
        if label_free is not None:
            scores["label_free"] = label_free
        stage = Stage(
            round=round_index,
            pseudo_label=pseudo_label,
            warnings=list(warnings),
            steps=steps,
            seconds=round(seconds, 1),
            **scores,
        )
        self._put(stage)
        return stage

    def record_statistics(self, label_free: LabelFreeScores) -> None:
        """Adds the scores of the source stage with the target's statistics, and writes the file.

        Args:
            label_free: scores on unlabelled target images.
        """
        for source in [stage for stage in self.stages if stage.round == 0]:
            self._put(source.model_copy(update={"label_free_with_statistics": label_free}))

    def _put(self, stage):
        self.stages = [s for s in self.stages if s.round != stage.round] + [stage]
        self.stages.sort(key=lambda s: s.round)
        if self._is_chief:
            files.write_json(self.path, self.as_dict())

    @property
    def best_round(self) -> int | None:
        """The round of highest mIoU, chosen with target labels; None without them."""
        return results_schema.find_best_round(self.stages)

    @property
    def selected(self) -> Selected | None:
        """The model selected without target labels so far; None without a selection."""
        return selection.select(self.stages)

    @property
    def verdict(self) -> Verdict | None:
        """Whether adaptation has helped so far, see `verdict.judge`."""
        return verdict.judge(self.stages, self._record.initial_run)

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of the file.

        Returns:
            The dict under the schema of `docs/runs.md`; "best" is chosen with target labels
            and is null where there are none.
        """
        last = self.stages[-1] if self.stages else None
        best = [stage for stage in self.stages if stage.round == self.best_round]
        content = {
            "stages": self.stages,
            "last": None if last is None else _summarise(last),
            "best": _summarise(best[0]) if best else None,
            "verdict": self.verdict,
            "protocols": last.protocols if last else {},
            **({} if self.selected is None else {"selected": self.selected}),
        }
        return self._record.model_copy(update=content).as_json()

    def format_table(self) -> str:
        """Formats all stages as one table.

        Returns:
            Text of several lines: one row per class, one column per stage.
        """
        columns = [results_schema.name_stage(s.round) for s in self.stages]
        width = max([len("mIoU (%)"), *map(len, self._class_names)])
        rows = [" " * width + "".join(f"{column:>14}" for column in columns)]
        for name in self._class_names:
            cells = [_cell(s.iou and s.iou[name]) for s in self.stages]
            rows.append(f"{name:<{width}}" + "".join(cells))
        rows.append("-" * len(rows[0]))
        rows.append(f"{'mIoU (%)':<{width}}" + "".join(_cell(s.miou) for s in self.stages))
        for key, title in (("fraction", "labelled (%)"), ("accuracy", "of it right (%)")):
            values = [getattr(s.pseudo_label, key, None) for s in self.stages]
            if any(value is not None for value in values):
                cells = [_cell(None if v is None else 100 * v) for v in values]
                rows.append(f"{title:<{width}}" + "".join(cells))
        return "\n".join(rows)


def flatten_numbers(entry: Any, prefix: str = "") -> dict[str, float]:
    """Lists the numbers of a nested record by their paths.

    Args:
        entry: a model, or dicts and lists of numbers and other values, such as a `Stage`.
        prefix: start of every path.

    Returns:
        Path, such as "iou/road" or "mode_usage/road/0", -> number. Other values are omitted.
    """
    if isinstance(entry, pydantic.BaseModel):
        entry = entry.model_dump()
    if isinstance(entry, dict):
        items = list(entry.items())
    elif isinstance(entry, list):
        items = list(enumerate(entry))
    else:
        is_number = isinstance(entry, (int, float)) and not isinstance(entry, bool)
        return {prefix: float(entry)} if is_number else {}
    flat = {}
    for key, value in items:
        flat.update(flatten_numbers(value, f"{prefix}/{key}" if prefix else str(key)))
    return flat


def _summarise(stage: Stage) -> StageScores:
    return StageScores(round=stage.round, miou=stage.miou, iou=stage.iou)


def _cell(value):
    return f"{'-':>14}" if value is None else f"{value:>14.2f}"


def _list_versions():
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
