"""Masks in the forms in which labelling tools and simulators write them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io.color_masks import ColorLookup
from data_pipelines.io.color_masks import find_id_channels
from data_pipelines.io.color_masks import list_colors
from data_pipelines.io.color_masks import to_rgb
from data_pipelines.io.patterns import is_pattern
from data_pipelines.labels import color_tables
from data_pipelines.labels import label_spaces
from data_pipelines.labels import polygons
from data_pipelines.labels.class_finder import ClassFinder
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.labels.label_spaces import LabelSpace

CLASS_KEY = "{class}"
"""In the path of a mask: one picture for each class."""
_IN_COCO = ".json#"
_RAW_VALUES = 1 << 16
_MAX_TABLE_BYTES = 64_000_000
_MAX_COCO_BYTES = 4_000_000_000


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """The arguments of `folder.Folder` that say what masks contain; see there.

    Attributes:
        id_table: stored id or name -> class id, or 255.
        color_table: name -> colour or colours; or the path of a file; or a pattern of paths.
        nearest_color: whether other colours count as the nearest one.
        background: name of the class where nothing is drawn.
    """

    id_table: Mapping[int | str, int] | None = None
    color_table: Mapping[str, Sequence[int]] | str | None = None
    nearest_color: bool = False
    background: str | None = None

    def __post_init__(self) -> None:
        if self.nearest_color and self.color_table is None:
            raise UserError(
                "Folder.nearest_color needs Folder.color_table, the colours to choose from."
            )

    @property
    def table_pattern(self) -> str | None:
        """The pattern of the masks' own colour tables, if there is one."""
        table = self.color_table
        return table if isinstance(table, str) and is_pattern(table) else None

    def read_table(self) -> tuple[dict[color_tables.Color, str], dict[int, str]]:
        """Returns colour -> name and id -> name of a table that all masks share."""
        if self.color_table is None or self.table_pattern is not None:
            return {}, {}
        if isinstance(self.color_table, str):
            path = os.path.expanduser(self.color_table)
            return _read_table(path, "Folder.color_table, the file ")
        if not isinstance(self.color_table, Mapping):
            raise UserError(
                f"Folder.color_table is {self.color_table!r}; bind a file's path, or a dictionary "
                'such as {"road": (128, 64, 128)}.'
            )
        try:
            return color_tables.check_table(self.color_table), {}
        except UserError as error:
            raise UserError(f"Folder.color_table {error}.") from error

    def list_names(self) -> list[str] | None:
        """Returns the names of a shared table's classes, in its order; None without one."""
        colors, ids = self.read_table()
        names = [*colors.values(), *(ids[key] for key in sorted(ids))]
        return [name for name in dict.fromkeys(names) if name != "ignore"] or None


