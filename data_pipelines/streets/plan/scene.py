"""Samples what stands and moves on a street: the description that both styles draw."""

from __future__ import annotations

import math
from typing import NamedTuple

from data_pipelines.streets.plan import planning
from data_pipelines.streets.plan import street as street_lib
from data_pipelines.streets.plan.draws import Draws

_SIGNS = 5
_CAR_LOOKS, _CAR_WEIGHTS = (0, 1, 2, 3, 4, 5), (0.24, 0.27, 0.17, 0.14, 0.12, 0.06)


class Thing(NamedTuple):
    """Something on the street.

    Attributes:
        kind: "car", "truck", "bus", "train", "motorcycle", "bicycle", "person", "rider" (of a
            bicycle), "biker" (of a motorcycle), "pole", "light", "sign", "tree", "bin", "rail".
        look: int.
        tints: four floats in [0, 1): colours and sizes.
        x: metres across the street.
        s: metres along it.
        turn: heading relative to the street in radians, clockwise; 0 drives away from the camera.
        part: a `Tree` for "tree", a `Boundary` for "rail", else None.
    """

    kind: str
    look: int
    tints: tuple[float, ...]
    x: float
    s: float
    turn: float
    part: street_lib.Tree | street_lib.Boundary | None = None


class Scene(NamedTuple):
    """Everything that geometry and labels depend on, apart from the image's size.

    Attributes:
        street: the `Street`.
        things: tuple of `Thing`, from far to near.
        eye: (x, height in metres, cosine and sine of the heading).
        focal: focal length in multiples of (width + 1.6 height) / 2.
        horizon: row of the horizon in multiples of the height.
        sky: int, the look of the sky.
        skyline: (key, height in metres, share of trees) of what closes the view.
        hood: height of the ego vehicle's hood in multiples of the height, 0 without.
        hood_tint: float in [0, 1).
    """

    street: street_lib.Street
    things: tuple[Thing, ...]
    eye: tuple[float, float, float, float]
    focal: float
    horizon: float
    sky: int
    skyline: tuple[int, float, float]
    hood: float
    hood_tint: float


def sample_scene(draws: Draws) -> Scene:
    """Samples a scene.

    Args:
        draws: the scene's `Draws`.

    Returns:
        A `Scene`.
    """
    street = planning.plan_street(draws)
    own = _lanes(street, True)
    x = draws.pick(own) + draws.between(-0.6, 0.6)
    yaw = draws.between(-0.06, 0.06) + 0.5 * street.bend * 20.0
    eye = (x, draws.between(1.25, 2.0), math.cos(yaw), math.sin(yaw))
    things: list[Thing] = []
    _add_traffic(draws, street, x, things)
    for sign in (-1, 1):
        _add_parked(draws, street, sign, things)
        _add_furniture(draws, street, sign, things)
        _add_people(draws, street, sign, things)
    if street.crossing:
        _add_crossing(draws, street, things)
    things = [thing for thing in things if thing.s > 1.5]
    things.sort(key=lambda thing: -thing.s)
    return Scene(
        street,
        tuple(things),
        eye,
        draws.between(0.8, 1.05),
        draws.between(0.38, 0.52),
        draws.pick((0, 1, 2), (0.35, 0.35, 0.3)),
        (draws.below(200), draws.between(8, 26), draws.unit()),
        draws.between(0.03, 0.11) if draws.chance(0.45) else 0.0,
        draws.unit(),
    )


def _make(draws, kind, look, x, s, turn=0.0, part=None):
    """Makes a thing with tints of its own."""
    return Thing(kind, look, tuple(draws.unit() for _ in range(4)), x, s, turn, part)


