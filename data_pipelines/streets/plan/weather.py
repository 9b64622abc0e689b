"""What air, lens and sensor do to a picture in the style "camera"."""

from __future__ import annotations

import numpy as np

from data_pipelines.streets.plan.style import Style

_SKY_HAZE = 0.12
"""Share of haze in front of the sky, which is as good as haze itself."""


def apply_haze(rgb: np.ndarray, depth: np.ndarray, style: Style) -> np.ndarray:
    """Blends far things into haze: half of it at the distance `style.haze`.

    Args:
        rgb: float32 (3, h, w), 0 to 255.
        depth: float32 (h, w) in metres, infinite for sky.
        style: the `Style`.

    Returns:
        float32 (3, h, w).
    """
    if not style.haze:
        return rgb
    far = np.minimum(depth, np.float32(1e4))
    share = far / (far + np.float32(style.haze))
    share = share * np.where(depth > 1e4, np.float32(_SKY_HAZE), np.float32(1.0))
    colour = style.colour("sky_low", style.sky) * 0.92
    return rgb + (colour - rgb) * share


def expose(rgb: np.ndarray, style: Style) -> np.ndarray:
    """Takes the photo: glare, vignette, white balance, exposure, blur and noise.

    Args:
        rgb: float32 (3, h, w), 0 to 255, at the final size.
        style: the `Style`; "game" leaves the picture as it is.

    Returns:
        float32 (3, h, w); may leave 0 to 255.
    """
    if style.name == "game":
        return rgb
    draws = style.draws
    height, width = rgb.shape[1:]
    rows = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[:, None]
    cols = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None]
    grey = (rgb[0] + rgb[1] + rgb[2]) / np.float32(3.0)
    rgb = grey + (rgb - grey) * np.float32(draws.between(0.8, 1.2))
    warmth, green = draws.between(-0.1, 0.1), draws.between(-0.03, 0.03)
    balance = np.array([1.0 + warmth, 1.0 + green, 1.0 - warmth], np.float32).reshape(3, 1, 1)
    vignette = 1.0 - np.float32(draws.between(0.1, 0.6)) * (rows * rows + cols * cols)
    rgb = rgb * (balance * vignette)
    for _ in range(draws.pick((0, 1, 2), (0.5, 0.42, 0.08))):
        rgb = _blur(rgb)
    # Exposure, then a tone curve x (1 + k) / (1 + k x), which lifts what is dark for k > 0.
    light = rgb * np.float32(draws.between(0.95, 1.8) / 255.0)
    curve = np.float32(draws.between(-0.4, 0.3))
    light = np.maximum(light, np.float32(0.0))
    light = light * (1.0 + curve) / (1.0 + curve * np.minimum(light, np.float32(1.0)))
    if draws.chance(0.3):
        # Stray light of the windscreen.
        veil = np.float32(draws.between(0.02, 0.1)) * (0.7 - rows)
        light = light + veil
    # Shot noise grows with the square root of the light, read noise does not.
    strength = draws.between(0.003, 0.015)
    noise = draws.bell(rgb.shape)
    shared = draws.bell(grey.shape)
    level = np.float32(strength) * (0.4 + np.sqrt(light))
    light = light + level * (0.7 * noise + 0.7 * shared)
    return light * np.float32(255.0)


def _blur(rgb):
    """Blurs with the kernel 1 2 1 both ways, edges repeated."""
    padded = np.pad(rgb, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = (padded[:, :, :-2] + padded[:, :, 2:]) * np.float32(0.25)
    across = across + padded[:, :, 1:-1] * np.float32(0.5)
    down = (across[:, :-2] + across[:, 2:]) * np.float32(0.25)
    return down + across[:, 1:-1] * np.float32(0.5)