class UserMasks:
    """Reads masks of one data set to class ids.

    Args:
        space: the classes.
        options: what the masks contain.
        max_pixels: larger masks are refused before they are decoded.

    Raises:
        UserError: an option is out of range.
    """

    def __init__(self, space: LabelSpace, options: MaskOptions, max_pixels: int):
        self._options = options
        self._max_pixels = max_pixels
        table = options.id_table or {}
        self._check_table(table, space.num_classes)
        names = {key: value for key, value in table.items() if isinstance(key, str)}
        ids = {key: value for key, value in table.items() if isinstance(key, int)}
        self._finder = ClassFinder(space.class_names, names)
        self._background = self._finder.find_background(options.background)
        colors, named_ids = options.read_table()
        self._colors: ColorLookup | None = None
        if colors:
            self._colors = self._make_lookup(colors)
        if named_ids:
            ids = self._find_classes(named_ids)
        self._has_table = bool(ids)
        self.raw_table: dict[int, int] = ids or {
            **{index: index for index in range(space.num_classes)},
            IGNORE_ID: IGNORE_ID,
        }
        self._lookup = label_spaces.lookup_table(self.raw_table, _RAW_VALUES)
        self._name = space.name
        self._own_tables: dict[str, str] = {}
        self._layers: dict[str, list[tuple[str, str]]] = {}
        self._coco: dict[str, polygons.CocoFile] = {}
        self._palette: tuple[str, np.ndarray] | None = None
        self._palettes_differ = False
        self.key = [
            sorted((list(color), name) for color, name in colors.items()),
            sorted(names.items()), options.nearest_color, self._background,
        ]  # fmt: skip

    def set_own_table(self, path: str, table_path: str) -> None:
        """Records the colour table of one mask.

        Args:
            path: the mask.
            table_path: its table.
        """
        self._own_tables[path] = table_path

    def set_layers(self, path: str, layers: Sequence[tuple[str, str]]) -> None:
        """Records the pictures of one mask's classes.

        Args:
            path: of the mask, with "{class}" in it.
            layers: (name of the class, path of the picture).

        Raises:
            UserError: a name is no class.
        """
        for name, file in layers:
            try:
                self._finder.find_id(name)
            except UserError as error:
                raise UserError(f"{files.describe_path(file)} {error}.") from error
        self._layers[path] = list(layers)

    def list_coco(self, path: str) -> list[str]:
        """Returns the paths of the images in a COCO file, as they are there.

        Args:
            path: the file.

        Returns:
            The paths.

        Raises:
            UserError: it cannot be read.
        """
        return list(self._open_coco(path).paths)

    def _open_coco(self, path):
        """Returns the annotations of a file, which is read once."""
        if path not in self._coco:
            try:
                self._coco[path] = polygons.CocoFile(files.read_bytes(path, _MAX_COCO_BYTES))
            except UserError as error:
                raise UserError(f"{files.describe_path(path)} {error}.") from error
        return self._coco[path]

    def list_files(self, path: str) -> list[str]:
        """Returns the files that a mask is read from.

        Args:
            path: of the mask: a file's; a file's with "{class}" in it; or that of a COCO file, "#"
                and the image's path in it. The former two may have records by `set_layers` and
                `set_own_table`.

        Returns:
            Existing paths, or the one that is expected.
        """
        if _IN_COCO in path:
            return [split_coco_path(path)[0]]
        if path in self._layers:
            return [file for _, file in self._layers[path]]
        return [path, self._own_tables[path]] if path in self._own_tables else [path]

    def exists(self, path: str) -> bool:
        """Returns whether a mask, named as in `list_files`, is there; does not decode it."""
        if _IN_COCO in path:
            file, image = split_coco_path(path)
            return image in self._open_coco(file).paths
        return all(files.read_status(file) is not None for file in self.list_files(path))

    def load(self, path: str, max_bytes: int) -> np.ndarray:
        """Reads a mask.

        Args:
            path: as in `list_files`.
            max_bytes: larger files are not read.

        Returns:
            (H, W) uint8 class ids, or 255.

        Raises:
            UserError: it cannot be decoded, or holds something that has no class; names no path.
        """
        find, background = self._finder.find_id, self._background
        if _IN_COCO in path:
            file, image = split_coco_path(path)
            return self._open_coco(file).rasterize(image, find, background, self._max_pixels)
        if path in self._layers:
            return self._load_layers(self._layers[path], max_bytes)
        data = files.read_bytes(path, max_bytes)
        if path.lower().endswith(".json"):
            return polygons.rasterize_labelme(data, find, background, self._max_pixels)
        mask = decoding.decode_mask(data, self._max_pixels)
        if path in self._own_tables:
            return self._map_by_own_table(path, mask)
        if self._colors is not None:
            return self._colors.find_ids(to_rgb(mask))
        self._compare_palettes(path, mask)
        ids = self._read_ids(mask)
        try:
            return label_spaces.map_ids(ids, self._lookup, self._name)
        except UserError as error:
            raise UserError(
                f"{error}; ID_TABLE gives ids a class, or 255 to ignore them"
            ) from error

    def _check_table(self, table, count):
        label_spaces.check_is_table("Folder.id_table", table)
        bad = [
            f"{key!r}: {value!r}"
            for key, value in table.items()
            if not (isinstance(key, str) or (isinstance(key, int) and 0 <= key < _RAW_VALUES))
            or not isinstance(value, int)
            or not (0 <= value < count or value == IGNORE_ID)
        ]
        if bad:
            raise UserError(
                f"Folder.id_table has {', '.join(bad)}; keys are stored ids from 0 to "
                f"{_RAW_VALUES - 1}, or names in colour tables and polygons, values class ids from "
                f"0 to {count - 1}, or {IGNORE_ID} to ignore."
            )
        if self._options.color_table is not None and any(isinstance(key, int) for key in table):
            raise UserError(
                "Folder.id_table has stored ids, and Folder.color_table says that masks are "
                "colours; bind one of them, or names in the id_table, or, where the target's masks "
                "alone are colours, target/folder.Folder.color_table and "
                "target/folder.Folder.id_table = None."
            )

    def _find_classes(self, names):
        """Returns the class ids of a table of names."""
        return {key: self._finder.find_id(name) for key, name in names.items()}

    def _make_lookup(self, colors):
        return ColorLookup(self._find_classes(colors), nearest=self._options.nearest_color)

    def _map_by_own_table(self, path, mask):
        table_path = self._own_tables[path]
        colors, ids = _read_table(table_path, "")
        if colors:
            return self._make_lookup(colors).find_ids(to_rgb(mask))
        lookup = label_spaces.lookup_table(self._find_classes(ids), _RAW_VALUES)
        return label_spaces.map_ids(self._read_ids(mask), lookup, table_path)

    def _read_ids(self, mask):
        if mask.lossy:
            raise UserError(
                "is a lossy picture, such as a JPEG, whose compression changes ids; write masks as "
                "PNG, or, where it is all there is, bind Folder.color_table with the colour of "
                "each class and Folder.nearest_color = True"
            )
        if mask.pixels.ndim == 2:
            return mask.pixels
        red = mask.pixels[..., 0]
        # Black and red, or black and white, can be colours of two classes.
        plain = self._has_table or not np.isin(red, (0, IGNORE_ID)).all() or not red.any()
        if plain and any(find_id_channels(mask.pixels)):
            return red
        raise UserError(
            f"is a colour picture with {list_colors(mask.pixels)}; give each class its colour, "
            'COLOR_TABLE = {"NAME": (RED, GREEN, BLUE), ...} (Folder.color_table), or the path of '
            "the table that the labelling tool wrote, such as labelmap.txt; or list the ids in "
            "ID_TABLE, if the channels hold ids"
        )

    def _compare_palettes(self, path, mask):
        """Warns once where a number has another colour than in another file."""
        if mask.palette is None or self._palettes_differ:
            return
        if self._palette is None:
            self._palette = (path, mask.palette)
        first, palette = self._palette
        size = min(len(palette), len(mask.palette))
        differs = (palette[:size] != mask.palette[:size]).any(1)
        if not differs.any():
            return
        used = np.unique(mask.pixels)
        other = [int(value) for value in used if value < size and differs[value]]
        if other:
            self._palettes_differ = True
            logging.warning(
                "The palettes of %s and %s differ: %d is the colour %s in the one and %s in the "
                "other. The stored numbers are read, and mean the same class in all files. If the "
                "colours are what counts, bind COLOR_TABLE (Folder.color_table).",
                files.describe_path(first), files.describe_path(path), other[0],
                tuple(palette[other[0]].tolist()), tuple(mask.palette[other[0]].tolist()),
            )  # fmt: skip

    def _load_layers(self, layers, max_bytes):
        ids = None
        for value, file in sorted((self._finder.find_id(name), file) for name, file in layers):
            where = f"({files.describe_path(file)})"
            try:
                mask = decoding.decode_mask(files.read_bytes(file, max_bytes), self._max_pixels)
            except UserError as error:
                raise UserError(f"{where} {error}") from error
            # Compression leaves no pixel at exactly 0.
            inside = to_rgb(mask).mean(-1) > 127 if mask.lossy else to_rgb(mask).any(-1)
            if mask.visible is not None:
                inside &= mask.visible
            if ids is None:
                ids = np.full(inside.shape, self._background, np.uint8)
            if ids.shape != inside.shape:
                raise UserError(f"{where} differs in size from those of the other classes")
            ids[inside] = value
        return ids


def join_coco_path(path: str, image: str) -> str:
    """Returns the path of an image's annotations in a COCO file."""
    return f"{path}#{image}"


def split_coco_path(path: str) -> tuple[str, str]:
    """Inverts `join_coco_path`."""
    end = path.index(_IN_COCO) + len(_IN_COCO)
    return path[: end - 1], path[end:]


def _read_table(path, what):
    try:
        return color_tables.parse_file(files.read_bytes(path, _MAX_TABLE_BYTES), path)
    except UserError as error:
        raise UserError(f"{what}{files.describe_path(path)} {error}") from error
