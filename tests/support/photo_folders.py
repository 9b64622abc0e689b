"""The two folders of photos that docs/own_data.md begins with."""

import pathlib

import numpy as np
from PIL import Image


def write_photos(folder: pathlib.Path) -> None:
    """Draws a bright square on a dark ground; masks hold 0 and 255.

    Args:
        folder: where `drawn`, with masks, and `real`, without, are made.
    """
    rng = np.random.default_rng(0)
    for domain, count, suffix in (("drawn", 5, "png"), ("real", 3, "jpg")):
        images = folder / domain / "images" / "day one"
        masks = folder / domain / "masks" / "day one"
        images.mkdir(parents=True)
        if domain == "drawn":
            masks.mkdir(parents=True)
        for index in range(count):
            height, width = (45, 60) if index else (60, 45)
            mask = np.zeros((height, width), np.uint8)
            top, left = rng.integers(0, 20, 2)
            mask[top : top + 20, left : left + 20] = 255
            image = np.clip(rng.normal(60, 20, (height, width, 3)), 0, 255)
            image[mask == 255] += 100
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(
                images / f"{index}.{suffix}"
            )
            if domain == "drawn":
                Image.fromarray(mask).save(masks / f"{index}.png")
