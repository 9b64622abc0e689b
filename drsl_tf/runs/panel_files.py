"""The pictures that a run keeps of a few frames."""

from __future__ import annotations

import os
from typing import Any

from data_pipelines.errors import UserError
from drsl_tf import files
from drsl_tf.runs.run_directory import RunDirectory

PANELS = ("image", "truth", "pseudo_label", "prediction", "confidence", "mode_map")
_OF_EVERY_STAGE = ("image", "truth")
_MOST_MODES = 1000


def read_index(run_dir: str) -> dict[str, Any] | None:
    """Reads the list of frames, classes and colours.

    Args:
        run_dir: the run's directory.

    Returns:
        "frames", names of images; "class_names"; "palette", an RGB triple each; and
        "modes_per_class". None where the run keeps no panels.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    path = RunDirectory(run_dir).panels
    if not os.path.isfile(path):
        return None
    index = files.read_json(path)
    names, palette = index.get("class_names", ""), index.get("palette")
    count = index.get("modes_per_class")
    if not (
        _are_texts(index.get("frames"))
        and _are_texts(names)
        and isinstance(palette, list)
        and len(palette) == len(names)
        and all(isinstance(color, list) and len(color) == 3 for color in palette)
        and all(channel in range(256) for color in palette for channel in color)
        and isinstance(count, int)
        and 0 <= count <= _MOST_MODES
    ):
        raise UserError(
            f"{os.path.abspath(path)} is no list of frames, classes and colours. Put a copy of it "
            "back, or delete the folder: reports then show no pictures."
        )
    return index


def locate_panel(run_dir: str, panel: str, frame: int, round_index: int) -> str:
    """Gives the path of one picture.

    Args:
        run_dir: the run's directory.
        panel: one of `PANELS`.
        frame: the frame's number, from 0.
        round_index: 0 for the source stage; image and truth are the same for every stage.

    Returns:
        The path.
    """
    folder = "frames" if panel in _OF_EVERY_STAGE else f"round_{round_index}"
    return RunDirectory(run_dir).locate_panel(folder, frame, panel)


def list_panels(run_dir: str, frame: int, round_index: int) -> dict[str, str]:
    """Lists the pictures of one frame after one stage.

    Args:
        run_dir: the run's directory.
        frame: the frame's number, from 0.
        round_index: 0 for the source stage.

    Returns:
        Panel -> path, in the order of `PANELS`; what the run does not have is left out.
    """
    paths = {panel: locate_panel(run_dir, panel, frame, round_index) for panel in PANELS}
    return {panel: path for panel, path in paths.items() if os.path.isfile(path)}


def _are_texts(values):
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
