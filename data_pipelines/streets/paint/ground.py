"""Paints the ground: road, marks, sidewalks, verges, lots, and the shadows that fall on it."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan import street as street_lib
from data_pipelines.streets.plan.street import Street
from data_pipelines.streets.plan.style import Style

_STEP = 0.5
_GROUNDS = ("paved", "grass", "dry", "soil")


def paint_ground(canvas: canvas_lib.Canvas, street: Street, style: Style) -> None:
    """Paints everything on the plane y = 0.

    Args:
        canvas: the `Canvas`.
        street: the `Street`.
        style: the `Style`.
    """
    window = canvas.camera.ground()
    if window is None:
        return
    s, depth = window.v, window.depth
    bent = np.clip(s, street_lib.BEGIN, 1.3 * street_lib.END)
    x = window.u - np.float32(street.bend / 2.0) * bent * bent
    rgb = np.zeros((3,) + x.shape, np.float32)
    label = np.full(x.shape, canvas_lib.ROAD, np.uint8)
    road = _road_colour(street, style, x, s, depth)
    walk = _walk_colour(street, style, x, s, depth)
    rgb[:] = road
    for sign in (-1, 1):
        _lay_side(street.side(sign), street, style, sign, x, s, depth, walk, rgb, label)
    crossing = street.crossing
    if crossing:
        cross = (s > crossing[0]) & (s < crossing[1])
        np.copyto(rgb, road, where=cross)
        label[cross] = canvas_lib.ROAD
    _lay_marks(street, style, x, s, depth, rgb)
    for sign in (-1, 1):
        _shade_side(street.side(sign), style, sign, x, s, rgb)
    rgb *= np.float32(style.shade((0.0, 1.0, 0.0)) / 1.15)
    canvas.paint(window, depth > 0, rgb, label)


def _road_colour(street, style, x, s, depth):
    """Asphalt or cobbles, with wheel tracks, patches and stains; float32 (3, h, w)."""
    base = style.colour("road", street.road_look, style.draws.unit())
    key = style.draws.below(200)
    grain = style.grain(noise.fractal(x, s, 9.0, key), 0.16)
    fine = noise.fade(depth, 9.0)
    grain = grain * (
        1.0 + (noise.cells(x * 28.0, s * 28.0, key) - 0.5) * fine * np.float32(0.22 * style.texture)
    )
    across = np.abs(x / street.lane - np.floor(x / street.lane) - 0.5)
    grain = grain * noise.darken(np.abs(across - 0.24) < 0.09, 0.12 * style.texture)
    patch = noise.cells(x / 2.3, s / 5.5, key + 1)
    grain = grain * noise.darken(patch < 0.06, 0.22 * style.texture)
    grain = grain * noise.darken(patch > 0.96, -0.18 * style.texture)
    crack = np.abs(noise.fractal(x, s, 6.0, key + 2) - 0.5) < 0.008
    grain = grain * noise.darken(crack, 0.3 * style.texture)
    if street.road_look == 2:
        row = np.floor(s * 5.0)
        stone = noise.cells(x * 5.0 + 0.5 * row, row, key)
        grain = grain * (1.0 + (stone - 0.5) * 0.5 * noise.fade(depth, 14.0))
    return base * grain


def _walk_colour(street, style, x, s, depth):
    """Slabs, pavers or asphalt; float32 (3, h, w)."""
    look = street.walk_look
    key = style.draws.below(200)
    grain = style.grain(noise.fractal(x, s, 5.0, key), 0.16)
    size = (0.75, 0.3, 50.0)[look]
    slab = noise.cells(x / size, s / size, key)
    joint = ((x / size - np.floor(x / size)) < 0.08) | ((s / size - np.floor(s / size)) < 0.08)
    fine = noise.fade(depth, (13.0, 7.0, 1.0)[look])
    grain = grain * (1.0 + 0.22 * fine * (slab - 0.5)) * noise.darken(joint, 0.2 * fine)
    return style.colour("sidewalk", look, style.draws.unit()) * grain


def _lay_side(side, street, style, sign, x, s, depth, walk, rgb, label):
    """Lays verge, sidewalk and lots of one side over the road, in place."""
    distance = x * np.float32(sign)
    verge = distance > side.edge
    lawn = style.colour("terrain", 0, style.draws.unit()) * _turf(style, x, s, depth)
    if side.verge > side.edge:
        np.copyto(rgb, lawn, where=verge)
        label[verge] = canvas_lib.TERRAIN
    paved = distance > side.verge
    np.copyto(rgb, walk, where=paved)
    label[paved] = canvas_lib.SIDEWALK
    curb = (distance > side.edge) & (distance < side.edge + 0.16)
    np.copyto(rgb, style.colour("curb"), where=curb)
    label[curb] = canvas_lib.SIDEWALK
    gutter = (distance > side.edge - 0.12) & (distance <= side.edge)
    np.copyto(rgb, rgb * 0.7, where=gutter)
    kinds = np.zeros(int((1.4 * street_lib.END - street_lib.BEGIN) / _STEP) + 1, np.int32)
    for lot in side.lots:
        kinds[_index(lot.begin) : _index(lot.end)] = _GROUNDS.index(lot.ground)
    kinds[_index(side.lots[-1].end) :] = 1
    place = np.clip((s - street_lib.BEGIN) / _STEP, 0, len(kinds) - 1).astype(np.int32)
    kind = np.where(distance > side.walk, kinds[place], 0)
    if street.crossing:
        kind[(s > street.crossing[0] - 2.5) & (s < street.crossing[1] + 2.5)] = 0
    for number in (1, 2, 3):
        here = kind == number
        if here.any():
            soil = style.colour("terrain", number - 1, style.draws.unit())
            np.copyto(rgb, soil * _turf(style, x, s, depth), where=here)
            label[here] = canvas_lib.TERRAIN


def _index(s):
    """Returns the entry of a table along the street."""
    return max(int((s - street_lib.BEGIN) / _STEP), 0)


def _turf(style, x, s, depth):
    """Brightness of grass or soil, float32 (h, w)."""
    key = style.draws.below(200)
    clumps = style.grain(noise.fractal(x, s, 3.0, key), 0.3)
    blades = (noise.cells(x * 16.0, s * 9.0, key) - 0.5) * noise.fade(depth, 10.0)
    return clumps * (1.0 + blades * np.float32(0.6 * style.texture))


def _lay_marks(street, style, x, s, depth, rgb):
    """Paints lane marks, edge lines, the stop line and the zebra, in place."""
    lane = street.lane
    left, right = street.lanes_left, street.lanes_right
    flowing = s - np.floor(s / 6.0) * 6.0
    dash = flowing < 3.0
    marks = np.zeros(x.shape, bool)
    # Half of the pixels' footprint keeps far lines from breaking up.
    half = 0.07 + 0.0008 * depth
    for number in range(-left + 1, right):
        axis = number == 0
        line = np.abs(x - number * lane) < half
        marks |= line & (dash if street.dashed or not axis else np.bool_(True))
    special = np.zeros(x.shape, bool)
    for sign in (-1, 1):
        distance = x * np.float32(sign)
        side = street.side(sign)
        if side.parking:
            marks |= (np.abs(distance - side.edge + 2.1) < half * 0.7) & (flowing < 4.5)
        elif street.mark_look:
            special |= np.abs(distance - side.edge + 0.3) < half * 0.7
            special |= np.abs(distance - side.edge + 0.5) < half * 0.7
    if street.crossing:
        begin, end = street.crossing
        keep = (s < begin - 0.5) | (s > end + 0.5)
        marks &= keep
        special &= keep
        inside = (x > -street.left.edge) & (x < street.right.edge)
        if street.zebra:
            stripe = (x + 50.0) / 1.1 - np.floor((x + 50.0) / 1.1) < 0.5
            band = (s > begin - 3.8) & (s < begin - 0.8) & inside
            marks = (marks & ~band) | (band & stripe)
        ours = x * street.drive > 0 if min(left, right) else np.bool_(True)
        marks |= (s > begin - 4.7) & (s < begin - 4.3) & inside & ours
    worn = noise.fractal(x, s, 1.5, 5) > 0.35 * style.texture
    paint = style.colour("mark", 0)
    np.copyto(rgb, paint, where=marks & worn)
    np.copyto(rgb, style.colour("mark", 1), where=special & worn)
    if street.rails:
        for middle in (-lane / 2.0, lane / 2.0):
            rail = np.abs(np.abs(x - middle) - 0.72) < half * 0.8
            np.copyto(rgb, rgb * 0.55, where=rail)


def _shade_side(side, style, sign, x, s, rgb):
    """Lets the houses on the sunny side throw their shadows, in place."""
    if style.reach == 0.0 or style.sun == 0.0 or sign != style.sun_side:
        return
    reach = np.zeros(int((1.4 * street_lib.END - street_lib.BEGIN) / _STEP) + 1, np.float32)
    for lot in side.lots:
        for house in lot.buildings:
            ends = house.front - house.height * style.reach
            reach[_index(house.begin) : _index(house.end)] = ends - side.edge - 60.0
    place = np.clip((s - street_lib.BEGIN) / _STEP, 0, len(reach) - 1).astype(np.int32)
    bound = reach[place]
    dark = (bound < 0) & (x * np.float32(sign) > bound + (side.edge + 60.0))
    np.copyto(rgb, rgb * np.float32(1.0 - 0.55 * style.sun), where=dark)
