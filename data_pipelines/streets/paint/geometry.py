"""The pinhole camera: from points and planes of the street to pixels and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEAR = 0.35
"""Distance in metres before which nothing is drawn."""


class Window(NamedTuple):
    """The pixels that a plane may cover, with their place on that plane.

    Attributes:
        rows: slice of the canvas.
        cols: slice of the canvas.
        u: float32 (h, w), metres along the plane's first axis.
        v: float32 (h, w), metres along its second axis.
        depth: float32 (h, w), metres ahead of the camera; not positive where the plane's
            extension lies behind it.
    """

    rows: slice
    cols: slice
    u: np.ndarray
    v: np.ndarray
    depth: np.ndarray


class Camera:
    """A camera on the street: x to the right, y up, s ahead, in metres.

    The pitch is a shift of the horizon (a lens shift), so vertical edges stay vertical.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        focal: float,
        horizon: float,
        eye_height: float,
        x: float,
        cos_yaw: float,
        sin_yaw: float,
    ):
        """Places the camera.

        Args:
            width: width of the canvas in pixels.
            height: height of the canvas in pixels.
            focal: focal length in pixels.
            horizon: row of the horizon, in pixels.
            eye_height: height of the eye in metres.
            x: place of the eye across the street in metres.
            cos_yaw: cosine of the heading; 1 looks along s.
            sin_yaw: sine of the heading; positive looks to the right.
        """
        self.width = width
        self.height = height
        self.focal = focal
        self.centre = width / 2.0
        self.horizon = horizon
        self.eye_height = eye_height
        self.x = x
        self.cos_yaw = cos_yaw
        self.sin_yaw = sin_yaw

    def turn(self, direction: Sequence[float]) -> tuple[float, float, float]:
        """Turns a direction of the world (x, y, s) into one of the camera (right, up, ahead)."""
        across, up, along = direction
        return (
            across * self.cos_yaw - along * self.sin_yaw,
            up,
            across * self.sin_yaw + along * self.cos_yaw,
        )

    def see(self, point: Sequence[float]) -> tuple[float, float, float]:
        """Turns a point of the world into camera coordinates in metres."""
        return self.turn((point[0] - self.x, point[1] - self.eye_height, point[2]))

    def facing(self) -> tuple[float, float, float]:
        """Returns the unit direction of the world that runs to the right in the image."""
        return (self.cos_yaw, 0.0, -self.sin_yaw)

    def window(
        self,
        origin: Sequence[float],
        axis_u: Sequence[float],
        axis_v: Sequence[float],
        extent: tuple[float, float, float, float],
    ) -> Window | None:
        """Finds the pixels of a rectangle in space.

        Inverts the homography (u, v, 1) -> pixel of the rectangle's plane in closed form; its third
        coordinate is 1 / depth.

        Args:
            origin: point (x, y, s) where u = v = 0.
            axis_u: unit direction of u.
            axis_v: unit direction of v.
            extent: (u0, u1, v0, v1) of the rectangle in metres.

        Returns:
            A `Window` over its bounding box, or None where it is out of sight or seen edge-on.
        """
        o, a, b = self.see(origin), self.turn(axis_u), self.turn(axis_v)
        u0, u1, v0, v1 = extent
        corners = [
            tuple(o[i] + u * a[i] + v * b[i] for i in range(3))
            for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
        ]
        corners = _clip_near(corners)
        if not corners:
            return None
        f, cx, cy = self.focal, self.centre, self.horizon
        columns = [cx + f * c[0] / c[2] for c in corners]
        lines = [cy - f * c[1] / c[2] for c in corners]
        left, right = max(int(min(columns)), 0), min(int(max(columns)) + 1, self.width)
        top, bottom = max(int(min(lines)), 0), min(int(max(lines)) + 1, self.height)
        if left >= right or top >= bottom or max(columns) < 0 or max(lines) < 0:
            return None
        m = [
            [f * p[0] + cx * p[2] for p in (a, b, o)],
            [-f * p[1] + cy * p[2] for p in (a, b, o)],
            [p[2] for p in (a, b, o)],
        ]
        inverse = _invert(m)
        if inverse is None:
            return None
        px = np.arange(left, right, dtype=np.float64) + 0.5
        py = np.arange(top, bottom, dtype=np.float64)[:, None] + 0.5
        u, v, w = (
            (h[0] * px).astype(np.float32) + (h[1] * py + h[2]).astype(np.float32) for h in inverse
        )
        depth = 1.0 / np.where(w > 1e-6, w, np.float32(-1.0))
        return Window(slice(top, bottom), slice(left, right), u * depth, v * depth, depth)

    def ground(self) -> Window | None:
        """Finds the pixels below the horizon on the plane y = 0.

        Returns:
            A `Window` whose u is the world's x and v the world's s, or None without such pixels.
        """
        top = max(int(self.horizon) + 1, 0)
        if top >= self.height:
            return None
        py = np.arange(top, self.height, dtype=np.float64)[:, None] + 0.5
        px = np.arange(self.width, dtype=np.float64) + 0.5
        ahead = self.focal * self.eye_height / (py - self.horizon)
        right = (px - self.centre) * (ahead / self.focal)
        u = self.x + right * self.cos_yaw + ahead * self.sin_yaw
        v = ahead * self.cos_yaw - right * self.sin_yaw
        depth = np.broadcast_to(ahead, u.shape).astype(np.float32)
        return Window(
            slice(top, self.height),
            slice(0, self.width),
            u.astype(np.float32),
            v.astype(np.float32),
            depth,
        )


def _clip_near(corners):
    """Clips a polygon in camera coordinates at the near plane (Sutherland-Hodgman)."""
    kept = []
    for here, there in zip(corners, corners[1:] + corners[:1]):
        if here[2] > NEAR:
            kept.append(here)
        if (here[2] > NEAR) != (there[2] > NEAR):
            part = (NEAR - here[2]) / (there[2] - here[2])
            kept.append(tuple(h + part * (t - h) for h, t in zip(here, there)))
    return kept


def _invert(m):
    """Inverts a 3x3 matrix of Python floats by its adjugate; None where it is singular."""
    (a, b, c), (d, e, f), (g, h, i) = m
    adjugate = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * adjugate[0][0] + b * adjugate[1][0] + c * adjugate[2][0]
    if abs(determinant) < 1e-9:
        return None
    return [[value / determinant for value in row] for row in adjugate]
