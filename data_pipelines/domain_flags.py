"""Flags that select a reader, its data and a split; only commands define them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from absl import flags

from data_pipelines import cli
from data_pipelines.domains import READERS
from data_pipelines.domains import find_reader
from data_pipelines.errors import UserError

if TYPE_CHECKING:
    from data_pipelines.domains.domain import Domain

_OPTIONS = (
    "label_space", "max_pixels", "val_count", "images", "masks", "mask_suffix", "class_names",
    "id_table", "color_table", "nearest_color", "background", "splits", "max_value",
)  # fmt: skip


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string("domain", None, f"Reader: {', '.join(READERS)}.")
    flags.DEFINE_string("root", None, "The data set's folder.")
    flags.DEFINE_string("split", None, "Name of a split, such as train.")
    flags.DEFINE_enum(
        "bad_files", "error", ["error", "skip"], "Whether bad files are an error or skipped."
    )
    flags.DEFINE_string(
        "label_space", None, "cityscapes19, synthia16, cityscapes13, cityscapes7 or camvid11."
    )
    flags.DEFINE_integer("max_pixels", None, "Most pixels of an image or label.")
    flags.DEFINE_integer("max_value", None, "folder: value of images above 8 bits that is white.")
    flags.DEFINE_integer("val_count", None, "gta5, synthia: last images by name held out as val.")
    flags.DEFINE_string("images", None, "folder: images' folder below root, or a pattern.")
    flags.DEFINE_string(
        "masks", None, "folder: masks' folder below root, a pattern, or a COCO file."
    )
    flags.DEFINE_string("mask_suffix", None, "folder: what masks' names have after images' names.")
    flags.DEFINE_list("class_names", None, "folder: names of the classes, separated by commas.")
    flags.DEFINE_list("id_table", None, "folder: stored id or name:class id, such as 0:0,255:1.")
    flags.DEFINE_string("color_table", None, "folder: file of the colours, such as labelmap.txt.")
    flags.DEFINE_bool("nearest_color", None, "folder: take other colours as the nearest one.")
    flags.DEFINE_string("background", None, "folder: class of the pixels without annotation.")
    flags.DEFINE_list(
        "splits",
        None,
        "folder: split=sub-folder, a list file or 'with masks'; separated by commas.",
    )


def make_domain() -> Domain:
    """Creates the reader that the flags describe.

    Returns:
        The reader.

    Raises:
        UserError: a flag is missing, or does not fit the reader.
    """
    values = flags.FLAGS
    cli.require_flags("domain", "root", "split")
    reader = find_reader(values.domain)
    known = inspect.signature(reader).parameters
    options = {}
    for name in _OPTIONS:
        value = values[name].value
        if value is None:
            continue
        if name not in known:
            raise UserError(f"--{name} does not apply to --domain={values.domain}; leave it out.")
        options[name] = _parse_option(name, value)
    return reader(root=values.root, **options)


def _parse_option(name, value):
    from data_pipelines.labels import label_spaces

    if name == "label_space":
        if value not in label_spaces.DECLARED_SPACES:
            raise UserError(
                f"--label_space={value}: choose one of {', '.join(label_spaces.DECLARED_SPACES)}."
            )
        return label_spaces.DECLARED_SPACES[value]()
    if name == "id_table":
        return dict(_parse_id_entry(*_split_entry(name, entry, ":")) for entry in value)
    if name == "splits":
        return dict(_split_entry(name, entry, "=") for entry in value)
    return value


def _parse_id_entry(stored, class_id):
    try:
        # Masks of polygons hold names in the place of ids.
        return int(stored) if stored.lstrip("-").isdecimal() else stored, int(class_id)
    except ValueError:
        raise UserError(
            f"--id_table maps {stored} to {class_id!r}; write a class id, or 255 to ignore it."
        ) from None


def _split_entry(name, entry, separator):
    left, found, right = entry.partition(separator)
    if not found:
        raise UserError(
            f"--{name} has the entry {entry!r}; write NAME{separator}VALUE, separated by commas."
        )
    return left.strip(), right.strip()
