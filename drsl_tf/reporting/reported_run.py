"""The content of a run directory, read for a report."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from data_pipelines.errors import UserError
from drsl_tf.evaluation import confusion_files
from drsl_tf.runs import panel_files
from drsl_tf.runs import results_schema
from drsl_tf.runs.run_directory import RunDirectory


class RunRecord:
    """The results, confusion matrices and pictures of one run.

    Args:
        run_dir: a directory that `drsl_tf.train` wrote.

    Attributes:
        class_names: names of the classes, in the order of their ids; empty if no file names
            them.

    Raises:
        UserError: it holds no results of a finished stage, or they cannot be read.
    """

    def __init__(self, run_dir: str):
        self.run_dir = run_dir
        self.name = os.path.basename(os.path.abspath(run_dir))
        path = RunDirectory(run_dir).results
        if not os.path.isfile(path):
            raise UserError(
                f"{os.path.abspath(run_dir)} holds no results.json: it is no run directory, or its "
                "source stage is not finished yet. Name what --run_dir of drsl_tf.train named."
            )
        content = results_schema.read_results(path)
        self.experiment = content.experiment
        self.seed = content.seed
        self.versions = content.versions
        self.initial_run = content.initial_run
        self.stages = content.stages
        if not self.stages:
            raise UserError(f"{os.path.abspath(path)} holds no stage yet.")
        self.panels = panel_files.read_index(run_dir)
        listed = {
            *(tuple(stage.iou) for stage in self.stages if stage.iou),
            *(tuple(s.pseudo_label.thresholds) for s in self.stages if s.pseudo_label),
        }
        if self.panels:
            listed.add(tuple(self.panels.class_names))
        if len(listed) > 1:
            raise UserError(
                f"The stages and pictures of {os.path.abspath(run_dir)} are of different classes: "
                "they come from several runs. Put a copy of results.json and of panels/ back."
            )
        self.class_names: list[str] = list(*listed)

    @property
    def rounds(self) -> list[int]:
        """The finished stages: 0 for the source stage, then the rounds."""
        return [stage.round for stage in self.stages]

    def get_curve(self, *keys: str) -> list[tuple[int, float]]:
        """Returns one number of every stage.

        Args:
            *keys: its path in a stage's entry, such as "pseudo_label", "fraction".

        Returns:
            (round, number) of the stages that have it.
        """
        points = []
        for stage in self.stages:
            value: Any = stage
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
            if value is not None:
                points.append((stage.round, float(value)))
        return points

    def read_confusion(self, round_index: int) -> np.ndarray | None:
        """Reads the confusion matrix of a stage.

        Args:
            round_index: 0 for the source stage.

        Returns:
            (C, C + 1) int64, see `confusion_files`; None where there is none.

        Raises:
            UserError: the file cannot be read.
        """
        path = RunDirectory(self.run_dir).locate_confusion(round_index)
        if not os.path.isfile(path):
            return None
        try:
            names, counts = confusion_files.read_confusion(path)
        except ValueError as error:
            raise UserError(f"{error} Delete it, and the report leaves it out.") from error
        if names != self.class_names:
            raise UserError(
                f"{os.path.abspath(path)} is of other classes than the run's results.json. Delete "
                "it, and the report leaves it out."
            )
        return counts
