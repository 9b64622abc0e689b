"""Paints a vehicle's body: an extruded profile with its faces, its flank and its wheels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.streets.paint import noise
from data_pipelines.streets.paint.canvas import Canvas
from data_pipelines.streets.plan.scene import Thing
from data_pipelines.streets.plan.style import Style

_UP = (0.0, 1.0, 0.0)


class Body(NamedTuple):
    """A vehicle in place.

    Attributes:
        rear: (3,) the centre of its rear on the ground, metres.
        ahead: (3,) unit vector.
        right: (3,) unit vector.
        width: metres.
        label: its class.
        instance: its instance id.
        paint: (3, 1, 1) float32, its colour.
    """

    rear: tuple[float, ...]
    ahead: tuple[float, ...]
    right: tuple[float, ...]
    width: float
    label: int
    instance: int
    paint: np.ndarray


def paint_body(
    canvas: Canvas,
    body: Body,
    thing: Thing,
    profile: Sequence[tuple[float, float]],
    parts: Sequence[str],
    panes: Sequence[tuple[float, float]] | str | None,
    wheels: Sequence[float],
    radius: float,
    style: Style,
) -> None:
    """Paints an extruded profile: axles, faces that look at the camera, the nearer flank.

    Args:
        canvas: the `Canvas`.
        body: the `Body`.
        thing: the `Thing`.
        profile: points (along, up) of the outline from the rear's foot to the front's, metres.
        parts: what each edge of the profile is, such as "rear", "roof" or "windscreen".
        panes: outline of the flank's windows, "rows" for those of a bus or train, or None.
        wheels: where the axles are, metres from the rear.
        radius: of the wheels, metres.
        style: the `Style`.
    """
    camera = canvas.camera
    half = body.width / 2.0
    eye = (camera.x, camera.eye_height, 0.0)
    _paint_axles(canvas, body, wheels, radius, style)
    for (z0, y0), (z1, y1), part in zip(profile, profile[1:], parts):
        long = math.hypot(z1 - z0, y1 - y0)
        dz, dy = (z1 - z0) / long, (y1 - y0) / long
        normal = (-dy * body.ahead[0], dz, -dy * body.ahead[2])
        corner = tuple(r + z0 * a for r, a in zip(body.rear, body.ahead))
        corner = (corner[0], y0, corner[2])
        if sum(n * (e - c) for n, e, c in zip(normal, eye, corner)) <= 0:
            continue
        axis = (dz * body.ahead[0], dy, dz * body.ahead[2])
        window = camera.window(corner, body.right, axis, (-half, half, 0.0, long))
        if window is None:
            continue
        u, v = window.u / np.float32(half), window.v / np.float32(long)
        mask = (u >= -1) & (u <= 1) & (v >= 0) & (v <= 1)
        rgb = _face(part, body, thing, u, v, style) * np.float32(style.shade(normal))
        canvas.paint(window, mask, rgb, body.label, instance=body.instance)
    middle = tuple(r + a for r, a in zip(body.rear, body.ahead))
    sign = 1.0 if sum(n * (e - m) for n, e, m in zip(body.right, eye, middle)) > 0 else -1.0
    corner = tuple(r + sign * half * n for r, n in zip(body.rear, body.right))
    length, high = max(z for z, _ in profile), max(y for _, y in profile)
    window = camera.window(corner, body.ahead, _UP, (0.0, length, 0.0, high))
    if window is None:
        return
    rgb, mask = _flank(body, thing, window, profile, panes, wheels, radius, style)
    shade = np.float32(style.shade(tuple(sign * part for part in body.right)))
    canvas.paint(window, mask, rgb * shade, body.label, instance=body.instance)


def _paint_axles(canvas, body, wheels, radius, style):
    """Paints the tyres as seen from behind or ahead."""
    half = body.width / 2.0
    for z in wheels:
        for side in (-radius, radius):
            corner = tuple(r + (z + side * 0.7) * a for r, a in zip(body.rear, body.ahead))
            window = canvas.camera.window(corner, body.right, _UP, (-half, half, 0.0, radius * 1.6))
            if window is None:
                continue
            mask = (np.abs(window.u) <= half) & (np.abs(window.u) > half - 0.24)
            mask &= (window.v >= 0) & (window.v < radius * 1.6)
            canvas.paint(window, mask, style.colour("tyre"), body.label, instance=body.instance)


def _face(part, body, thing, u, v, style):
    """Colours a face; u runs from -1 to 1 across, v from 0 to 1 along the profile."""
    rgb = np.broadcast_to(body.paint, (3,) + u.shape).copy()
    wide = np.abs(u)
    glass = style.colour("glass") * (0.75 + 0.6 * v)
    if part in ("back window", "windscreen"):
        np.copyto(rgb, glass, where=(wide < 0.86) & (v > 0.05) & (v < 0.92))
    elif part == "rear":
        np.copyto(rgb, style.colour("tyre") * 1.6, where=v < 0.18)
        lamps = (wide > 0.72) & (v > 0.5) & (v < 0.85)
        np.copyto(rgb, _spread(style.colour("lamp_red", 0, thing.tints[3]), rgb), where=lamps)
        plate = (wide < 0.3) & (v > 0.4) & (v < 0.58)
        np.copyto(rgb, _spread(style.colour("plate", 0, thing.tints[2]), rgb), where=plate)
        if thing.look in (3, 4):
            np.copyto(rgb, glass, where=(wide < 0.8) & (v > 0.93))
    elif part == "front":
        np.copyto(rgb, style.colour("tyre") * 1.6, where=v > 0.8)
        np.copyto(rgb, style.colour("tyre") * 1.2, where=(wide < 0.45) & (v > 0.25) & (v < 0.55))
        lamps = (wide > 0.55) & (wide < 0.93) & (v > 0.2) & (v < 0.48)
        np.copyto(rgb, _spread(style.colour("lamp_white"), rgb), where=lamps)
        plate = (wide < 0.3) & (v > 0.62) & (v < 0.76)
        np.copyto(rgb, _spread(style.colour("plate", 0, 0.9), rgb), where=plate)
    elif part in ("coach rear", "coach front"):
        rise = v if part == "coach rear" else 1.0 - v
        low, high = (0.25, 0.72) if _has_two_decks(thing) else (0.12, 0.78)
        np.copyto(rgb, glass, where=(wide < 0.86) & (rise > low) & (rise < high))
        if _has_two_decks(thing):
            np.copyto(rgb, rgb * 0 + body.paint, where=(rise > 0.42) & (rise < 0.54))
        sign = (wide < 0.5) & (rise > high + 0.05) & (rise < high + 0.15)
        np.copyto(rgb, style.colour("tyre") * 1.3, where=sign)
        name = "lamp_red" if part == "coach rear" else "lamp_white"
        lamps = (wide > 0.74) & (rise < 0.08)
        np.copyto(rgb, _spread(style.colour(name, 0, thing.tints[3]), rgb), where=lamps)
    elif part == "bumper":
        rgb *= np.float32(0.6)
    elif part == "load":
        np.copyto(rgb, rgb * 0.7, where=(wide < 0.02) | (v < 0.05) | (wide > 0.96))
        lamps = (wide > 0.8) & (v < 0.12)
        np.copyto(rgb, _spread(style.colour("lamp_red", 0, thing.tints[3]), rgb), where=lamps)
        if thing.look == 2:
            np.copyto(rgb, rgb * 0.5, where=u * u + (2 * v - 1) * (2 * v - 1) > 1.0)
    return rgb


def _has_two_decks(thing):
    """Tells whether a vehicle is a bus with two decks."""
    return thing.kind == "bus" and thing.look == 1


def _spread(colour, rgb):
    """Broadcasts a colour over a picture."""
    return np.broadcast_to(colour, rgb.shape)


def _flank(body, thing, window, profile, panes, wheels, radius, style):
    """Colours the side. Returns float32 (3, h, w), and bool (h, w) of what belongs to it."""
    u, v, depth = window.u, window.v, window.depth
    mask = _inside(u, v, profile)
    high = max(y for _, y in profile)
    rgb = body.paint * (0.82 + 0.25 * v / np.float32(high))
    glass = style.colour("glass") * (0.8 + 0.35 * noise.cells(u / 1.3, v / 9.0, thing.look))
    if panes == "rows":
        _paint_rows(thing, u, v, high, glass, style, rgb, style.colour("stripe", 0, thing.tints[2]))
    elif panes:
        inner = _inside(u, v, panes)
        middle = (panes[0][0] + panes[-1][0]) / 2.0 + 0.1
        np.copyto(rgb, glass, where=inner & (np.abs(u - middle) > 0.05))
        doors = (np.abs(u - middle) < 0.02 + 0.001 * depth) & (v < panes[0][1]) & (v > 0.3)
        np.copyto(rgb, rgb * 0.6, where=doors)
        np.copyto(rgb, rgb * 0.55, where=v < 0.34)
    else:
        ribs = u / 1.2 - np.floor(u / 1.2) < 0.05
        np.copyto(rgb, rgb * 0.82, where=ribs)
        if thing.look == 0:
            band = (v > high * 0.5) & (v < high * 0.68) & (u > 0.8)
            np.copyto(rgb, _spread(style.colour("stripe", 0, thing.tints[3]), rgb), where=band)
    for z in wheels:
        du, dv = u - np.float32(z), v - np.float32(radius)
        ring = du * du + dv * dv
        arch = (ring < (radius * 1.2) ** 2) & mask
        np.copyto(rgb, style.colour("tyre") * 0.7, where=arch)
        tyre = ring < radius * radius
        np.copyto(rgb, _spread(style.colour("tyre"), rgb), where=tyre)
        hub = ring < (radius * 0.58) ** 2
        np.copyto(rgb, _spread(style.colour("pole", 0, 0.6), rgb), where=hub)
        mask |= tyre
    return rgb, mask


def _paint_rows(thing, u, v, high, glass, style, rgb, stripe):
    """Paints the windows, doors and stripe of a bus or train, in place."""
    bands = ((1.25, 2.05), (2.75, 3.75)) if _has_two_decks(thing) else ((1.3, high - 0.75),)
    pane = np.abs(u / 1.5 - np.floor(u / 1.5) - 0.5) < 0.45
    for low, top in bands:
        np.copyto(rgb, glass, where=pane & (v > low) & (v < top))
    door = (np.abs(u / 7.5 - np.floor(u / 7.5) - 0.5) < 0.08) & (v > 0.4) & (v < 2.3)
    np.copyto(rgb, glass * 0.8, where=door)
    np.copyto(rgb, _spread(stripe, rgb), where=(v > 0.8) & (v < 1.1) & ~door)
    np.copyto(rgb, rgb * 0.6, where=v < 0.5)


def _inside(u, v, polygon):
    """Tells which points lie inside a polygon (even-odd rule); bool (h, w)."""
    inside = np.zeros(u.shape, bool)
    for (u0, v0), (u1, v1) in zip(polygon, polygon[1:] + polygon[:1]):
        if v0 == v1:
            continue
        spans = (v > min(v0, v1)) & (v <= max(v0, v1))
        inside ^= spans & (u < u0 + (v - np.float32(v0)) * np.float32((u1 - u0) / (v1 - v0)))
    return inside
