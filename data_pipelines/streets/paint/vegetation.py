"""Paints trees and bushes in six looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan.street import Tree
from data_pipelines.streets.plan.style import Style

_UP = (0.0, 1.0, 0.0)


def paint_tree(canvas: canvas_lib.Canvas, foot: Sequence[float], tree: Tree, style: Style) -> None:
    """Paints one tree that faces the camera.

    Args:
        canvas: the `Canvas`.
        foot: point (x, y, s) of its foot.
        tree: the `Tree`.
        style: the `Style`.
    """
    camera = canvas.camera
    left = min(u - a for u, _, a, _ in tree.lobes) - 0.3
    right = max(u + a for u, _, a, _ in tree.lobes) + 0.3
    _shade_ground(canvas, foot, tree, right - left, style)
    window = camera.window(
        foot,
        camera.facing(),
        _UP,
        (left, right, 0.0, max(v + b for _, v, _, b in tree.lobes) + 0.3),
    )
    if window is None:
        return
    u, v = window.u, window.v
    if tree.trunk:
        trunk = np.abs(u) < tree.trunk * (1.3 - 0.5 * v / np.float32(tree.height))
        trunk &= (v >= 0) & (v < tree.height * 0.55)
        bark = style.grain(noise.fractal(u * 5.0, v, 1.5, tree.key), 0.4)
        lit = 1.0 + 0.35 * style.sun * style.sun_side * u / np.float32(tree.trunk)
        canvas.paint(
            window,
            trunk,
            style.colour("trunk", tree.look, tree.tint) * (bark * lit),
            canvas_lib.VEGETATION,
        )
    inside = np.full(u.shape, -1.0, np.float32)
    light = np.zeros(u.shape, np.float32)
    for lobe_u, lobe_v, a, b in tree.lobes:
        du, dv = (u - np.float32(lobe_u)) / np.float32(a), (v - np.float32(lobe_v)) / np.float32(b)
        depth = 1.0 - du * du - dv * dv
        better = depth > inside
        np.copyto(inside, depth, where=better)
        np.copyto(light, dv * 0.7 + du * np.float32(0.4 * style.sun_side), where=better)
    ragged = noise.fractal(u, v, 1.6, tree.key)
    mask = (inside + (ragged - 0.5) * 0.9 > 0.12) & (v >= 0)
    rgb, ink = _crown(tree, u, v, window.depth, inside, light, ragged, style)
    near = window._replace(depth=window.depth - np.float32(0.15))
    canvas.paint(near, mask, rgb, canvas_lib.VEGETATION, ink=ink)


def _crown(tree, u, v, depth, inside, light, ragged, style):
    """Colours a crown. Returns float32 (3, h, w), and bool (h, w) where there is colour."""
    base = style.colour("leaf", tree.look, tree.tint)
    bright = style.ambient * (0.82 + (0.12 + 0.3 * style.sun) * light)
    if tree.look == 2:
        ink = _twigs(tree, u, v, depth)
        return base * (bright * (0.75 + 0.5 * ragged)), ink
    clumps = noise.fractal(u, v, 0.9, tree.key + 1)
    leaves = (noise.cells(u * 11.0, v * 11.0, tree.key) - 0.5) * noise.fade(depth, 12.0)
    strength = 0.35 + 0.65 * style.texture
    bright = bright * (1.0 + strength * (0.9 * (clumps - 0.5) + 0.7 * leaves))
    holes = (clumps < 0.36 * style.texture) & (inside < 0.35)
    if tree.look in (3, 4):
        holes |= (clumps < 0.2) & (ragged < 0.45)
    return base * bright, ~holes


def _twigs(tree, u, v, depth):
    """Finds the boughs and twigs of a bare tree; bool (h, w)."""
    fine = np.abs(noise.fractal(u * 1.3, v, 0.8, tree.key + 2) - 0.5)
    coarse = np.abs(noise.fractal(u * 1.8, v * 0.8, 1.7, tree.key + 1) - 0.5)
    spread = 1.0 + depth * 0.012
    ink = (fine < 0.085 * spread) | (coarse < 0.03 * spread)
    root = tree.height * 0.25
    for lobe_u, lobe_v, _, _ in tree.lobes:
        rise = max(lobe_v - root, 0.5)
        part = np.clip((v - np.float32(root)) / np.float32(rise), 0.0, 1.0)
        # Boughs leave the trunk steeply, then bend outwards.
        bough = np.float32(lobe_u) * part * (0.5 + 0.5 * part)
        ink |= (np.abs(u - bough) < 0.09 - 0.05 * part) & (v > root) & (v < lobe_v)
    return ink


def _shade_ground(canvas, foot, tree, wide, style):
    """Throws a dappled shadow on the ground."""
    if not style.sun:
        return
    reach = style.reach * tree.height * 0.6
    middle = (foot[0] - style.sun_side * reach, 0.0, foot[2])
    high = wide * 0.7
    window = canvas.camera.window(
        middle, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (-wide, wide, -high, high)
    )
    if window is None:
        return
    u, v = window.u / np.float32(wide * 0.6), window.v / np.float32(high * 0.6)
    dapple = noise.fractal(window.u, window.v, 1.3, tree.key)
    mask = u * u + v * v + 0.8 * dapple < 1.0
    canvas.tint(window, mask, 1.0 - 0.5 * style.sun)
