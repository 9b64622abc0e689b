"""Paints cars, trucks, buses and trains as extruded profiles in several looks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from data_pipelines.streets import canvas as canvas_lib
from data_pipelines.streets import noise

_UP = (0.0, 1.0, 0.0)
_LABELS = {
    "car": canvas_lib.CAR,
    "truck": canvas_lib.TRUCK,
    "bus": canvas_lib.BUS,
    "train": canvas_lib.TRAIN,
}

# length, width, height, rear deck's height and length, belt, bonnet's height and length, rear
# slope, front slope; metres. Looks: saloon, hatchback, estate, off-roader, van, sports car.
_CARS = (
    (4.5, 1.76, 1.44, 0.98, 0.55, 0.92, 0.92, 1.15, 0.75, 0.85),
    (3.8, 1.68, 1.46, 0.95, 0.02, 0.92, 0.92, 0.85, 0.40, 0.75),
    (4.6, 1.76, 1.50, 0.95, 0.02, 0.93, 0.92, 1.15, 0.22, 0.80),
    (4.4, 1.86, 1.78, 1.10, 0.02, 1.08, 1.08, 1.05, 0.15, 0.55),
    (4.9, 1.90, 2.05, 1.10, 0.01, 1.12, 1.12, 0.70, 0.06, 0.80),
    (4.2, 1.76, 1.26, 0.86, 0.45, 0.80, 0.76, 1.35, 0.95, 0.85),
)


class _Body(NamedTuple):
    """A vehicle in place: centre of its rear on the ground, its directions, its paint."""

    rear: tuple
    ahead: tuple
    right: tuple
    width: float
    label: int
    instance: int
    paint: np.ndarray


def paint_vehicle(canvas, street, thing, style, instance):
    """Paints one vehicle.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "car", "truck", "bus" or "train".
        style: the `Style`.
        instance: int, its instance id.
    """
    forward = street.heading(thing.s) if abs(math.sin(thing.turn)) < 0.5 else (0.0, 0.0, 1.0)
    cos, sin = math.cos(thing.turn), math.sin(thing.turn)
    ahead = (forward[0] * cos + forward[2] * sin, 0.0, forward[2] * cos - forward[0] * sin)
    right = (ahead[2], 0.0, -ahead[0])
    kind, look = thing.kind, thing.look
    size = 0.95 + 0.1 * thing.tints[1]
    paint = style.colour("paint", 0, thing.tints[0])
    if kind == "car":
        length, width = _CARS[look % 6][0] * size, _CARS[look % 6][1] * size
    elif kind == "truck":
        length, width = (7.2, 6.4, 9.0)[look] * size, 2.35
    elif kind == "bus":
        length, width = (10.5, 10.0, 11.5)[look], 2.5
        paint = style.colour("bus", look, thing.tints[0])
    else:
        length, width = (26.0, 15.0, 34.0)[look], 2.5
        paint = style.colour("train", look, thing.tints[0])
    rear = tuple(c - a * length / 2.0 for c, a in zip(street.place(thing.x, thing.s), ahead))
    body = _Body(rear, ahead, right, width, _LABELS[kind], instance, paint)
    _shade_ground(canvas, body, length, style)
    if kind == "car":
        _paint_car(canvas, body, thing, size, style)
    elif kind == "truck":
        _paint_truck(canvas, body, thing, length, style)
    else:
        _paint_coach(canvas, body, thing, length, style)


def _shade_ground(canvas, body, length, style):
    """Darkens the ground under and beside a vehicle."""
    window = canvas.camera.window(
        body.rear, body.right, body.ahead, (-body.width * 1.1, body.width * 1.1, -0.6, length + 0.6)
    )
    if window is None:
        return
    across = np.abs(window.u) - np.float32(body.width / 2.0)
    along = np.abs(window.v - np.float32(length / 2.0)) - np.float32(length / 2.0)
    out = np.maximum(np.maximum(across, along), np.float32(-0.3))
    factor = np.clip(style.contact + (1.0 - style.contact) * (out + 0.2) / 0.75, 0.0, 1.0)
    canvas.tint(window, out < 0.55, factor)


def _paint_car(canvas, body, thing, size, style):
    """Paints a car."""
    (length, _, high, deck, tail, _, bonnet, nose, back, front) = (
        value * size for value in _CARS[thing.look % 6]
    )
    base = 0.24
    screen = length - nose
    profile = (
        (0.0, base),
        (0.03, deck),
        (tail + 0.03, deck),
        (tail + back, high),
        (screen - front, high),
        (screen, bonnet),
        (length - 0.08, bonnet * 0.88),
        (length, base),
    )
    parts = ("rear", "deck", "back window", "roof", "windscreen", "deck", "front")
    panes = (
        (tail + 0.16, deck),
        (tail + back + 0.06, high - 0.09),
        (screen - front - 0.04, high - 0.09),
        (screen - 0.2, bonnet + 0.02),
    )
    if thing.look == 4 and thing.tints[2] < 0.6:
        # A van for goods: glass beside the front seats alone.
        panes = (
            (screen - front - 0.9, deck),
            (screen - front - 0.9, high - 0.12),
            (screen - front, high - 0.12),
            (screen - 0.2, bonnet + 0.02),
        )
    wheels = (0.18 * length, 0.81 * length)
    _paint_body(canvas, body, thing, profile, parts, panes, wheels, 0.32 * size, style)


def _paint_truck(canvas, body, thing, length, style):
    """Paints a truck: a load (box, tipper or tank) behind a cab."""
    high = (3.3, 2.3, 2.9)[thing.look]
    cab = length - 2.0
    load = body._replace(paint=style.colour("cargo", thing.look, thing.tints[2]))
    wheels = (0.16 * length, 0.28 * length)
    _paint_body(
        canvas,
        load,
        thing,
        ((0.0, 0.75), (0.0, high), (cab - 0.15, high), (cab - 0.15, 0.75)),
        ("load", "roof", "plain"),
        None,
        wheels,
        0.48,
        style,
    )
    profile = ((cab, 0.5), (cab, 2.65), (length - 0.35, 2.65), (length, 1.5), (length, 0.5))
    panes = ((cab + 0.6, 1.45), (cab + 0.6, 2.3), (length - 0.45, 2.3), (length - 0.18, 1.45))
    _paint_body(
        canvas,
        body,
        thing,
        profile,
        ("plain", "roof", "windscreen", "front"),
        panes,
        (length - 0.95,),
        0.48,
        style,
    )


def _paint_coach(canvas, body, thing, length, style):
    """Paints a bus or a train: long, with rows of windows."""
    if thing.kind == "bus":
        high, base = (3.0, 4.3, 3.5)[thing.look], 0.35
        wheels, radius = (0.25 * length, 0.8 * length), 0.5
    else:
        high, base = (3.5, 3.3, 3.9)[thing.look], 0.3
        wheels, radius = tuple(length * part for part in (0.1, 0.16, 0.84, 0.9)), 0.36
    slope = 0.9 if thing.kind == "train" and thing.look != 1 else 0.15
    profile = (
        (slope, base),
        (0.0, 1.2),
        (slope, high),
        (length - slope, high),
        (length, 1.2),
        (length - slope, base),
    )
    _paint_body(
        canvas,
        body,
        thing,
        profile,
        ("bumper", "coach rear", "roof", "coach front", "bumper"),
        "rows",
        wheels,
        radius,
        style,
    )


def _paint_body(canvas, body, thing, profile, parts, panes, wheels, radius, style):
    """Paints an extruded profile: underside, faces that look at the camera, the nearer flank."""
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
