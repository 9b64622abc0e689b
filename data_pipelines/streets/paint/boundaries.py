"""Paints walls, fences and hedges along the street."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan.street import Boundary
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style
from data_pipelines.streets.plan.style import unit


def paint_boundary(
    canvas: canvas_lib.Canvas, street: Street, sign: int, boundary: Boundary, style: Style
) -> None:
    """Paints one wall, fence or hedge.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        sign: -1 on the left, 1 on the right.
        boundary: the `Boundary`.
        style: the `Style`.
    """
    near = street.place(sign * boundary.distance, boundary.begin)
    far = street.place(sign * boundary.distance, boundary.end)
    along = unit(tuple(b - a for a, b in zip(near, far)))
    length = sum((b - a) * part for a, b, part in zip(near, far, along))
    high = boundary.height
    window = canvas.camera.window(near, along, (0.0, 1.0, 0.0), (0.0, length, 0.0, high * 1.2))
    if window is None:
        return
    shade = np.float32(style.shade((-sign * along[2], 0.0, sign * along[0])))
    u, v, depth = window.u, window.v, window.depth
    inside = (u >= 0) & (u <= length) & (v >= 0)
    if boundary.kind == "hedge":
        edge = high * (0.9 + 0.25 * noise.fractal(u, np.float32(0.0) * v, 1.5, boundary.key))
        leaves = 0.5 + noise.fractal(u, v, 0.8, boundary.key)
        leaves = leaves * (0.65 + 0.4 * v / np.float32(high))
        rgb = style.colour("leaf", 5, boundary.tint) * leaves * shade
        canvas.paint(window, inside & (v < edge), rgb, canvas_lib.VEGETATION)
        return
    inside &= v <= high
    if boundary.kind == "wall":
        rgb = _wall(boundary, u, v, depth, style) * shade
        canvas.paint(window, inside, rgb, canvas_lib.WALL)
        return
    ink, rgb = _fence(boundary, u, v, depth, style)
    if boundary.look == 3:
        inside &= (v > high * 0.4) | ink
    canvas.paint(window, inside, rgb * shade, canvas_lib.FENCE, ink=ink)


def _wall(boundary, u, v, depth, style):
    """Colours a wall: brick, stone, concrete or hoarding. Returns float32 (3, h, w)."""
    look, key = boundary.look, boundary.key
    grain = style.grain(noise.fractal(u, v, 2.5, key), 0.35)
    wide, high, near = ((0.26, 0.11, 8.0), (0.55, 0.3, 16.0), (2.4, 9.0, 40.0), (2.4, 9.0, 60.0))[
        look
    ]
    row = np.floor(v / high)
    column = u / np.float32(wide) + 0.5 * (row % 2)
    joint = (column - np.floor(column) < 0.07) | (v / np.float32(high) - row < 0.08)
    stone = noise.cells(column, row, key)
    detail = noise.fade(depth, near)
    grain = grain * (1.0 + 0.3 * detail * (stone - 0.5)) * noise.darken(joint, 0.18 * detail)
    base = style.colour("wall", look, boundary.tint)
    if look == 3:
        # Painted boards, with posters on some.
        other = style.colour("shop", 0, boundary.tint)
        poster = (stone > 0.6) & (v > 0.5) & (np.abs(column - np.floor(column) - 0.5) < 0.3)
        base = np.where(poster, other, base)
    else:
        coping = v > boundary.height - 0.14
        base = np.where(coping, base * np.float32(1.18), base)
    return base * grain


def _fence(boundary, u, v, depth, style):
    """Colours a fence. Returns where there is colour, bool (h, w), and float32 (3, h, w)."""
    look, high = boundary.look, boundary.height
    base = style.colour("fence", look, boundary.tint)
    grow = 1.0 + depth * 0.035
    if look == 0:
        bar = np.abs(u / 0.13 - np.floor(u / 0.13) - 0.5) < 0.11 * grow
        rail = (np.abs(v - 0.15) < 0.03 * grow) | (np.abs(v - high + 0.12) < 0.03 * grow)
        post = np.abs(u / 2.0 - np.floor(u / 2.0) - 0.5) < 0.03 * grow
        return bar | rail | post, base
    if look == 1:
        plank = noise.cells(u / 0.15, np.float32(0.0) * v, boundary.key)
        gap = u / 0.15 - np.floor(u / 0.15) < 0.1
        grain = style.grain(noise.fractal(u * 6.0, v, 2.0, boundary.key), 0.3)
        grain = grain * (0.8 + 0.4 * plank) * noise.darken(gap, 0.4 * noise.fade(depth, 9.0))
        return np.ones(u.shape, bool), base * grain
    if look == 2:
        slope, fall = (u + v) / 0.09, (u - v) / 0.09
        wire = (slope - np.floor(slope) < 0.18 * grow) | (fall - np.floor(fall) < 0.18 * grow)
        post = np.abs(u / 2.5 - np.floor(u / 2.5) - 0.5) < 0.025 * grow
        return wire | post | (np.abs(v - high) < 0.06), base
    beam = v > high * 0.45
    post = np.abs(u / 2.0 - np.floor(u / 2.0) - 0.5) < 0.035 * grow
    wave = 0.8 + 0.4 * np.abs(np.abs(v / np.float32(high) - 0.72) * 8.0 - 1.0)
    return beam | post, base * np.minimum(wave, 1.25)
