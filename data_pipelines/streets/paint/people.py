"""Paints persons, riders, bicycles and motorcycles, in several looks."""

from __future__ import annotations

import math

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.plan.scene import Thing
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style

_UP = (0.0, 1.0, 0.0)


def paint_person(
    canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style, instance: int
) -> None:
    """Paints a pedestrian: trousers, standing, skirt, long coat or child.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "person".
        style: the `Style`.
        instance: its instance id.
    """
    look = thing.look
    high = (1.2 if look == 4 else 1.62) + 0.24 * thing.tints[0]
    foot = street.place(thing.x, thing.s)
    window = _front(canvas, foot, 0.45 * high, high)
    if window is None:
        return
    _shade_ground(canvas, foot, 0.45, style)
    u, v = window.u / np.float32(high), window.v / np.float32(high)
    sideways = abs(math.sin(thing.turn)) > 0.5
    stride = (0.13 if sideways else 0.05) if look != 1 else 0.045
    top = style.colour("top", 0, thing.tints[1])
    bottom = style.colour("bottom", 0, thing.tints[2])
    skin = style.colour("skin", 0, thing.tints[3])
    legs = skin if look == 2 else bottom
    slim = 0.75 if sideways else 1.0
    swing = 0.09 if sideways else 0.02
    figure = _Figure(canvas, window, canvas_lib.PERSON, instance, style)
    figure.add(_capsule(u, v, 0.03, 0.48, -stride, 0.03, 0.042), legs * 0.8)
    figure.add(_capsule(u, v, -0.03, 0.48, stride, 0.03, 0.042), legs)
    figure.add(_capsule(u, v, 0.1 * slim, 0.77, 0.13 * slim + swing, 0.47, 0.03), top * 0.78)
    if look == 2:
        hem = 0.5 - 0.5 * v
        figure.add((v > 0.26) & (v < 0.55) & (np.abs(u) < hem * 0.45), bottom)
    if look == 3:
        figure.add((v > 0.27) & (v < 0.6) & (np.abs(u) < 0.125 * slim), top * 0.9)
    figure.add(_capsule(u, v, 0.0, 0.52, 0.0, 0.74, 0.098 * slim), top)
    figure.add(_capsule(u, v, -0.1 * slim, 0.77, -0.13 * slim - swing, 0.47, 0.03), top * 0.88)
    if thing.tints[0] > 0.65:
        bag = style.colour("shop", 0, thing.tints[2])
        figure.add(_ellipse(u, v, -0.12, 0.62, 0.06, 0.11), bag)
    figure.add(_ellipse(u, v, 0.0, 0.925, 0.055, 0.072), skin)
    hair = 0.93 if abs(thing.turn) > 3.0 else 0.89
    figure.add(
        _ellipse(u, v, 0.0, 0.94, 0.06, 0.066) & (v > hair), style.colour("hair", 0, thing.tints[1])
    )


