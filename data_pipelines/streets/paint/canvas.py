"""The picture under work: colour, label, instance and depth, drawn together."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint.geometry import Camera
from data_pipelines.streets.paint.geometry import Window

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN = range(8)
VEGETATION, TERRAIN, SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(8, 19)
VOID = 255
EGO_VEHICLE = 250
"""Void that Cityscapes calls "ego vehicle"; `VOID` in the labels that leave the renderer."""
STATIC = 251
"""Void that Cityscapes calls "static": bins, boxes and other things of no class."""


class Canvas:
    """Colour, label, instance and depth of each pixel, with a depth test.

    Attributes:
        camera: the `Camera` that looks at the street.
        rgb: float32 (3, height, width), 0 to 255.
        label: uint8 (height, width), trainIds, `EGO_VEHICLE`, `STATIC` or `VOID`.
        instance: uint16 (height, width), 0 for stuff.
        depth: float32 (height, width), metres; infinite where nothing was drawn.
    """

    def __init__(self, camera: Camera):
        """Makes an empty canvas of void.

        Args:
            camera: the `Camera`; its width and height are the canvas's.
        """
        size = (camera.height, camera.width)
        self.camera = camera
        self.rgb = np.zeros((3,) + size, np.float32)
        self.label = np.full(size, VOID, np.uint8)
        self.instance = np.zeros(size, np.uint16)
        self.depth = np.full(size, np.inf, np.float32)

    def paint(
        self,
        window: Window,
        mask: np.ndarray,
        rgb: np.ndarray,
        label: int | np.ndarray,
        *,
        instance: int = 0,
        ink: np.ndarray | None = None,
    ) -> None:
        """Draws part of a plane where nothing nearer was drawn.

        Args:
            window: the `Window` of the plane.
            mask: bool (h, w), the part of the window that belongs to the object.
            rgb: float32, anything that broadcasts to (3, h, w).
            label: int, or uint8 (h, w): the label of the part.
            instance: 0 for stuff.
            ink: None, or bool (h, w): where colour is laid down; elsewhere in the mask the object
                is labelled, but what was drawn before shines through (leaves, railings).
        """
        at = (window.rows, window.cols)
        depth = window.depth
        seen = mask & (depth > 0) & (depth < self.depth[at])
        if not seen.any():
            return
        np.copyto(self.label[at], np.asarray(label, np.uint8), where=seen)
        np.copyto(self.instance[at], np.uint16(instance), where=seen)
        np.copyto(self.depth[at], depth, where=seen)
        if ink is not None:
            seen = seen & ink
        np.copyto(self.rgb[(slice(None),) + at], rgb, where=seen)

    def tint(self, window: Window, mask: np.ndarray, factor: float | np.ndarray) -> None:
        """Multiplies the colour of what already lies on a plane, as a shadow does; labels stay.

        Args:
            window: the `Window` of the plane, mostly the ground.
            mask: bool (h, w).
            factor: float, or float32 (h, w).
        """
        at = (window.rows, window.cols)
        # Some slack: the plane's depth is computed anew, and differs in its last digits.
        mask = mask & (window.depth > 0) & (window.depth < self.depth[at] * 1.02 + 0.05)
        bright = np.where(mask, np.asarray(factor, np.float32), np.float32(1.0))
        self.rgb[(slice(None),) + at] *= bright
