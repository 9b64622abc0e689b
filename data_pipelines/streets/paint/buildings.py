"""Paints houses: facades with windows, shops, ends and roofs, in six looks."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan.street import Building
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style
from data_pipelines.streets.plan.style import unit

# Per look: width of a window's cell and height of a storey in metres, then the window's part of
# its cell: half width, bottom, top.
_GRIDS = (
    (2.4, 2.9, 0.24, 0.28, 0.82),  # brick, sash windows
    (3.1, 3.1, 0.22, 0.30, 0.78),  # plaster
    (1.6, 3.4, 0.46, 0.10, 0.94),  # glass
    (3.0, 3.2, 0.50, 0.38, 0.80),  # concrete, window bands
    (2.7, 3.8, 0.17, 0.18, 0.86),  # stone, tall windows
    (2.2, 2.8, 0.36, 0.30, 0.86),  # panels
)
_UP = (0.0, 1.0, 0.0)


def paint_building(
    canvas: canvas_lib.Canvas, street: Street, sign: int, house: Building, style: Style
) -> None:
    """Paints one house.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        sign: -1 on the left, 1 on the right.
        house: the `Building`.
        style: the `Style`.
    """
    near = street.place(sign * house.front, house.begin)
    far = street.place(sign * house.front, house.end)
    along = unit(tuple(b - a for a, b in zip(near, far)))
    length = sum((b - a) * part for a, b, part in zip(near, far, along))
    outward = (sign * along[2], 0.0, -sign * along[0])
    rise = house.deep * 0.32 if house.roof == "ridge" else 0.0
    if rise:
        _paint_slope(canvas, house, near, along, outward, length, rise, style)
    _paint_front(canvas, house, near, along, length, tuple(-part for part in outward), 0.0, style)
    back = tuple(-part for part in along)
    _paint_front(canvas, house, near, outward, house.deep, back, rise, style)


def _paint_slope(canvas, house, near, along, outward, length, rise, style):
    """Paints the side of the roof that falls towards the street, and a chimney."""
    half = house.deep / 2.0
    up = unit((outward[0] * half, rise, outward[2] * half))
    eaves = (near[0] - outward[0] * 0.3, house.height - 0.1, near[2] - outward[2] * 0.3)
    wide = (half * half + rise * rise) ** 0.5
    window = canvas.camera.window(eaves, along, up, (0.0, length, 0.0, wide))
    if window is not None:
        u, v = window.u, window.v
        mask = (u >= 0) & (u <= length) & (v >= 0) & (v <= wide)
        normal = unit((-outward[0] * rise, half, -outward[2] * rise))
        rows = v * 3.0 - np.floor(v * 3.0) < 0.25
        grain = style.grain(noise.fractal(u, v, 4.0, house.key), 0.3)
        grain = grain * noise.darken(rows, 0.25 * noise.fade(window.depth, 25.0))
        rgb = style.colour("roof", house.roof_look, house.tint) * grain
        canvas.paint(window, mask, rgb * np.float32(style.shade(normal)), canvas_lib.BUILDING)
    place = house.tint * (length - 1.0)
    foot = tuple(near[i] + outward[i] * half * 0.8 + along[i] * place for i in range(3))
    window = canvas.camera.window(
        foot, canvas.camera.facing(), _UP, (0.0, 1.0, house.height, house.height + rise + 1.2)
    )
    if window is not None:
        mask = (window.u >= 0) & (window.u <= 1.0) & (window.v >= house.height)
        mask &= window.v <= house.height + rise + 1.2
        canvas.paint(window, mask, style.colour("facade", 0, house.tint) * 0.8, canvas_lib.BUILDING)


def _paint_front(canvas, house, origin, axis, length, normal, gable, style):
    """Paints a wall of a house; `gable` is the height of a triangle on top of it."""
    height = house.height
    window = canvas.camera.window(origin, axis, _UP, (0.0, length, 0.0, height + gable))
    if window is None:
        return
    u, v = window.u, window.v
    mask = (u >= 0) & (u <= length) & (v >= 0)
    if gable:
        mask &= v <= height + gable * (1.0 - np.abs(2.0 * u / np.float32(length) - 1.0))
    else:
        mask &= v <= height
    rgb = _facade(house, u, v, window.depth, length, style)
    shade = style.shade(normal)
    # Street canyons are darker at the bottom; glass mirrors the sky all the same.
    fall = 1.0 - 0.22 * style.texture * np.clip(1.0 - v / np.float32(height), 0.0, 1.0)
    canvas.paint(window, mask, rgb * (np.float32(shade) * fall), canvas_lib.BUILDING)


def _facade(house, u, v, depth, length, style):
    """Colours a facade; u and v in metres. Returns float32 (3, h, w)."""
    look, key = house.look, house.key
    base = style.colour("facade", look, house.tint)
    wide, storey, half, low, high = _GRIDS[look]
    count = max(int(length / wide), 1)
    wide = length / count
    grain = style.grain(noise.fractal(u, v, 6.0, key), 0.2) * _stones(look, u, v, depth, key)
    rgb = base * grain
    ground = 3.7 if house.shop else 0.5
    cell_u, cell_v = u / np.float32(wide), (v - ground) / np.float32(storey)
    part_u = np.abs(cell_u - np.floor(cell_u) - 0.5)
    part_v = cell_v - np.floor(cell_v)
    inside = (v > ground) & (v < house.height - 0.5)
    border = inside & (part_u < half + 0.05) & (part_v > low - 0.05) & (part_v < high + 0.04)
    trim = style.colour("trim", look)
    if look != 4 or house.tint > 0.5:
        np.copyto(rgb, np.broadcast_to(trim, rgb.shape), where=border)
    if look == 4:
        # Round tops.
        arch = part_u / half
        high = high - 0.14 * arch * arch
    opening = inside & (part_u < half) & (part_v > low) & (part_v < high)
    pane = noise.cells(cell_u, cell_v, key)
    glow = style.colour("window", 0, 0.1), style.colour("window", 0, 0.9)
    glass = glow[0] + (glow[1] - glow[0]) * (pane * pane)
    if look == 2:
        glass = base * (0.5 + 0.6 * pane)
    glass = glass * (0.8 + 0.4 * part_v)
    np.copyto(rgb, glass, where=opening)
    bars = opening & ((part_u < 0.02) | (np.abs(part_v - (low + 0.3)) < 0.02)) & (depth < 35.0)
    np.copyto(rgb, np.broadcast_to(trim, rgb.shape), where=bars)
    if look == 3:
        slab = (part_v < 0.08) & inside
        np.copyto(rgb, rgb * 0.75, where=slab)
    top = v > house.height - 0.45
    np.copyto(rgb, np.broadcast_to(trim * 0.85, rgb.shape), where=top & (v < house.height))
    if house.shop:
        _lay_shop(house, u, v, style, rgb)
    else:
        door = (noise.cells(cell_u / 2.0, np.float32(0.0), key + 2) > 0.5) & (v < 2.4)
        door &= (part_u < 0.2) & (np.floor(cell_u) % 2 < 1)
        np.copyto(rgb, np.broadcast_to(style.colour("shop", 0, house.tint), rgb.shape), where=door)
        np.copyto(rgb, rgb * 0.8, where=v < 0.5)
    return rgb


def _stones(look, u, v, depth, key):
    """Bricks, ashlar or panel joints as a brightness, float32 (h, w)."""
    if look == 0:
        wide, high, near = 0.26, 0.11, 7.0
    elif look == 4:
        wide, high, near = 0.9, 0.45, 22.0
    elif look in (3, 5):
        wide, high, near = 3.0, 1.6, 40.0
    else:
        return np.float32(1.0)
    row = np.floor(v / high)
    column = u / np.float32(wide) + 0.5 * (row % 2)
    joint = (column - np.floor(column) < 0.08) | (v / np.float32(high) - row < 0.1)
    stone = noise.cells(column, row, key) - 0.5
    detail = noise.fade(depth, near)
    return (1.0 + 0.3 * detail * stone) * noise.darken(joint, 0.16 * detail)


def _lay_shop(house, u, v, style, rgb):
    """Paints a shop front over the lowest 3.5 metres, in place."""
    number = noise.cells(u / 7.0, np.float32(0.0), house.key + 5)
    first = style.colour("shop", 0, house.tint)
    second = style.colour("shop", 0, (house.tint * 7.0) % 1.0)
    fascia = np.where(number > 0.5, first, second)
    np.copyto(rgb, fascia * 0.8, where=v < 3.5)
    name = noise.cells(u * 3.0, np.float32(0.0), house.key) > 0.45
    letters = (v > 2.95) & (v < 3.25) & name & (np.abs(u / 7.0 - np.floor(u / 7.0) - 0.5) < 0.3)
    np.copyto(rgb, np.broadcast_to(style.colour("trim", 1), rgb.shape), where=letters)
    pane = np.abs(u / 1.8 - np.floor(u / 1.8) - 0.5) < 0.46
    show = (v > 0.5) & (v < 2.7) & pane
    light = noise.cells(u / 0.6, v / 0.7, house.key)
    glass = style.colour("window", 0, 0.1) * (0.7 + 0.5 * light)
    glass = np.where(light > 0.86, fascia * 0.9, glass)
    np.copyto(rgb, glass, where=show)
