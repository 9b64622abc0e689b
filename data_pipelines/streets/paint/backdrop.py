"""Paints what is far: the sky and the skyline that closes the view."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan.style import Style

_DISTANCE = 230.0


def paint_sky(canvas: canvas_lib.Canvas, style: Style) -> None:
    """Paints the sky over the whole canvas, at infinite distance.

    Args:
        canvas: the `Canvas`.
        style: the `Style`.
    """
    camera = canvas.camera
    tint = style.draws.unit()
    top = style.colour("sky_top", style.sky, tint)
    low = style.colour("sky_low", style.sky, 0.5)
    rows = (np.arange(camera.height, dtype=np.float32) + 0.5)[:, None]
    cols = (np.arange(camera.width, dtype=np.float32) + 0.5)[None]
    rise = np.clip((camera.horizon - rows) / np.float32(camera.focal * 0.55), 0.0, 1.0)
    canvas.rgb[:] = low + (top - low) * rise
    if style.sky:
        # Clouds lie on a ceiling: the higher in the image, the larger.
        far = np.float32(camera.focal) / np.maximum(camera.horizon - rows, 4.0)
        u = (cols - camera.centre) / np.float32(camera.focal) * far
        cloud = noise.fractal(u, far, 2.5, style.draws.below(200))
        cover = np.clip((cloud - (0.45 if style.sky == 1 else 0.3)) * 3.0, 0.0, 1.0)
        cover = cover * np.minimum(rise * 8.0, 1.0) * 0.9
        white = style.colour("cloud", style.sky, tint)
        canvas.rgb[:] = canvas.rgb + (white - canvas.rgb) * cover
    canvas.label[:] = canvas_lib.SKY


def paint_skyline(
    canvas: canvas_lib.Canvas, skyline: tuple[int, float, float], style: Style
) -> None:
    """Paints a row of far houses and trees.

    Args:
        canvas: the `Canvas`.
        skyline: (key, height in metres, share of trees).
        style: the `Style`.
    """
    key, height, trees = skyline
    camera = canvas.camera
    right = camera.facing()
    ahead = (-right[2], 0.0, right[0])
    wide = _DISTANCE * camera.width / camera.focal
    origin = tuple(p + _DISTANCE * a for p, a in zip((camera.x, 0.0, 0.0), ahead))
    window = camera.window(origin, right, (0.0, 1.0, 0.0), (-wide, wide, 0.0, 2.0 * height))
    if window is None:
        return
    u, v = window.u, window.v
    house = noise.cells(u / 15.0, np.float32(0.0), key)
    step = (noise.cells(u / 5.0, np.float32(0.0), key + 1) - 0.5) * 0.25
    roofs = v < (0.35 + 0.75 * house + step) * np.float32(height)
    lit = np.where(noise.cells(u / 2.4, v / 3.2, key) > 0.6, np.float32(0.8), np.float32(1.0))
    colour = style.colour("facade", key, 0.4) * (0.72 + 0.3 * house) * lit
    canvas.paint(window, roofs & (v >= 0), colour, canvas_lib.BUILDING)
    crowns = noise.fractal(u, np.float32(0.0) * v, 60.0, key) * 0.9
    crowns = crowns + noise.fractal(u, v, 9.0, key) * 0.35
    mask = v < crowns * np.float32(height * (0.25 + 0.8 * trees))
    leaves = 0.55 + 0.5 * noise.fractal(u, v, 7.0, key + 3)
    near = window._replace(depth=window.depth - 5.0)
    canvas.paint(
        near,
        mask & (v >= 0),
        style.colour("leaf", (0, 2, 3, 0)[key % 4], 0.4) * leaves,
        canvas_lib.VEGETATION,
    )
