"""The interface of data set readers: pairs of files by split, and arrays of their content."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import name_lists
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace

_SHOWN_TWINS = 5


class Pair(NamedTuple):
    """One image and its label.

    Attributes:
        name: path of the image relative to its split's folder, without its ending, POSIX.
        image_path: the image file.
        label_path: the label file, which may be missing on disk; None in a split without labels.
    """

    name: str
    image_path: str
    label_path: str | None


class Domain:
    """A data set on disk: lists pairs and decodes them. Base class of readers.

    A reader defines where the files of a split are (`image_folder`, `label_folder`), how an image's
    name maps to its label's (`image_ending`, `label_ending`), and what the stored ids mean
    (`raw_table`, `native_space`).

    Args:
        root: the data set's folder, any path that TensorFlow reads; "~" is the home folder.
        label_space: classes of the decoded labels; None keeps the data set's own.
        max_pixels: larger images and labels are refused before they are decoded.

    Raises:
        UserError: there is no table from the data set's classes to `label_space`, or another
            argument is out of range.
    """

    name = "domain"
    splits: tuple[str, ...] | None = ("train", "val")
    """Names of the splits; None allows any name."""
    split_hint = ""
    """Hint in the error for another split."""
    image_folder = "images/{split}"
    """Folder of a split's images below root, sub-folders included."""
    label_folder = "labels/{split}"
    image_suffixes: tuple[str, ...] = (".png",)
    label_suffixes: tuple[str, ...] = (".png",)
    image_ending = ""
    """End of an image's name before its suffix; `label_ending` replaces it in the label's name."""
    label_ending = ""
    max_value: int | None = None
    """Value of images of more than 8 bits that is read as 255; None keeps the high 8 bits."""
    raw_values = 256
    """Number of values that a stored label pixel can have."""
    obtained = ""
    """How to obtain the data set."""
    stand_in: tuple[str, str] | None = None
    """(layout, style) of rendered streets in this layout."""

    def __init__(
        self,
        *,
        root: str,
        label_space: LabelSpace | None = None,
        max_pixels: int = decoding.MAX_PIXELS,
    ):
        if not root or not isinstance(root, str):
            raise UserError(f"{type(self).__name__}.root is {root!r}; bind the data set's folder.")
        if max_pixels < 1:
            raise UserError(f"{type(self).__name__}.max_pixels is {max_pixels}; bind at least 1.")
        self.root = os.path.expanduser(root)
        self.max_pixels = max_pixels
        self._lookup: np.ndarray | None = None
        self._table: dict[int, int] | None = None
        native = self.native_space()
        self.label_space = native if label_space is None else label_space
        self._from_native = label_spaces.convert(native, self.label_space)

    def native_space(self) -> LabelSpace:
        """Returns the classes that `raw_table` maps to."""
        return label_spaces.cityscapes19()

    def raw_table(self) -> Mapping[int, int]:
        """Returns every id that a label file may contain -> id of `native_space`, or 255."""
        raise NotImplementedError

    def image_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns (prefix of the pairs' names, folder below root) for each folder of images."""
        return [("", self.image_folder.format(split=split))]

    def label_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the same as `image_folders` for each folder of labels."""
        return [("", self.label_folder.format(split=split))]

    def decode_raw_label(self, data: bytes) -> np.ndarray:
        """Decodes a label file to the stored ids, (H, W) of an unsigned type."""
        return decoding.decode_ids(data, self.max_pixels)

    def select_names(self, names: list[str], split: str) -> list[str]:
        """Returns the names of a split; readers without split folders override it."""
        del split
        return names

    @property
    def max_bytes(self) -> int:
        """Maximum size of a file in bytes; larger ones are not read."""
        return decoding.BYTES_PER_PIXEL * self.max_pixels

    def id_table(self) -> dict[int, int]:
        """Returns every id that a label file may contain -> id of `label_space`, or 255."""
        if self._table is None:
            self._table = label_spaces.compose(self.raw_table(), self._from_native)
        return self._table

    def has_labels(self, split: str) -> bool:
        """Returns whether a split has labels.

        Args:
            split: name of a split.

        Returns:
            True where its label folder exists.

        Raises:
            UserError: the data set has no split of this name.
        """
        self._check_split(split)
        folders = self.label_folders(split)
        return any(files.is_folder(self._join(folder)) for _, folder in folders)

    def list_pairs(self, split: str) -> list[Pair]:
        """Lists a split.

        Args:
            split: name of a split.

        Returns:
            Pairs sorted by name. Where the split has labels every pair names one, even if the file
            is missing; the audit reports it.

        Raises:
            UserError: the split is unknown, missing or empty; says how to obtain the data.
        """
        self._check_split(split)
        images = self._find_images(split)
        names = self.select_names(sorted(images), split)
        if not names:
            raise UserError(self._describe_absence(split))
        labels = self._find_labels(split)
        if labels is None:
            return sorted(Pair(images[name][1], images[name][0], None) for name in names)
        pairs = []
        for name in names:
            path, full_name = images[name]
            label = labels.get(name, (None,))[0]
            pairs.append(Pair(full_name, path, label or self._expect_label(name, split)))
        return sorted(pairs)

    def list_orphans(self, split: str) -> list[str]:
        """Lists label files without an image.

        Args:
            split: name of a split.

        Returns:
            Their paths, sorted.
        """
        self._check_split(split)
        labels = self._find_labels(split) or {}
        images = self._find_images(split)
        return sorted(labels[name][0] for name in labels.keys() - images.keys())

    def list_unread(self, split: str) -> list[str]:
        """Lists files beside the images of a split that no user would expect to be left out.

        Args:
            split: name of a split.

        Returns:
            Their paths, sorted; none in the layouts of published data sets.
        """
        del split
        return []

    def decode_image(self, data: bytes) -> np.ndarray:
        """Decodes an image.

        Args:
            data: the file's content.

        Returns:
            (H, W, 3) uint8 RGB, upright.

        Raises:
            UserError: it cannot be decoded.
        """
        return decoding.decode_rgb(data, self.max_pixels, self.max_value)

    def decode_label(self, data: bytes) -> np.ndarray:
        """Decodes a label map.

        Args:
            data: the file's content.

        Returns:
            (H, W) uint8, ids of `label_space`, 255 = ignore.

        Raises:
            UserError: it cannot be decoded, or contains ids outside the table.
        """
        raw = self.decode_raw_label(data)
        if self._lookup is None:
            self._lookup = label_spaces.lookup_table(self.id_table(), self.raw_values)
        return label_spaces.map_ids(raw, self._lookup, self.name)

    def label_files(self, path: str) -> list[str]:
        """Returns the files that the label of a pair is read from; one, unless overridden."""
        return [path]

    def label_key(self) -> list:
        """Returns what labels depend on besides files and `id_table`, as plain JSON values."""
        return []

    def load_image(self, path: str) -> np.ndarray:
        """Reads an image file as `decode_image` does; its errors name no file."""
        return self.decode_image(files.read_bytes(path, self.max_bytes))

    def load_label(self, path: str) -> np.ndarray:
        """Reads a label file as `decode_label` does; its errors name no file."""
        return self.decode_label(files.read_bytes(path, self.max_bytes))

    def read_image(self, path: str) -> np.ndarray:
        """Reads an image file as `decode_image` does; its errors name the file."""
        return self._read(path, self.load_image)

    def read_label(self, path: str) -> np.ndarray:
        """Reads a label file as `decode_label` does; its errors name the file."""
        return self._read(path, self.load_label)

    def _read(self, path, load):
        try:
            return load(path)
        except UserError as error:
            raise UserError(f"{files.describe_path(path)} {error}") from error

    def _join(self, folder):
        return files.join_path(self.root, folder)

    def _check_split(self, split):
        if self.splits is not None and split not in self.splits:
            raise UserError(
                f"The data set {self.name} at {files.describe_path(self.root)} has no split "
                f"{split!r}; it has {', '.join(self.splits)}.{self.split_hint}"
            )

    def _find_images(self, split):
        """Returns name, the same for image and label, -> (path, full name) of a split's images."""
        return self._find(self.image_folders(split), self.image_suffixes, self.image_ending)

    def _find_labels(self, split):
        """Returns the same of its labels; None without labels."""
        if not self.has_labels(split):
            return None
        return self._find(self.label_folders(split), self.label_suffixes, self.label_ending)

    def _find(self, folders, suffixes, ending):
        """Returns name without its ending, from `unify_name` -> (path, full name)."""
        return index_names(self._list_named(folders, suffixes, ending))

    def _list_named(self, folders, suffixes, ending):
        """Yields (path, name without its ending, full name)."""
        for prefix, folder in folders:
            path = self._join(folder)
            if not files.is_folder(path):
                continue
            for relative in files.list_files(path, suffixes):
                stem = relative[: relative.rindex(".")]
                if not stem.endswith(ending):
                    continue
                full_name = f"{prefix}/{stem}" if prefix else stem
                name = full_name[: len(full_name) - len(ending)]
                yield files.join_path(path, relative), name, full_name

    def _expect_label(self, name, split):
        """Returns the expected path of an image's label."""
        folder, rest = next(
            (folder, name[len(prefix) :].lstrip("/"))
            for prefix, folder in self.label_folders(split)
            if not prefix or name.startswith(f"{prefix}/")
        )
        place = f"{folder}/{rest}{self.label_ending}{self.label_suffixes[0]}"
        return self._join(place)

    def _describe_absence(self, split):
        first, *others = self.image_suffixes
        pattern = f"**/*{self.image_ending}{first}"
        places = [
            files.describe_path(files.join_path(self._join(folder), pattern))
            for _, folder in self.image_folders(split)
        ]
        endings = f" (or {', '.join(others)})" if others else ""
        message = (
            f"The data set {self.name} has no image in its split {split!r}: expected "
            f"{' or '.join(places)}{endings}."
        )
        if self.obtained:
            message += f" {self.obtained}"
        if self.stand_in:
            layout, style = self.stand_in
            message += (
                " For a rendered stand-in in the same layout run: python -m "
                f"data_pipelines.render_streets --layout={layout} --out={shlex.quote(self.root)} "
                f"--count=200 --size=256x128 --seed=0 --style={style}"
            )
        return message


def index_names(listed: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
    """Indexes files by their names.

    Args:
        listed: (path, name, full name) of each.

    Returns:
        Name, from `name_lists.unify_name` -> (path, full name).

    Raises:
        UserError: two files share a name; lists the first ones.
    """
    found: dict[str, tuple[str, str]] = {}
    twins = []
    for path, name, full_name in listed:
        first, _ = found.setdefault(name_lists.unify_name(name), (path, full_name))
        if first != path:
            paths = f"{files.describe_path(first)} and {files.describe_path(path)}"
            twins.append(f"{paths} share the name {full_name!r}")
    if twins:
        rest = len(twins) - _SHOWN_TWINS
        more = f", and {rest} more pair(s) do" if rest > 0 else ""
        raise UserError(f"{', '.join(twins[:_SHOWN_TWINS])}{more}; keep one of each.")
    return found
