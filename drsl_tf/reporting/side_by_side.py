"""Runs side by side: the source stage of the first experiment, and the last round of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from data_pipelines.errors import UserError
from drsl_tf.figures import panel_grid
from drsl_tf.reporting import gallery
from drsl_tf.reporting.groups import RunGroup
from drsl_tf.runs import panel_files

_PANEL_WIDTH = 2.6  # Inches.


class Column(NamedTuple):
    """A stage of an experiment; round 0 is the source stage."""

    title: str
    group: RunGroup
    round: int


def list_columns(groups: Sequence[RunGroup]) -> list[Column]:
    """Lists the stages to compare.

    Args:
        groups: experiments, at least one.

    Returns:
        The source stage of the first, if it had steps, then the last round of each that has
        rounds, or else its source stage.
    """
    columns = []
    for index, group in enumerate(groups):
        last = group.find_last_round()
        run = group.runs[0]
        if not last or (index == 0 and (run.stages[0].steps != 0 or run.initial_run)):
            columns.append(Column(f"{group.experiment}, source only", group, 0))
        if last:
            columns.append(Column(f"{group.experiment}, round {last}", group, last))
    return columns


def draw_columns(columns: Sequence[Column]) -> Figure:
    """Draws target frames, their truth where known, and the predictions of several stages.

    Args:
        columns: the stages; of each experiment the first run is shown.

    Returns:
        The figure.

    Raises:
        UserError: the runs hold no pictures, or pictures of different frames.
    """
    runs = [column.group.runs[0] for column in columns]
    frames = runs[0].panels.frames
    other = next((run for run in runs if run.panels.frames != frames), None)
    if not frames or other is not None:
        name = (other or runs[0]).name
        raise UserError(
            f"The run {name} holds {'pictures of other frames' if other else 'no pictures'}: "
            "compare runs on the same target, with drsl_tf.Monitoring.figure_images above 0."
        )
    space = gallery.get_label_space(runs[0])
    for run in runs:
        own = gallery.get_label_space(run)
        if (own.class_names, own.palette) != (space.class_names, space.palette):
            raise UserError(
                f"The run {run.name} has other classes or colours than {runs[0].name}: leave out "
                "--figure, or compare runs of the same classes."
            )
    rows = []
    for frame in range(len(frames)):
        found = panel_files.list_panels(runs[0].run_dir, frame, 0)
        panels = [
            panel_grid.Panel(p, _read(found[p])) for p in panel_files.OF_EVERY_STAGE if p in found
        ]
        for column, run in zip(columns, runs):
            path = panel_files.locate_panel(run.run_dir, "prediction", frame, column.round)
            panels.append(panel_grid.Panel(column.title, _read(path)))
        if frame:
            panels = [panel._replace(title="") for panel in panels]
        rows.append(panel_grid.Row("", panels))
    return panel_grid.draw_panels(rows, _PANEL_WIDTH, space)


def _read(path):
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"The picture {path} of a run cannot be read: {error}.") from error
