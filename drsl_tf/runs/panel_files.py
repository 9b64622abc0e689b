"""The pictures that a run stores of a few frames."""

from __future__ import annotations

import os
from typing import Annotated
from typing import Literal

import pydantic

from data_pipelines.io.json_models import VersionedModel
from drsl_tf import files
from drsl_tf.runs.run_directory import RunDirectory

PANELS = ("image", "truth", "pseudo_label", "prediction", "confidence", "mode_map")
OF_EVERY_STAGE = ("image", "truth")
"""Panels that are the same for every stage."""
_MOST_MODES = 1000


class PanelIndex(files.Entry, VersionedModel):
    """The content of `panels/index.json`; false where a run keeps no panels.

    Attributes:
        version: of this format; versions that wrote none wrote the same fields.
        frames: names of the images.
        class_names: names of the classes, in the order of their ids.
        palette: their colours as RGB.
        modes_per_class: modes that mode maps show; 0 without a multi-modal head.
    """

    version: Literal[1] = pydantic.Field(default=1, alias="schema")
    frames: list[str]
    class_names: list[str]
    palette: list[tuple[files.Channel, files.Channel, files.Channel]]
    modes_per_class: Annotated[int, pydantic.Field(ge=0, le=_MOST_MODES)]

    def __bool__(self) -> bool:
        return bool(self.frames)

    @pydantic.model_validator(mode="after")
    def _check_palette(self) -> PanelIndex:
        if len(self.palette) != len(self.class_names):
            raise ValueError("palette has another length than class_names")
        return self


def read_index(run_dir: str) -> PanelIndex:
    """Reads the list of frames, classes and colours.

    Args:
        run_dir: the run's directory.

    Returns:
        The index; empty if the run keeps no panels.

    Raises:
        UserError: it cannot be read, or is invalid.
    """
    path = RunDirectory(run_dir).panels
    if not os.path.isfile(path):
        return PanelIndex(frames=[], class_names=[], palette=[], modes_per_class=0)
    fix = "Put a copy of it back, or delete the folder: reports then show no pictures."
    return files.read_model(path, PanelIndex, fix)


def locate_panel(run_dir: str, panel: str, frame: int, round_index: int) -> str:
    """Returns the path of one picture.

    Args:
        run_dir: the run's directory.
        panel: one of `PANELS`.
        frame: the frame's number, from 0.
        round_index: 0 for the source stage; image and truth are the same for every stage.

    Returns:
        The path.
    """
    folder = "frames" if panel in OF_EVERY_STAGE else f"round_{round_index}"
    return RunDirectory(run_dir).locate_panel(folder, frame, panel)


def list_panels(run_dir: str, frame: int, round_index: int) -> dict[str, str]:
    """Lists the pictures of one frame after one stage.

    Args:
        run_dir: the run's directory.
        frame: the frame's number, from 0.
        round_index: 0 for the source stage.

    Returns:
        Panel -> path, in the order of `PANELS`, without those that the run does not have.
    """
    paths = {panel: locate_panel(run_dir, panel, frame, round_index) for panel in PANELS}
    return {panel: path for panel, path in paths.items() if os.path.isfile(path)}
