"""Paints lamp posts, traffic lights, signs and bins."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.plan.scene import Thing
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style

_UP = (0.0, 1.0, 0.0)


def paint_pole(canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style) -> None:
    """Paints a lamp post: an arm, a lantern on top, or two short arms.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "pole".
        style: the `Style`.
    """
    high = (6.5, 4.2, 7.5)[thing.look] + thing.tints[0]
    window = _front(canvas, street.place(thing.x, thing.s), 2.2, 0.0, high + 0.5)
    if window is None:
        return
    u, v = window.u, window.v
    # Arms reach over the road, which lies towards the middle of the street.
    inward = u * np.float32(-1.0 if thing.x > 0 else 1.0)
    mask = (np.abs(u) < 0.085 - 0.004 * v) & (v >= 0) & (v < high)
    mask |= (np.abs(u) < 0.13) & (v >= 0) & (v < 0.9)
    if thing.look == 0:
        mask |= (np.abs(v - high + 0.12 * (1.7 - inward)) < 0.05) & (inward > 0) & (inward < 1.7)
        lamp = (np.abs(inward - 1.6) < 0.38) & (np.abs(v - high + 0.02) < 0.1)
    elif thing.look == 1:
        lamp = (np.abs(u) < 0.22) & (np.abs(v - high - 0.1) < 0.27)
    else:
        mask |= (np.abs(v - high + 0.05) < 0.05) & (np.abs(u) < 1.3)
        lamp = (np.abs(np.abs(u) - 1.3) < 0.3) & (np.abs(v - high + 0.1) < 0.1)
    rgb = style.colour("pole", thing.look, thing.tints[1]) * _round(u, 0.09, style)
    canvas.paint(window, mask, rgb, canvas_lib.POLE)
    canvas.paint(_nearer(window), lamp, style.colour("pole", 2, 0.8), canvas_lib.POLE)


def paint_light(canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style) -> None:
    """Paints a traffic light on its pole; look 2 has a second one on an arm over the road.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "light".
        style: the `Style`.
    """
    high = 5.4 if thing.look == 2 else 3.3
    window = _front(canvas, street.place(thing.x, thing.s), 3.6, 0.0, high + 0.6)
    if window is None:
        return
    u, v = window.u, window.v
    inward = u * np.float32(-1.0 if thing.x > 0 else 1.0)
    mask = (np.abs(u) < 0.07) & (v >= 0) & (v < high)
    if thing.look == 2:
        mask |= (np.abs(v - high + 0.08) < 0.06) & (inward > 0) & (inward < 3.2)
    rgb = style.colour("pole", thing.look, thing.tints[1]) * _round(u, 0.07, style)
    canvas.paint(window, mask, rgb, canvas_lib.POLE)
    places = [(0.0, 2.75)] + ([(3.0, high - 0.2)] if thing.look == 2 else [])
    for aside, middle in places:
        du, dv = inward - np.float32(aside), v - np.float32(middle)
        box = (np.abs(du) < 0.21) & (np.abs(dv) < 0.55)
        rgb = np.broadcast_to(style.colour("light_box", 0, thing.tints[2]), (3,) + u.shape).copy()
        lit = int(thing.tints[3] * 3)
        for number, colour in enumerate(((40, 230, 150), (255, 190, 40), (255, 50, 40))):
            lamp = dv - np.float32((number - 1) * 0.34)
            glow = np.array(colour, np.float32).reshape(3, 1, 1)
            bright = 1.0 if number == lit else 0.22
            np.copyto(
                rgb,
                np.broadcast_to(glow * np.float32(bright), rgb.shape),
                where=du * du + lamp * lamp < 0.0196,
            )
        canvas.paint(_nearer(window), box, rgb, canvas_lib.TRAFFIC_LIGHT)


def paint_sign(canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style) -> None:
    """Paints a traffic sign on its pole: ring, disc, triangle, board or diamond.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "sign".
        style: the `Style`.
    """
    board = thing.look == 3
    half = (0.5 + 0.6 * thing.tints[0]) if board else 0.34 + 0.12 * thing.tints[0]
    middle = 2.2 + 0.7 * thing.tints[1]
    window = _front(canvas, street.place(thing.x, thing.s), half + 0.05, 0.0, middle + half + 0.1)
    if window is None:
        return
    u, v = window.u, window.v
    pole = (np.abs(u) < 0.05) & (v >= 0) & (v < middle)
    rgb = style.colour("pole", 0, thing.tints[2]) * _round(u, 0.05, style)
    canvas.paint(window, pole, rgb, canvas_lib.POLE)
    du, dv = u / np.float32(half), (v - np.float32(middle)) / np.float32(half)
    main = style.colour("sign", thing.look, thing.tints[3])
    white = style.colour("mark", 0, 0.6)
    ring = du * du + dv * dv
    if thing.look == 0:
        plate = ring < 1.0
        inner, text = ring < 0.56, (np.abs(du) < 0.36) & (np.abs(dv) < 0.3)
        text &= np.abs(du) > 0.08
    elif thing.look == 1:
        plate = ring < 1.0
        inner = (np.abs(du) < 0.14) & (np.abs(dv) < 0.6)
        text = np.zeros(u.shape, bool)
    elif thing.look == 2:
        plate = (dv > -0.75) & (np.abs(du) < (1.0 - dv) * 0.56)
        inner = (dv > -0.55) & (np.abs(du) < (0.62 - dv) * 0.56)
        text = (np.abs(du) < 0.1) & (dv > -0.45) & (dv < 0.25)
    elif board:
        plate = (np.abs(du) < 1.0) & (np.abs(dv) < 0.62)
        inner = np.zeros(u.shape, bool)
        text = (np.abs(du) < 0.8) & (np.abs(np.abs(dv) - 0.26) < 0.1)
    else:
        plate = np.abs(du) + np.abs(dv) < 1.0
        inner, text = np.zeros(u.shape, bool), np.abs(du) + np.abs(dv) > 0.82
    rgb = np.broadcast_to(main, (3,) + u.shape).copy()
    np.copyto(rgb, np.broadcast_to(white, rgb.shape), where=inner)
    dark = style.colour("tyre")
    np.copyto(rgb, np.broadcast_to(white if board else dark, rgb.shape), where=text)
    canvas.paint(_nearer(window), plate, rgb, canvas_lib.TRAFFIC_SIGN)


def paint_bin(canvas: canvas_lib.Canvas, street: Street, thing: Thing, style: Style) -> None:
    """Paints a bin, a box or a post box, which are void ("static").

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        thing: the `Thing`, of kind "bin".
        style: the `Style`.
    """
    half, high = ((0.28, 0.95), (0.5, 1.3), (0.24, 1.5))[thing.look]
    window = _front(canvas, street.place(thing.x, thing.s), half, 0.0, high)
    if window is None:
        return
    u, v = window.u, window.v
    mask = (np.abs(u) < half) & (v >= 0) & (v < high)
    rgb = style.colour("static", 0, thing.tints[0]) * _round(u, half, style)
    rgb = np.where((v > high * 0.75) & (v < high * 0.85), rgb * np.float32(0.5), rgb)
    canvas.paint(window, mask, rgb, canvas_lib.STATIC)


def _front(canvas, foot, half, low, high):
    """Returns the window of an upright rectangle that faces the camera, or None."""
    return canvas.camera.window(foot, canvas.camera.facing(), _UP, (-half, half, low, high))


def _nearer(window):
    """Returns a window three centimetres nearer."""
    return window._replace(depth=window.depth - np.float32(0.03))


def _round(u, radius, style):
    """Brightness across something round, float32 (h, w)."""
    part = np.clip(u / np.float32(radius), -1.0, 1.0)
    return 0.95 * style.ambient + (0.1 + 0.3 * style.sun) * part * np.float32(style.sun_side)
