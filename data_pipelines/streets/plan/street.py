"""The street itself: its bend, its widths, what lies beside it."""

from __future__ import annotations

import math
from typing import NamedTuple

END = 150.0
"""Metres ahead at which the modelled street ends."""
BEGIN = -8.0
"""Metres ahead (behind) at which it begins."""


class Lot(NamedTuple):
    """A piece of land beside the street.

    Attributes:
        begin: metres ahead.
        end: metres ahead.
        ground: "paved", "grass", "dry" or "soil".
        buildings: tuple of `Building`.
        trees: tuple of (distance from the axis, s, `Tree`).
        boundary: None or a `Boundary`.
    """

    begin: float
    end: float
    ground: str
    buildings: tuple[Building, ...]
    trees: tuple[tuple[float, float, Tree], ...]
    boundary: Boundary | None


class Building(NamedTuple):
    """A house: a facade along the street, an end, a roof. Lengths in metres, tints in [0, 1)."""

    begin: float
    end: float
    front: float
    deep: float
    height: float
    look: int
    tint: float
    roof: str
    roof_look: int
    shop: bool
    key: int


class Boundary(NamedTuple):
    """A wall, fence or hedge along the street. Lengths in metres."""

    kind: str
    look: int
    tint: float
    begin: float
    end: float
    distance: float
    height: float
    key: int


class Tree(NamedTuple):
    """A tree or bush: `lobes` are ellipses (u, v, radius u, radius v) in metres."""

    look: int
    tint: float
    height: float
    trunk: float
    lobes: tuple[tuple[float, float, float, float], ...]
    key: int


class Side(NamedTuple):
    """One side of the street; distances from the axis in metres.

    Attributes:
        edge: where the road ends.
        verge: where a strip of grass after the road ends; `edge` without one.
        walk: where the sidewalk ends.
        parking: whether cars stand along the edge.
        lots: tuple of `Lot`, from near to far.
    """

    edge: float
    verge: float
    walk: float
    parking: bool
    lots: tuple[Lot, ...]


class Street(NamedTuple):
    """The plan of a street.

    Attributes:
        bend: curvature in 1 / metre, positive to the right.
        lane: width of a lane in metres.
        lanes_left: lanes left of the axis.
        lanes_right: lanes right of it.
        drive: 1 where traffic keeps to the right, -1 where it keeps to the left.
        left: `Side`.
        right: `Side`.
        crossing: None, or (begin, end) in metres ahead of a street that crosses.
        zebra: whether there is a zebra crossing before it.
        rails: whether rails lie in the road.
        road_look: int.
        walk_look: int.
        mark_look: int.
        dashed: whether the axis is dashed.
    """

    bend: float
    lane: float
    lanes_left: int
    lanes_right: int
    drive: int
    left: Side
    right: Side
    crossing: tuple[float, float] | None
    zebra: bool
    rails: bool
    road_look: int
    walk_look: int
    mark_look: int
    dashed: bool

    def side(self, sign: int) -> Side:
        """Returns the `Side` of a sign: -1 left, 1 right."""
        return self.left if sign < 0 else self.right

    def shift(self, s: float) -> float:
        """Returns how far the axis has moved to the right at s, in metres."""
        return self.bend * s * s / 2.0

    def place(self, x: float, s: float, y: float = 0.0) -> tuple[float, float, float]:
        """Turns a place of the street (across, along, up) into a point of the world."""
        return (x + self.shift(s), y, s)

    def heading(self, s: float) -> tuple[float, float, float]:
        """Returns the unit direction of the street at s in the world."""
        slope = self.bend * s
        length = math.sqrt(1.0 + slope * slope)
        return (slope / length, 0.0, 1.0 / length)

    def across(self, s: float) -> tuple[float, float, float]:
        """Returns the unit direction to the right of the street at s."""
        forward = self.heading(s)
        return (forward[2], 0.0, -forward[0])