def _lanes(street, own):
    """Returns the middles of the lanes of our direction, or of the other one."""
    sign = street.drive if own else -street.drive
    count = street.lanes_right if sign > 0 else street.lanes_left
    if count == 0:
        # A one-way street: all lanes go our way, whichever side they are on.
        if not own:
            return ()
        sign, count = -sign, street.lanes_left + street.lanes_right
    elif own and min(street.lanes_left, street.lanes_right) == 0:
        count = street.lanes_left + street.lanes_right
    elif not own and min(street.lanes_left, street.lanes_right) == 0:
        return ()
    return tuple(sign * street.lane * (number + 0.5) for number in range(count))


def _vehicle(draws, x, s, turn):
    """Makes a vehicle of the moving traffic."""
    kind = draws.pick(("car", "truck", "bus", "biker", "rider"), (0.78, 0.055, 0.045, 0.05, 0.07))
    if kind == "car":
        return _make(draws, kind, draws.pick(_CAR_LOOKS, _CAR_WEIGHTS), x, s, turn)
    x += draws.between(-0.8, 0.8) if kind in ("biker", "rider") else 0.0
    return _make(
        draws, kind, draws.below(3), x, s + (4.0 if kind in ("bus", "truck") else 0.0), turn
    )


def _add_traffic(draws, street, eye_x, things):
    """Adds moving vehicles, one lane after another."""
    density = draws.between(0.2, 0.8)
    tram = street.rails and draws.chance(0.75)
    for own in (True, False):
        turn = 0.0 if own else math.pi
        for x in _lanes(street, own):
            blocked = own and abs(x - eye_x) < 2.0
            s = draws.between(10.0, 34.0) if blocked else draws.between(4.0, 34.0)
            if tram and not blocked:
                s += 16.0
                things.append(_make(draws, "train", draws.below(3), x, s, turn))
                s += 24.0
                tram = False
            while s < 110.0:
                thing = _vehicle(draws, x + draws.between(-0.3, 0.3), s, turn)
                things.append(thing)
                s = thing.s + draws.between(7.0, 34.0) / density
    if draws.chance(0.35):
        # A cyclist near the edge of our lane.
        sign = street.drive
        things.append(
            _make(
                draws,
                "rider",
                draws.below(3),
                sign
                * (
                    street.side(sign).edge
                    - draws.between(0.5, 1.0)
                    - (2.1 if street.side(sign).parking else 0.0)
                ),
                draws.between(7.0, 28.0),
            )
        )


def _add_parked(draws, street, sign, things):
    """Adds parked vehicles along one edge of the road."""
    side = street.side(sign)
    if not side.parking:
        return
    x = sign * (side.edge - 1.05)
    turn = 0.0 if sign == street.drive else math.pi
    fill = draws.between(0.15, 0.85)
    s = draws.between(3.0, 14.0)
    while s < 100.0:
        near_crossing = street.crossing and (
            street.crossing[0] - 7.0 < s < street.crossing[1] + 7.0
        )
        if draws.chance(fill) and not near_crossing:
            kind = draws.pick(("car", "truck", "motorcycle"), (0.92, 0.03, 0.05))
            look = draws.pick(_CAR_LOOKS, _CAR_WEIGHTS) if kind == "car" else draws.below(3)
            things.append(
                _make(
                    draws,
                    kind,
                    look,
                    x + draws.between(-0.1, 0.1),
                    s + (3.0 if kind == "truck" else 0.0),
                    turn,
                )
            )
            s += 4.0 if kind == "truck" else 0.0
        s += draws.between(5.3, 6.4)


