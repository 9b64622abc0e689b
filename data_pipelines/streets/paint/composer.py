"""Draws a sampled scene on a canvas, from far to near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines.streets.paint import backdrop
from data_pipelines.streets.paint import boundaries
from data_pipelines.streets.paint import buildings
from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import furniture
from data_pipelines.streets.paint import geometry
from data_pipelines.streets.paint import ground
from data_pipelines.streets.paint import people
from data_pipelines.streets.paint import vegetation
from data_pipelines.streets.paint import vehicles
from data_pipelines.streets.plan.scene import Scene
from data_pipelines.streets.plan.style import Style


def make_camera(scene: Scene, height: int, width: int) -> geometry.Camera:
    """Places the camera of a scene.

    Args:
        scene: the `Scene`.
        height: height of the canvas in pixels.
        width: width of the canvas in pixels.

    Returns:
        A `Camera`.
    """
    x, eye_height, cos_yaw, sin_yaw = scene.eye
    return geometry.Camera(
        width=width,
        height=height,
        focal=scene.focal * (width + 1.6 * height) / 2.0,
        horizon=scene.horizon * height,
        eye_height=eye_height,
        x=x,
        cos_yaw=cos_yaw,
        sin_yaw=sin_yaw,
    )


def compose(canvas: canvas_lib.Canvas, scene: Scene, style: Style) -> None:
    """Draws everything of a scene.

    The order, far to near, matters only where one sees through leaves and railings; what hides
    what is settled by the depth of each pixel.

    Args:
        canvas: an empty `Canvas`.
        scene: the `Scene`.
        style: the `Style`.
    """
    street = scene.street
    backdrop.paint_sky(canvas, style)
    backdrop.paint_skyline(canvas, scene.skyline, style)
    ground.paint_ground(canvas, street, style)
    work: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
    for sign in (-1, 1):
        for lot in street.side(sign).lots:
            work.append((lot.end + 1.0, _paint_lot, (sign, lot)))
    for number, thing in enumerate(scene.things):
        work.append((thing.s, _paint_thing, (thing, number + 1)))
    work.sort(key=lambda job: -job[0])
    for _, paint, arguments in work:
        paint(canvas, street, style, *arguments)
    if scene.hood:
        _paint_hood(canvas, scene, style)


def _paint_lot(canvas, street, style, sign, lot):
    """Draws a lot: houses, then trees, then what encloses it."""
    for house in lot.buildings:
        buildings.paint_building(canvas, street, sign, house, style)
    for distance, s, tree in sorted(lot.trees, key=lambda entry: -entry[1]):
        vegetation.paint_tree(canvas, street.place(sign * distance, s), tree, style)
    if lot.boundary:
        boundaries.paint_boundary(canvas, street, sign, lot.boundary, style)


def _paint_thing(canvas, street, style, thing, instance):
    """Draws a thing by its kind."""
    kind = thing.kind
    if kind in ("car", "truck", "bus", "train"):
        vehicles.paint_vehicle(canvas, street, thing, style, instance)
    elif kind == "person":
        people.paint_person(canvas, street, thing, style, instance)
    elif kind in ("rider", "biker", "bicycle", "motorcycle"):
        people.paint_cycle(canvas, street, thing, style, instance)
    elif kind == "tree":
        foot = street.place(thing.x, thing.s)
        vegetation.paint_tree(canvas, foot, thing.part, style)
    elif kind == "rail":
        sign = 1 if thing.x > 0 else -1
        boundaries.paint_boundary(canvas, street, sign, thing.part, style)
    else:
        paint = {
            "pole": furniture.paint_pole,
            "light": furniture.paint_light,
            "sign": furniture.paint_sign,
            "bin": furniture.paint_bin,
        }[kind]
        paint(canvas, street, thing, style)


def _paint_hood(canvas, scene, style):
    """Draws the hood of the car that carries the camera."""
    height, width = canvas.label.shape
    rows = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / np.float32(height)
    cols = (np.arange(width, dtype=np.float32) + 0.5)[None] / np.float32(width) - np.float32(0.5)
    top = 1.0 - np.float32(scene.hood) * (1.0 - 2.2 * cols * cols)
    mask = rows > top
    shine = 0.8 + 1.2 * np.clip((rows - top) / np.float32(scene.hood), 0.0, 1.0) * (0.6 + cols)
    colour = style.colour("hood", 0, scene.hood_tint) * shine
    np.copyto(canvas.rgb, colour, where=mask)
    canvas.label[mask] = canvas_lib.EGO_VEHICLE
    canvas.instance[mask] = 0
    canvas.depth[mask] = 1.0
