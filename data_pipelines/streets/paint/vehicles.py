"""Paints cars, trucks, buses and trains as extruded profiles in several looks."""

from __future__ import annotations

import math

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint.vehicle_body import Body
from data_pipelines.streets.paint.vehicle_body import paint_body
from data_pipelines.streets.plan.scene import Thing
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style

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


def paint_vehicle(
    canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style, instance: int
) -> None:
    """Paints one vehicle.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "car", "truck", "bus" or "train".
        style: the `Style`.
        instance: its instance id.
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
    body = Body(rear, ahead, right, width, _LABELS[kind], instance, paint)
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
    paint_body(canvas, body, thing, profile, parts, panes, wheels, 0.32 * size, style)


def _paint_truck(canvas, body, thing, length, style):
    """Paints a truck: a load (box, tipper or tank) behind a cab."""
    high = (3.3, 2.3, 2.9)[thing.look]
    cab = length - 2.0
    load = body._replace(paint=style.colour("cargo", thing.look, thing.tints[2]))
    wheels = (0.16 * length, 0.28 * length)
    paint_body(
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
    paint_body(
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
    paint_body(
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
