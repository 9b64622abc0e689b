"""One street scene: seed, index, size and style in, image and label out."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import composer
from data_pipelines.streets.plan import draws as draws_lib
from data_pipelines.streets.plan import scene as scene_lib
from data_pipelines.streets.plan import style as style_lib
from data_pipelines.streets.plan import weather

STYLES = ("game", "camera")
FINGERPRINTS = {
    "game": "81f428f2333325f75d633613cab090c2ef7069d271a61d84c32572dcc2bd7e21",
    "camera": "87bc05a34cc979d93ba5bbe81e1ebd3fa5c06c04d1b7d6966f8f1b76bc4a2934",
}
"""`style_fingerprint` of each style: the styles are frozen, so that no method is tuned on scenes
that change under it. Whoever changes a picture on purpose renews these."""
_SUPERSAMPLING = 2
_MOST_PIXELS = 1 << 24


class RenderedScene(NamedTuple):
    """What the renderer knows of a scene.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        label: uint8 (H, W), cityscapes19 trainIds, 255 for void.
        void_kind: uint8 (H, W): `canvas.EGO_VEHICLE`, `canvas.STATIC` or 255 where the label is
            void, 0 elsewhere.
        instance: uint16 (H, W), 0 for stuff.
    """

    image: np.ndarray
    label: np.ndarray
    void_kind: np.ndarray
    instance: np.ndarray


def render_scene(
    seed: int, index: int, size: tuple[int, int], style: str
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one scene.

    Args:
        seed: at least 0, the seed of the whole set.
        index: at least 0, the scene's number in the set.
        size: (H, W) in pixels.
        style: "game" or "camera".

    Returns:
        (image, label): uint8 (H, W, 3) RGB, and uint8 (H, W) cityscapes19 trainIds with 255 for
        void. The label depends on (seed, index, size) alone.

    Raises:
        UserError: unknown style, a size below 32 or above 2^24 pixels, a negative seed or index.
    """
    scene = render_layers(seed, index, size, style)
    return scene.image, scene.label


def check_arguments(seed: int, index: int, size: tuple[int, int], style: str) -> None:
    """Checks the arguments of `render_scene`.

    Raises:
        UserError: as `render_scene`.
    """
    if style not in STYLES:
        raise UserError(f"style is {style!r}: it must be one of {', '.join(STYLES)}.")
    if len(size) != 2 or min(size) < 32:
        raise UserError(f"size is {tuple(size)} (height, width): both must be at least 32 pixels.")
    if size[0] * size[1] > _MOST_PIXELS:
        raise UserError(
            f"size is {tuple(size)} (height, width): at most {_MOST_PIXELS} pixels fit in a scene."
        )
    if seed < 0 or index < 0:
        raise UserError(f"seed is {seed}, index {index}: neither may be negative.")


def render_layers(seed: int, index: int, size: tuple[int, int], style: str) -> RenderedScene:
    """Renders one scene with all that is known of it.

    Args:
        seed: as `render_scene`.
        index: as `render_scene`.
        size: as `render_scene`.
        style: as `render_scene`.

    Returns:
        A `RenderedScene`.

    Raises:
        UserError: as `render_scene`.
    """
    check_arguments(seed, index, size, style)
    height, width = size
    plan = scene_lib.sample_scene(draws_lib.Draws(seed, index, 0))
    look = style_lib.Style(style, seed, index, plan.sky)
    step = _SUPERSAMPLING
    canvas = canvas_lib.Canvas(composer.make_camera(plan, height * step, width * step))
    composer.compose(canvas, plan, look)
    return _develop(canvas, look, step)


def _develop(canvas, look, step):
    """Averages colour over the supersamples and takes the middle one's label."""
    rgb = np.clip(weather.apply_haze(canvas.rgb, canvas.depth, look), 0.0, 255.0)
    total = rgb[:, 0::step, 0::step]
    for row in range(step):
        for col in range(step):
            if row or col:
                total = total + rgb[:, row::step, col::step]
    photo = weather.expose(total / np.float32(step * step), look)
    image = np.clip(photo + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    middle = step // 2
    raw = canvas.label[middle::step, middle::step]
    instance = canvas.instance[middle::step, middle::step]
    void = raw >= canvas_lib.EGO_VEHICLE
    return RenderedScene(
        np.ascontiguousarray(image),
        np.where(void, np.uint8(255), raw),
        np.where(void, raw, np.uint8(0)),
        np.ascontiguousarray(instance),
    )


def style_fingerprint(style: str) -> str:
    """Hashes a style, so that a test can freeze it.

    Args:
        style: "game" or "camera".

    Returns:
        sha256 in hexadecimal over the pixels and labels of a few small fixed scenes.
    """
    digest = hashlib.sha256()
    for index, size in enumerate(((48, 96), (64, 128), (72, 96), (96, 64), (64, 128), (64, 128))):
        image, label = render_scene(2022, index, size, style)
        digest.update(image.tobytes())
        digest.update(label.tobytes())
    return digest.hexdigest()
