"""How one scene looks in one style: its colours and its light."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from data_pipelines.streets.plan import draws as draws_lib
from data_pipelines.streets.plan import looks

_STREAM = {"game": 1, "camera": 2}


class Style:
    """Colours, light and lens of one scene in one style; never touches geometry or labels.

    Attributes:
        name: "game" or "camera".
        draws: the `Draws` of whatever only the picture depends on.
        sky: int, the look of the sky: 0 clear, 1 clouds, 2 overcast.
        sun: strength of the direct light, 0 to 1.
        sun_side: -1 where the sun is on the left, 1 on the right.
        reach: metres that a shadow is long per metre of height, across the street.
        texture: strength of textures, 0 to 1.
        ambient: brightness of everything below the sky.
        contact: brightness under things that stand on the ground.
        haze: 0, or the distance in metres at which haze covers half.
    """

    def __init__(self, name: str, seed: int, index: int, sky: int):
        """Chooses the light of a scene.

        Args:
            name: "game" or "camera".
            seed: as `renderer.render_scene`.
            index: as `renderer.render_scene`.
            sky: the look of the sky.
        """
        self.name = name
        self.draws = draws_lib.Draws(seed, index, _STREAM[name])
        self.sky = sky
        self.sun_side = 1
        if name == "game":
            self.sun, self.reach, self.texture = 0.2, 0.0, 0.3
            self.ambient = self.draws.between(0.86, 1.06)
            self.contact, self.haze = 0.8, 0.0
            return
        bright = self.draws.between(0.55, 1.0) if sky != 2 else 0.0
        self.sun = bright * (0.6 if sky == 1 else 1.0)
        self.sun_side = self.draws.pick((-1, 1))
        self.reach = self.draws.between(0.3, 1.3)
        self.texture = 1.0
        self.ambient = self.draws.between(0.68, 1.0)
        self.contact = 0.35 if self.sun else 0.5
        self.haze = self.draws.pick((200.0, 350.0, 600.0, 1200.0))

    def colour(self, material: str, look: int = 0, tint: float = 0.5) -> np.ndarray:
        """Finds a colour of this style; see `looks.find_colour`."""
        return looks.find_colour(self.name, material, look, tint)

    def shade(self, normal: Sequence[float]) -> float:
        """Returns the brightness of a surface.

        Args:
            normal: unit direction (x, y, s) that leaves the surface.

        Returns:
            The brightness, 1 on average.
        """
        # The sun stands 45 degrees high, to one side and somewhat behind the camera.
        facing = normal[0] * self.sun_side * 0.55 + normal[1] * 0.7 - normal[2] * 0.45
        sky = 0.80 + 0.16 * normal[1]
        light = sky * (1.0 - 0.35 * self.sun) + self.sun * (0.12 + 0.85 * max(facing, 0.0))
        return self.ambient * light

    def grain(self, values: np.ndarray, amount: float) -> np.ndarray:
        """Turns noise in [0, 1] into a brightness around 1, as strong as the style's textures."""
        return 1.0 + (values - np.float32(0.5)) * np.float32(2.0 * amount * self.texture)


def unit(vector: Sequence[float]) -> tuple[float, ...]:
    """Returns a vector of Python floats scaled to length 1."""
    length = math.sqrt(sum(part * part for part in vector))
    return tuple(part / length for part in vector)
