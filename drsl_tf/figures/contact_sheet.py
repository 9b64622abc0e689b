"""A contact sheet of augmented pairs: what training sees, in one picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL import ImageDraw

from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.figures.label_maps import color_label_map
from drsl_tf.figures.label_maps import draw_legend
from drsl_tf.figures.label_maps import load_font

_PANEL_WIDTH = 224
_COLUMNS = 4
_GAP = 8
_LINE = 18


class Example(NamedTuple):
    """One augmented image.

    Attributes:
        name: what stands above it.
        image: (h, w, 3) float32 in [0, 255].
        label: (h, w) int32, 255 = ignore; None shows the image alone.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None


class Section(NamedTuple):
    """Examples under one title."""

    title: str
    examples: list[Example]


def draw_contact_sheet(sections: list[Section], label_space: LabelSpace) -> Image.Image:
    """Draws sections below each other and a legend below them all.

    Args:
        sections: what to show; all examples have one size.
        label_space: gives classes and colours.

    Returns:
        The picture.
    """
    width = _COLUMNS * (_PANEL_WIDTH + _GAP) - _GAP
    blocks = [_draw_section(section, label_space, width) for section in sections]
    blocks.append(draw_legend(label_space, width))
    height = sum(block.height + _GAP for block in blocks) + _GAP
    sheet = Image.new("RGB", (width + 2 * _GAP, height), "white")
    top = _GAP
    for block in blocks:
        sheet.paste(block, (_GAP, top))
        top += block.height + _GAP
    return sheet


def _draw_section(section, label_space, width):
    font = load_font()
    panels = []
    for example in section.examples:
        image = Image.fromarray(np.rint(example.image).astype(np.uint8))
        size = (_PANEL_WIDTH, round(_PANEL_WIDTH * image.height / image.width))
        panels.append((example.name, image.resize(size, Image.Resampling.LANCZOS)))
        if example.label is not None:
            painted = Image.fromarray(color_label_map(example.label.astype(np.uint8), label_space))
            panels.append(("label", painted.resize(size, Image.Resampling.NEAREST)))
    row_height = panels[0][1].height + _LINE + _GAP
    rows = -(-len(panels) // _COLUMNS)
    block = Image.new("RGB", (width, _LINE + rows * row_height), "white")
    draw = ImageDraw.Draw(block)
    draw.text((0, 0), _shorten(section.title, font, width), "navy", font)
    for index, (title, panel) in enumerate(panels):
        row, column = divmod(index, _COLUMNS)
        place = (column * (_PANEL_WIDTH + _GAP), _LINE + row * row_height)
        draw.text(place, _shorten(title, font, _PANEL_WIDTH), "black", font)
        block.paste(panel, (place[0], place[1] + _LINE))
    return block


def _shorten(text, font, width):
    """Drops the beginning of a text that is too long: names differ at their ends."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text
