"""The pictures of a report: a run's frames and their predictions by stage."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.figures import label_maps
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import panel_files
from drsl_tf.runs.results_schema import name_stage
from drsl_tf.runs.run_directory import RunDirectory

_BY_STAGE = {
    "pseudo_label": "pseudo-label",
    "prediction": "prediction",
    "confidence": "confidence",
    "mode_map": "mode map",
}


class Frame(NamedTuple):
    """The pictures of one frame, as data URIs.

    Attributes:
        name: of the image.
        fixed: (title, picture) of the pictures that are the same for every stage.
        head: titles of the pictures of a stage.
        rows: (stage, one picture per title); None where a stage has none.
    """

    name: str
    fixed: list[tuple[str, str]]
    head: list[str]
    rows: list[tuple[str, list[str | None]]]


class Legend(NamedTuple):
    """The colours of a gallery, as "#rrggbb".

    Attributes:
        classes: (name, its colour).
        confidence: for values from 0 to 1, evenly spaced.
        modes: (class name, the colours of its modes); empty where classes have one mode.
    """

    classes: list[tuple[str, str]]
    confidence: list[str]
    modes: list[tuple[str, list[str]]]


def list_frames(run: RunRecord) -> list[Frame]:
    """Lists the pictures of one run.

    Args:
        run: a run with panels.

    Returns:
        Its frames.
    """
    return [_read_frame(run, frame, name) for frame, name in enumerate(run.panels.frames)]


def list_mode_pictures(run: RunRecord) -> list[tuple[str, str]]:
    """Lists the pictures of the modes of one run.

    Args:
        run: any run.

    Returns:
        (class name, picture) of the classes that have one; none of a run that has not ended.
    """
    paths = map(RunDirectory(run.run_dir).locate_mode_picture, range(len(run.class_names)))
    return [
        (name, _read_picture(path))
        for name, path in zip(run.class_names, paths)
        if os.path.isfile(path)
    ]


def make_legend(run: RunRecord) -> Legend:
    """Returns the colours of a gallery.

    Args:
        run: a run with panels.

    Returns:
        The colours of classes, confidences and modes.
    """
    space = get_label_space(run)
    ramp = label_maps.color_confidence(np.linspace(0, 1, 11)[np.newaxis])[0]
    has_modes = run.panels.modes_per_class > 1
    return Legend(
        list(zip(space.class_names, _to_hex(space.palette))),
        _to_hex(ramp),
        list(zip(space.class_names, list_mode_shades(run))) if has_modes else [],
    )


def list_mode_shades(run: RunRecord) -> list[list[str]]:
    """Lists the colours of modes, as the mode map paints them.

    Args:
        run: a run with panels.

    Returns:
        For each class the colours of its modes as "#rrggbb".
    """
    count = max(run.panels.modes_per_class, 1)
    palette = label_maps.make_mode_palette(get_label_space(run), count)
    return [_to_hex(shades) for shades in palette.reshape(-1, count, 3)]


def get_label_space(run: RunRecord) -> LabelSpace:
    """Returns the classes and colours of a run with panels."""
    return LabelSpace(
        name=run.experiment,
        class_names=tuple(run.panels.class_names),
        palette=tuple((r, g, b) for r, g, b in run.panels.palette),
    )


def _read_frame(run, frame, name):
    stages = {stage: panel_files.list_panels(run.run_dir, frame, stage) for stage in run.rounds}
    first = stages[run.rounds[0]]
    fixed = [(p, _read_picture(first[p])) for p in panel_files.OF_EVERY_STAGE if p in first]
    shown = [panel for panel in _BY_STAGE if any(panel in paths for paths in stages.values())]
    rows = [
        (
            name_stage(stage),
            [_read_picture(paths[panel]) if panel in paths else None for panel in shown],
        )
        for stage, paths in stages.items()
    ]
    return Frame(name, fixed, [_BY_STAGE[panel] for panel in shown], rows)


def _read_picture(path):
    with open(path, "rb") as file:
        return "data:image/png;base64," + base64.b64encode(file.read()).decode("ascii")


def _to_hex(colors: Sequence) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*map(int, color)) for color in colors]
