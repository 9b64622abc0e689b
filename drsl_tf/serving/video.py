"""Frames of video files, read with OpenCV if installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data_pipelines.errors import UserError

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


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


def iterate_frames(path: str) -> Iterator[np.ndarray]:
    """Reads a video frame by frame.

    Args:
        path: the file.

    Yields:
        (H, W, 3) uint8 RGB frames, in order.

    Raises:
        UserError: no frame can be read; the message names no path.
    """
    import cv2

    capture = cv2.VideoCapture(path)
    try:
        found, frame = capture.read()
        if not found:
            raise UserError("holds no frame that OpenCV can read")
        while found:
            yield np.ascontiguousarray(frame[..., ::-1])
            found, frame = capture.read()
    finally:
        capture.release()