def paint_cycle(
    canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style, instance: int
) -> None:
    """Paints a bicycle or motorcycle, with its rider where the thing is one.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "bicycle", "motorcycle", "rider" or "biker".
        style: the `Style`.
        instance: its instance id.
    """
    motor = thing.kind in ("motorcycle", "biker")
    ridden = thing.kind in ("rider", "biker")
    foot = street.place(thing.x, thing.s)
    window = _front(canvas, foot, 1.2, 2.0)
    if window is None:
        return
    _shade_ground(canvas, foot, 0.7, style)
    # The profile shrinks with the angle under which it is seen; its parts keep their thickness.
    sight = canvas.camera.see(foot)
    angle = thing.turn - math.atan2(sight[0], sight[2])
    side = math.sin(angle)
    side = math.copysign(max(abs(side), 0.16), side)
    u, v = window.u / np.float32(side), window.v
    thick = window.u
    label = canvas_lib.MOTORCYCLE if motor else canvas_lib.BICYCLE
    figure = _Figure(canvas, window, label, instance, style)
    tyre, frame = style.colour("tyre"), style.colour("frame", 0, thing.tints[1])
    far = 1.0 + window.depth * 0.02
    if motor:
        _add_motorcycle(figure, thing, u, v, thick, side, tyre, frame, style)
    else:
        _add_bicycle(figure, u, v, thick, side, tyre, frame, far)
    if not ridden:
        return
    figure = _Figure(canvas, _nearer(window), canvas_lib.RIDER, instance, style)
    top = style.colour("top", 0, thing.tints[2])
    bottom = style.colour("bottom", 0, thing.tints[3])
    seat, lean = (0.85, 0.3) if motor else (0.98, 0.28 if thing.look else 0.12)
    hips, neck = -0.2 * side, (-0.2 + lean) * side
    for leg in (-0.11, 0.11):
        aside = leg * (1.15 - abs(side))
        knee = 0.25 * side + aside
        figure.add(_capsule(thick, v, hips + aside, seat, knee, 0.65, 0.085), bottom)
        figure.add(
            _capsule(thick, v, knee, 0.65, 0.02 * side + aside, 0.27 - leg * 0.7, 0.065),
            bottom * 0.85,
        )
    figure.add(_capsule(thick, v, hips, seat + 0.05, neck, seat + 0.48, 0.15), top)
    for arm in (-0.2, 0.2):
        aside = arm * (1.1 - abs(side))
        figure.add(
            _capsule(thick, v, neck + aside, seat + 0.45, 0.42 * side + aside, seat + 0.08, 0.055),
            top * 0.82,
        )
    head = style.colour("skin", 0, thing.tints[0])
    figure.add(_ellipse(thick, v, neck + 0.05 * side, seat + 0.74, 0.105, 0.135), head)
    if motor or thing.tints[0] > 0.4:
        helmet = style.colour("paint", 0, thing.tints[1])
    else:
        helmet = style.colour("hair", 0, thing.tints[2])
    rim = seat + (0.68 if motor else 0.76)
    figure.add(_ellipse(thick, v, neck + 0.04 * side, seat + 0.77, 0.13, 0.14) & (v > rim), helmet)


class _Figure:
    """Parts painted one over another on one plane that faces the camera."""

    def __init__(self, canvas, window, label, instance, style):
        self._canvas = canvas
        self._window = window
        self._label = label
        self._instance = instance
        # A soft light from the sunny side.
        slope = np.clip(window.u * 3.0, -1.0, 1.0)
        self._light = style.ambient + 0.25 * style.sun * style.sun_side * slope

    def add(self, mask, rgb):
        self._window = _nearer(self._window)
        self._canvas.paint(
            self._window,
            mask & (self._window.v >= 0),
            rgb * self._light,
            self._label,
            instance=self._instance,
        )


def _add_bicycle(figure, u, v, thick, side, tyre, frame, far):
    """Adds two wheels and a frame."""
    for hub in (-0.52, 0.52):
        du, dv = u - np.float32(hub), v - np.float32(0.34)
        ring = du * du + dv * dv
        wide = 0.045 * far
        rim = (ring < 0.36 * 0.36) & (ring > (0.34 - wide) * (0.34 - wide))
        edge = (np.abs(thick - np.float32(hub * side)) < 0.03 * far) & (np.abs(dv) < 0.34)
        figure.add(rim | edge, tyre)
    bars = (
        (-0.52, 0.34, -0.15, 0.8),
        (-0.52, 0.34, -0.05, 0.3),
        (-0.05, 0.3, -0.18, 0.92),
        (-0.05, 0.3, 0.38, 0.78),
        (-0.15, 0.8, 0.38, 0.8),
        (0.52, 0.34, 0.36, 1.0),
    )
    for u0, v0, u1, v1 in bars:
        figure.add(_capsule(thick, v, u0 * side, v0, u1 * side, v1, 0.03), frame)
    grip = (np.abs(v - 1.02) < 0.03) & (np.abs(thick - np.float32(0.36 * side)) < 0.26)
    figure.add(grip & (np.abs(thick) < 0.5), tyre)
    figure.add(_ellipse(thick, v, -0.2 * side, 0.95, 0.12, 0.04), tyre)


