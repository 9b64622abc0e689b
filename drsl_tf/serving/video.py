"""Videos, read and written with OpenCV if installed."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
OUTPUT_SUFFIX = ".mp4"

# Of the encoders that OpenCV's packages contain, the one that most players know.
_CODEC = "mp4v"
_USUAL_RATE = 25.0
_MAX_RATE = 1000.0


def require_opencv() -> None:
    """Checks that video files can be read.

    Raises:
        UserError: OpenCV is not installed.
    """
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise UserError(
            "Video files are read by OpenCV, which is not installed. Install the extra: "
            "pip install 'drsl_tf[video]' (or leave video files out of --input)."
        ) from error


def iterate_frames(path: str) -> Iterator[tuple[np.ndarray, float]]:
    """Reads a video frame by frame.

    Args:
        path: the file.

    Yields:
        (H, W, 3) uint8 RGB frames in order, upright as the file's rotation says, each with the
        video's frames per second.

    Raises:
        UserError: no frame can be read; the message names no path.
    """
    import cv2

    capture = cv2.VideoCapture(path)
    # Whether OpenCV turns frames by itself depends on its version.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    try:
        found, frame = capture.read()
        if not found:
            raise UserError("holds no frame that OpenCV can read")
        quarter_turns = round(capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90)
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not (math.isfinite(rate) and 0 < rate <= _MAX_RATE):
            rate = _USUAL_RATE
        while found:
            yield np.ascontiguousarray(np.rot90(frame[..., ::-1], -quarter_turns)), rate
            found, frame = capture.read()
    finally:
        capture.release()


class VideoWriter:
    """Writes a video, which has its name once it is complete.

    Args:
        path: the file, with `OUTPUT_SUFFIX`; its folder is created if it is missing.
        rate: frames per second.
        size: (height, width) of the frames; an odd side is extended by a pixel, as the codec takes
            even ones alone.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: str, rate: float, size: tuple[int, int]):
        import cv2

        self.path = path
        stem = path.removesuffix(OUTPUT_SUFFIX)
        # OpenCV takes the format from the ending.
        self._partial = f"{stem}{whole_files.PARTIAL}{OUTPUT_SUFFIX}"
        self._margin = [(0, side % 2) for side in size]
        height, width = (side + side % 2 for side in size)
        with whole_files.explain_failures(path):
            whole_files.make_folder(os.path.dirname(path) or ".")
        codec = cv2.VideoWriter.fourcc(*_CODEC)
        self._writer = cv2.VideoWriter(self._partial, codec, rate, (width, height))
        if not self._writer.isOpened():
            raise UserError(
                f"{path} cannot be written as a video of {width} x {height} pixels. Make the "
                "folder writable, or leave overlay out of --what."
            )

    def write(self, image: np.ndarray) -> None:
        """Appends a frame.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        padded = np.pad(image, [*self._margin, (0, 0)], mode="edge")
        self._writer.write(np.ascontiguousarray(padded[..., ::-1]))

    def close(self) -> None:
        """Completes the file."""
        self._writer.release()
        with whole_files.explain_failures(self.path):
            whole_files.sync(self._partial)
            whole_files.rename_whole(self._partial, self.path)

    def discard(self) -> None:
        """Removes what was written."""
        self._writer.release()
        with contextlib.suppress(OSError):
            os.unlink(self._partial)
