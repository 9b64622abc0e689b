"""Images and masks of one's own, in folders."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace

_MAX_LIST_BYTES = 64_000_000


class Folder(Domain):
    """Reads any folder of images, with or without masks, as the user describes it.

    A mask has the path of its image below its own folder, plus `mask_suffix`, and is an 8-bit grey
    or palette PNG, BMP or TIFF: the numbers stored are the ids, colours mean nothing. With
    `masks = "masks"`, `images/train/a/1.jpg` goes with `masks/train/a/1.png`. This reader serves
    every data set whose layout or ids no other reader knows. In gin:

        folder.Folder:
            root = "data/mine"
            masks = "masks"
            class_names = ["background", "road"]
            id_table = {0: 0, 255: 1}

    Args:
        root: the data set's folder.
        images: folder of the images below `root`.
        masks: folder of the masks below `root`; None for images without labels.
        class_names: names of the classes, id = position. None where `label_space` is given: masks,
            if any, then hold its ids, or `id_table` leads to them.
        palette: one (red, green, blue) per class; None draws distinct colours.
        id_table: every stored id -> class id, or 255 to ignore it. None takes the stored ids as
            class ids, and 255 as ignore.
        splits: split -> sub-folder of both folders ("" for all of it), or path of a ".txt" file
            below `root` with one image's path a line, relative to `images`, with or without its
            ending. None: each split is the sub-folder of its name.
        mask_suffix: what a mask's name has after its image's name, such as "_mask".
        label_space: classes that labels are given in; None takes `class_names`.
        name: name of the data set in messages and files.
        max_pixels: larger images and masks are refused before they are decoded.

    Raises:
        UserError: the description does not fit together.
    """

    name = "folder"
    splits = None
    image_suffixes = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
    label_suffixes = (".png", ".bmp", ".tif", ".tiff")

    def __init__(
        self,
        *,
        root: str,
        images: str = "images",
        masks: str | None = None,
        class_names: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        id_table: Mapping[int, int] | None = None,
        splits: Mapping[str, str] | None = None,
        mask_suffix: str = "",
        label_space: LabelSpace | None = None,
        name: str = "folder",
        max_pixels: int = decoding.MAX_PIXELS,
    ):
        if class_names is not None:
            self._native = label_spaces.custom(name=name, class_names=class_names, palette=palette)
        elif label_space is None:
            raise UserError("Bind Folder.class_names, or Folder.label_space, to name the classes.")
        elif palette is not None:
            raise UserError("Folder.palette colours Folder.class_names; bind those too.")
        else:
            self._native = label_space
        if masks is not None and masks.strip("/") == images.strip("/") and not mask_suffix:
            raise UserError(
                f"Folder.images and Folder.masks are both {images!r}; bind two folders, or "
                "mask_suffix to tell masks from images."
            )
        places = {"images": images, "masks": masks or "", **(splits or {})}
        for option, place in places.items():
            _check_below_root(option, place)
        self.name = name
        self.label_ending = mask_suffix
        self._images = images
        self._masks = masks
        self._raw_table = self._check_table(id_table)
        self._places = None if splits is None else dict(splits)
        if splits is not None:
            self.splits = tuple(splits)
        super().__init__(root=root, label_space=label_space, max_pixels=max_pixels)

    def native_space(self) -> LabelSpace:
        """Returns the classes of `class_names`, or of `label_space`."""
        return self._native

    def raw_table(self) -> Mapping[int, int]:
        """Returns stored id -> class id."""
        return self._raw_table

    def has_labels(self, split: str) -> bool:
        """Says whether a split has masks; `masks` that are nowhere are an error."""
        if self._masks is not None and not files.is_folder(self._join(self._masks)):
            raise UserError(
                f"Folder.masks: there is no folder {files.describe_path(self._join(self._masks))}; "
                "leave masks out if the images have none."
            )
        return super().has_labels(split)

    def image_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's images."""
        return [("", files.join_path(self._images, self._sub_folder(split)))]

    def label_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's masks; none without masks."""
        if self._masks is None:
            return []
        return [("", files.join_path(self._masks, self._sub_folder(split)))]

    def select_names(self, names: list[str], split: str) -> list[str]:
        """Keeps the names that a split's list file lists, and no mask beside the images."""
        if self._masks is not None and self._masks.strip("/") == self._images.strip("/"):
            names = [name for name in names if not name.endswith(self.label_ending)]
        list_file = self._list_file(split)
        if list_file is None:
            return names
        listed = self._read_list(list_file)
        missing = sorted(listed - set(names))
        if missing:
            raise UserError(
                f"{files.describe_path(self._join(list_file))} lists {len(missing)} image(s) that "
                f"are not in {files.describe_path(self._join(self._images))}: "
                f"{', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}. Correct the "
                "list or put the images there."
            )
        return [name for name in names if name in listed]

    def _sub_folder(self, split):
        if self._places is None:
            _check_below_root("split", split)
            return split
        place = self._places[split]
        return "" if place.endswith(".txt") else place

    def _list_file(self, split):
        place = None if self._places is None else self._places[split]
        return place if place is not None and place.endswith(".txt") else None

    def _read_list(self, list_file):
        path = self._join(list_file)
        try:
            lines = files.read_bytes(path, _MAX_LIST_BYTES).decode("utf-8").splitlines()
        except (UserError, UnicodeDecodeError) as error:
            raise UserError(
                f"{files.describe_path(path)}, the list of a split in Folder.splits, {error}"
            ) from error
        return {self._drop_suffix(line.strip()) for line in lines if line.strip()}

    def _drop_suffix(self, name):
        for suffix in self.image_suffixes:
            if name.lower().endswith(suffix):
                return name[: -len(suffix)]
        return name

    def _check_table(self, id_table):
        count = self._native.num_classes
        if id_table is None:
            ignored = {label_spaces.IGNORE_ID: label_spaces.IGNORE_ID}
            return {**{index: index for index in range(count)}, **ignored}
        bad: list[str] = [
            f"{key!r}: {value!r}"
            for key, value in id_table.items()
            if not isinstance(key, int)
            or not isinstance(value, int)
            or not 0 <= key < self.raw_values
            or not (0 <= value < count or value == label_spaces.IGNORE_ID)
        ]
        if bad:
            raise UserError(
                f"Folder.id_table has {', '.join(bad)}; keys are stored ids from 0 to 255, values "
                f"class ids from 0 to {count - 1}, or {label_spaces.IGNORE_ID} to ignore."
            )
        return dict(id_table)


def _check_below_root(option, place):
    if ".." in place.split("/"):
        raise UserError(
            f"Folder's {option} is {place!r}, which leads out of root; bind a root that holds all "
            "of its folders."
        )