def _add_motorcycle(figure, thing, u, v, thick, side, tyre, frame, style):
    """Adds wheels, engine, tank and seat; look 1 is a scooter."""
    radius = 0.24 if thing.look == 1 else 0.31
    for hub in (-0.66, 0.66):
        du, dv = u - np.float32(hub), v - np.float32(radius)
        edge = (np.abs(thick - np.float32(hub * side)) < 0.08) & (np.abs(dv) < radius)
        figure.add((du * du + dv * dv < radius * radius) | edge, tyre)
        figure.add(du * du + dv * dv < radius * radius * 0.25, style.colour("pole", 0, 0.5))
    if thing.look == 1:
        figure.add(_capsule(thick, v, -0.6 * side, 0.5, -0.2 * side, 0.5, 0.2), frame)
        figure.add(_capsule(thick, v, -0.1 * side, 0.3, 0.4 * side, 0.3, 0.09), frame)
        figure.add(_capsule(thick, v, 0.42 * side, 0.35, 0.5 * side, 0.95, 0.12), frame)
    else:
        figure.add(
            _capsule(thick, v, -0.25 * side, 0.42, 0.22 * side, 0.42, 0.2),
            style.colour("tyre") * 1.8,
        )
        figure.add(_capsule(thick, v, -0.05 * side, 0.78, 0.3 * side, 0.82, 0.15), frame)
        figure.add(_capsule(thick, v, 0.64 * side, 0.35, 0.42 * side, 0.95, 0.05), tyre)
    figure.add(_capsule(thick, v, -0.62 * side, 0.74, -0.1 * side, 0.76, 0.08), tyre)
    grip = (np.abs(v - 1.03) < 0.04) & (np.abs(thick - np.float32(0.42 * side)) < 0.34)
    figure.add(grip & (np.abs(thick) < 0.6), tyre)
    lamp = style.colour("lamp_red" if abs(thing.turn) < 1.0 else "lamp_white", 0, 0.5)
    end = -0.72 if abs(thing.turn) < 1.0 else 0.6
    figure.add(_ellipse(thick, v, end * side, 0.72, 0.07, 0.06), lamp)


def _front(canvas, foot, half, high):
    """Returns the window of an upright rectangle that faces the camera, or None."""
    return canvas.camera.window(foot, canvas.camera.facing(), _UP, (-half, half, 0.0, high))


def _nearer(window):
    """Returns a window two millimetres nearer, so that the next part covers the last one."""
    return window._replace(depth=window.depth - np.float32(0.002))


def _capsule(u, v, u0, v0, u1, v1, radius):
    """Tells which points lie within a radius of a segment; bool (h, w)."""
    du, dv = u1 - u0, v1 - v0
    long = max(du * du + dv * dv, 1e-9)
    pu, pv = u - np.float32(u0), v - np.float32(v0)
    part = np.clip((pu * np.float32(du) + pv * np.float32(dv)) / np.float32(long), 0.0, 1.0)
    pu, pv = pu - part * np.float32(du), pv - part * np.float32(dv)
    return pu * pu + pv * pv < radius * radius


def _ellipse(u, v, u0, v0, a, b):
    """Tells which points lie in an ellipse; bool (h, w)."""
    du, dv = (u - np.float32(u0)) / np.float32(a), (v - np.float32(v0)) / np.float32(b)
    return du * du + dv * dv < 1.0


def _shade_ground(canvas, foot, half, style):
    """Darkens the ground around the feet, and throws a shadow away from the sun."""
    reach = 0.9 * style.reach * style.sun
    window = canvas.camera.window(
        foot, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (-half - reach, half + reach, -half, half)
    )
    if window is None:
        return
    middle = -style.sun_side * reach / 2.0
    canvas.tint(
        window,
        _ellipse(window.u, window.v, middle, 0.0, half + reach / 2.0, half * 0.6),
        style.contact * 0.5 + 0.5,
    )