def _add_furniture(draws, street, sign, things):
    """Adds lamp posts, signs, lights, street trees, bins, bicycles and guard rails."""
    side = street.side(sign)
    curb = side.verge + 0.35
    spacing = draws.between(16.0, 30.0)
    look = draws.below(3)
    s = draws.between(3.0, spacing)
    while s < 110.0:
        things.append(_make(draws, "pole", look, sign * curb, s, 0.0 if sign > 0 else math.pi))
        s += spacing
    for _ in range(1 + draws.below(5)):
        things.append(
            _make(draws, "sign", draws.below(_SIGNS), sign * (curb + 0.1), draws.between(5.0, 50.0))
        )
    if draws.chance(0.38):
        kind = planning.pick_tree_look(draws)
        s = draws.between(2.0, 14.0)
        spacing = draws.between(8.0, 18.0)
        while s < 110.0:
            tree = planning.grow_tree(draws, kind, draws.between(5.0, 9.0))
            inside = street.crossing and street.crossing[0] - 3 < s < street.crossing[1] + 3
            if not inside:
                things.append(_make(draws, "tree", kind, sign * (curb + 0.4), s, part=tree))
            s += spacing
    for _ in range(draws.below(3)):
        things.append(
            _make(draws, "bin", draws.below(3), sign * (side.walk - 0.5), draws.between(5.0, 40.0))
        )
    for _ in range(draws.below(3)):
        s, kind = draws.between(5.0, 30.0), draws.pick(("bicycle", "motorcycle"), (0.75, 0.25))
        for place in range(1 + draws.below(4)):
            things.append(
                _make(
                    draws,
                    kind,
                    draws.below(3),
                    sign * (side.walk - 0.9 + 0.2 * draws.unit()),
                    s + 0.8 * place,
                    draws.pick((0.3, 1.2, math.pi / 2)),
                )
            )
    if draws.chance(0.14):
        begin = draws.between(2.0, 20.0)
        rail = street_lib.Boundary(
            "fence",
            draws.pick((0, 3)),
            draws.unit(),
            begin,
            begin + draws.between(8.0, 30.0),
            side.edge + 0.15,
            draws.between(0.7, 1.1),
            draws.below(200),
        )
        things.append(_make(draws, "rail", rail.look, sign * rail.distance, rail.begin, part=rail))


def _add_people(draws, street, sign, things):
    """Adds pedestrians on one sidewalk, alone and in small groups."""
    side = street.side(sign)
    for _ in range(draws.pick((0, 1, 3, 6, 10), (0.1, 0.2, 0.3, 0.25, 0.15))):
        x, s = draws.between(side.verge + 0.5, side.walk - 0.3), draws.between(5.0, 50.0)
        for place in range(draws.pick((1, 2, 3), (0.62, 0.26, 0.12))):
            things.append(
                _make(
                    draws,
                    "person",
                    draws.below(5),
                    sign * (x + 0.55 * place),
                    s + 0.4 * draws.unit(),
                    draws.pick((0.0, math.pi, 1.3)),
                )
            )


def _add_crossing(draws, street, things):
    """Adds lights, cross traffic and people at a crossing."""
    begin, end = street.crossing
    if draws.chance(0.8):
        for sign in (-1, 1):
            side = street.side(sign)
            things.append(
                _make(draws, "light", draws.below(3), sign * (side.verge + 0.5), begin - 1.2)
            )
            if draws.chance(0.6):
                things.append(
                    _make(draws, "light", draws.below(3), sign * (side.verge + 0.6), end + 1.2)
                )
    for number, turn in enumerate((math.pi / 2, -math.pi / 2)):
        if draws.chance(0.4):
            kind = draws.pick(("car", "bus", "truck", "rider", "biker"), (0.6, 0.1, 0.1, 0.1, 0.1))
            things.append(
                _make(
                    draws,
                    kind,
                    draws.below(6 if kind == "car" else 3),
                    draws.between(-14.0, 14.0),
                    begin + (end - begin) * (0.3 + 0.4 * number),
                    turn,
                )
            )
    if street.zebra or draws.chance(0.3):
        for _ in range(1 + draws.below(4)):
            things.append(
                _make(
                    draws,
                    "person",
                    draws.below(5),
                    draws.between(-street.left.edge, street.right.edge),
                    begin - draws.between(1.5, 3.5),
                    draws.pick((1.3, -1.3)),
                )
            )
