"""Samples the plan of a street: widths, bend, crossing, and the lots on both sides."""

from __future__ import annotations

from data_pipelines.streets.plan import street as street_lib
from data_pipelines.streets.plan.draws import Draws

_CHARACTERS = ("urban", "residential", "green", "industrial", "open")
_CHARACTER_WEIGHTS = (0.44, 0.25, 0.18, 0.07, 0.06)


def plan_street(draws: Draws) -> street_lib.Street:
    """Samples a street.

    Args:
        draws: the scene's `Draws`.

    Returns:
        A `Street`.
    """
    bend = draws.pick(
        (0.0, draws.between(-0.002, 0.002), draws.between(-0.009, 0.009)), (0.4, 0.35, 0.25)
    )
    lanes = draws.pick(((1, 1), (2, 2), (1, 2), (0, 2)), (0.6, 0.14, 0.14, 0.12))
    if draws.chance(0.5):
        lanes = (lanes[1], lanes[0])
    lane = draws.between(2.8, 3.5)
    crossing = None
    if draws.chance(0.5):
        begin = draws.between(11.0, 40.0)
        crossing = (begin, begin + draws.between(7.0, 13.0))
    common = draws.pick(_CHARACTERS, _CHARACTER_WEIGHTS)
    sides = []
    for sign in (-1, 1):
        character = common if draws.chance(0.6) else draws.pick(_CHARACTERS, _CHARACTER_WEIGHTS)
        sides.append(_plan_side(draws, character, lane * lanes[(sign + 1) // 2], crossing))
    rails = lane * sum(lanes) > 8.0 and draws.chance(0.45)
    return street_lib.Street(
        bend=bend,
        lane=lane,
        lanes_left=lanes[0],
        lanes_right=lanes[1],
        drive=draws.pick((-1, 1)),
        left=sides[0],
        right=sides[1],
        crossing=crossing,
        zebra=crossing is not None and draws.chance(0.5),
        rails=rails,
        road_look=draws.pick((0, 1, 2), (0.5, 0.42, 0.08)),
        walk_look=draws.below(3),
        mark_look=draws.pick((0, 1), (0.8, 0.2)),
        dashed=draws.chance(0.75),
    )


def grow_tree(draws: Draws, look: int, height: float) -> street_lib.Tree:
    """Samples a tree or bush.

    Args:
        draws: the scene's `Draws`.
        look: 0 round, 1 conifer, 2 bare, 3 autumn, 4 poplar, 5 bush.
        height: metres.

    Returns:
        A `Tree`.
    """
    if look == 5:
        trunk, spread, low = 0.0, height * 0.8, 0.0
    elif look == 4:
        trunk, spread, low = 0.10, height * 0.13, height * 0.15
    elif look == 1:
        trunk, spread, low = 0.12, height * 0.2, height * 0.08
    else:
        trunk, spread, low = height * 0.02, height * draws.between(0.26, 0.36), height * 0.28
    lobes = []
    for number in range(4 if look == 5 else 9):
        part = draws.unit() if number else 0.5
        # Conifers narrow upwards, the others bulge in the middle.
        width = 1.1 - part if look == 1 else 1.0 - 1.6 * (part - 0.45) * (part - 0.45)
        radius = spread * (0.42 if number else 0.72) * (width if look == 1 else 1.0)
        lift = low + radius * 0.8 + part * (height - low - 1.7 * radius)
        aside = draws.between(-0.7, 0.7) * spread * width if number else 0.0
        stretch = 1.9 if look in (1, 4) else draws.between(0.8, 1.1)
        lobes.append(
            (
                aside * (0.5 if look in (1, 4) else 1.0),
                max(lift, radius * 0.5),
                radius,
                radius * stretch,
            )
        )
    return street_lib.Tree(look, draws.unit(), height, trunk, tuple(lobes), draws.below(200))


def pick_tree_look(draws: Draws) -> int:
    """Returns the look of a tree, not a bush, at its share of the streets."""
    return draws.pick((0, 1, 2, 3, 4), (0.45, 0.1, 0.22, 0.13, 0.1))


def _plan_side(draws, character, edge, crossing):
    """Samples one side, from the edge of the lanes outwards."""
    parking = draws.chance(0.6 if character in ("urban", "residential") else 0.25)
    edge += draws.between(2.0, 2.3) if parking else draws.between(0.2, 0.8)
    grassy = character in ("residential", "green", "open", "industrial")
    verge = edge + (draws.between(0.8, 2.2) if grassy and draws.chance(0.3) else 0.0)
    walk = verge + draws.between(1.8, 4.8 if character == "urban" else 3.2)
    lots = []
    s = street_lib.BEGIN
    look = draws.below(6)
    while s < street_lib.END:
        if crossing and crossing[0] - 2.5 <= s < crossing[1] + 2.5:
            s = crossing[1] + 2.5
        end = s + draws.between(8.0, 22.0) * (1.4 if s > 60 else 1.0)
        if crossing and s < crossing[0] - 2.5 < end + 3:
            end = crossing[0] - 2.5
        # A row of houses often shares one look.
        look = look if draws.chance(0.45) else draws.below(6)
        lots.append(_plan_lot(draws, character, s, end, walk, look))
        s = end
    return street_lib.Side(edge, verge, walk, parking, tuple(lots))


def _plan_lot(draws, character, begin, end, walk, look):
    """Samples one lot."""
    kind = character
    if character in ("urban", "residential") and draws.chance(0.14):
        kind = draws.pick(("green", "open"))
    if character in ("green", "open") and draws.chance(0.12):
        kind = "residential"
    ground = {"urban": "paved", "industrial": draws.pick(("paved", "dry", "soil"))}.get(
        kind, draws.pick(("grass", "dry", "soil"), (0.65, 0.2, 0.15))
    )
    buildings, trees, boundary = (), [], None
    length = end - begin
    if kind == "urban":
        setback = 0.0 if draws.chance(0.8) else draws.between(0.5, 3.0)
        buildings = (
            _plan_building(
                draws, begin, end, walk + setback, draws.between(7, 18), look, draws.chance(0.4)
            ),
        )
        if setback > 1.0:
            boundary = _plan_boundary(draws, begin, end, walk + 0.1, low=True)
    elif kind == "residential":
        setback = draws.between(3.0, 8.0)
        aside = draws.between(0.5, 2.5)
        buildings = (
            _plan_building(
                draws, begin + aside, end - aside, walk + setback, draws.between(5, 9), look, False
            ),
        )
        if draws.chance(0.8):
            boundary = _plan_boundary(draws, begin, end, walk + 0.1, low=draws.chance(0.7))
        for _ in range(draws.below(3)):
            tree = grow_tree(draws, draws.pick((5, pick_tree_look(draws))), draws.between(1.5, 6))
            trees.append((walk + draws.between(1.2, setback), draws.between(begin, end), tree))
    elif kind == "industrial":
        buildings = (
            _plan_building(
                draws,
                begin,
                end,
                walk + draws.between(5, 14),
                draws.between(5, 11),
                draws.pick((2, 3, 5)),
                False,
            ),
        )
        boundary = _plan_boundary(draws, begin, end, walk + 0.1, low=False)
    else:
        count = 2 + int(length / (3.5 if kind == "green" else 7.0))
        for _ in range(count):
            look = 5 if draws.chance(0.35) else pick_tree_look(draws)
            height = draws.between(1.2, 3.0) if look == 5 else draws.between(5, 13)
            trees.append(
                (
                    walk + draws.between(1.5, 16.0),
                    draws.between(begin, end),
                    grow_tree(draws, look, height),
                )
            )
        if draws.chance(0.6):
            boundary = _plan_boundary(draws, begin, end, walk + 0.1, low=draws.chance(0.4))
    return street_lib.Lot(begin, end, ground, buildings, tuple(trees), boundary)


def _plan_building(draws, begin, end, front, height, look, shop):
    """Samples a building."""
    roof = draws.pick(("flat", "ridge"), (0.8, 0.2) if look in (2, 3, 5) else (0.3, 0.7))
    return street_lib.Building(
        begin,
        end,
        front,
        draws.between(9, 20),
        height,
        look,
        draws.unit(),
        roof,
        draws.below(3),
        shop,
        draws.below(200),
    )


def _plan_boundary(draws, begin, end, distance, low):
    """Samples a wall, a fence or a hedge."""
    kind = draws.pick(("wall", "fence", "hedge"), (0.42, 0.36, 0.22))
    height = draws.between(0.7, 1.3) if low else draws.between(1.5, 2.6)
    look = draws.below(4) if kind == "wall" else draws.below(3)
    return street_lib.Boundary(
        kind, look, draws.unit(), begin, end, distance, height, draws.below(200)
    )
