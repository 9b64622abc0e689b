"""Images and masks of the user, in folders."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import index_names
from data_pipelines.domains.user_masks import CLASS_KEY
from data_pipelines.domains.user_masks import MaskOptions
from data_pipelines.domains.user_masks import UserMasks
from data_pipelines.domains.user_masks import join_coco_path
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import name_lists
from data_pipelines.io.patterns import ANY_KEY
from data_pipelines.io.patterns import Pattern
from data_pipelines.io.patterns import is_pattern
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace

WITH_MASKS = "with masks"
"""The place, in `Folder.splits`, of the images that have a mask."""

_SHOWN = 5
# Descriptions and lists, which are beside images in many data sets.
_TEXTS = (".txt", ".md", ".json", ".csv", ".xml", ".yaml", ".yml", ".db", ".ini", ".html")
# A folder's masks are those of one of these kinds.
_MASK_KINDS = ((".png", ".bmp", ".tif", ".tiff"), (".jpg", ".jpeg", ".webp"), (".json",))
_MASK_SUFFIXES = tuple(suffix for kind in _MASK_KINDS for suffix in kind)


class Folder(Domain):
    """Reads any images, with or without masks, as the user describes them.

    This reader is for data sets whose layout or ids no other reader supports. In gin:

        folder.Folder:
            root = "data/mine"
            masks = "masks"
            class_names = ["background", "road"]
            id_table = {0: 0, 255: 1}

    `images` and `masks` are folders, or patterns (`data_pipelines.io.patterns.Pattern`). In
    folders, a mask has the path of its image plus `mask_suffix`: with `masks = "masks"`, the mask
    of `images/train/a/1.jpg` is `masks/train/a/1.png`. In patterns, the image and the mask at which
    the wildcards match the same are a pair: "*/rgb/*.png" and "*/semantic/*.png". `{split}` in them
    is the split's sub-folder.

    Masks are

    - pictures of ids: grey of up to 16 bits, palettes (the stored numbers count, not the colours),
      or colours in which the three channels are equal or only the red one is used;
    - pictures of colours, with `color_table`;
    - files of LabelMe, one for each image;
    - a file of COCO, `masks = "annotations.json"`;
    - one picture for each class, not 0 and not transparent where the class is:
      `masks = "masks/{name}/{class}.png"`. Classes that come later in `class_names` are drawn over
      earlier ones.

    Args:
        root: the data set's folder.
        images: folder of the images below `root`, or a pattern.
        masks: folder, pattern or COCO file below `root`; None for images without labels.
        class_names: names of the classes, id = position, or a dict as in
            `label_spaces.custom`. None where `label_space` is given: masks, if any, then contain
            its ids, or `id_table` maps to them. None with a `color_table` of its own names takes
            those.
        palette: one (red, green, blue) per class; None chooses distinct colours.
        id_table: every stored id -> class id, or 255 to ignore it. None takes the stored ids as
            class ids, and 255 as ignore. Where masks contain names, keys are names, in addition to
            `class_names`.
        color_table: name of a class, or "ignore" -> (red, green, blue), or a list of them; or the
            path of the file of a labelling tool or simulator, such as "labelmap.txt"
            (`data_pipelines.labels.color_tables.parse_file` lists the kinds). A pattern below
            `root` is one file for each mask.
        nearest_color: whether colours that the table lacks count as its nearest one, for masks with
            JPEG compression or smoothed edges.
        background: name of the class of pixels that no polygon, or no mask of a class, covers. None
            is the class "background", if there is one, or else ignored.
        splits: split -> sub-folder of both folders ("" for all of it), or path of a ".txt" file
            below `root` with one image's path a line, relative to `images`, with or without its
            ending, or "with masks", all images that have one; no other split has labels then.
            None: each split is the sub-folder of its name.
        mask_suffix: what follows the image's name in its mask's name, such as "_mask".
        label_space: classes of the decoded labels; None takes `class_names`.
        name: name of the data set in messages and files.
        max_pixels: larger images and masks are refused before they are decoded.
        max_value: the value of images of more than 8 bits that is read as 255, such as 4095 for 12
            bits in 16-bit TIFFs; None keeps the high 8 bits.

    Raises:
        UserError: the arguments contradict each other.
    """

    name = "folder"
    splits = None
    image_suffixes = decoding.IMAGE_SUFFIXES
    label_suffixes = _MASK_KINDS[0]
    raw_values = 1 << 16

    def __init__(
        self,
        *,
        root: str,
        images: str = "images",
        masks: str | None = None,
        class_names: Sequence[str] | Mapping[str, int] | Mapping[int, str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        id_table: Mapping[int | str, int] | None = None,
        color_table: Mapping[str, Sequence[int]] | str | None = None,
        nearest_color: bool = False,
        background: str | None = None,
        splits: Mapping[str, str] | None = None,
        mask_suffix: str = "",
        label_space: LabelSpace | None = None,
        name: str = "folder",
        max_pixels: int = decoding.MAX_PIXELS,
        max_value: int | None = None,
    ):
        if max_value is not None and max_value < 1:
            raise UserError(f"Folder.max_value is {max_value}; bind at least 1, or None.")
        self.max_value = max_value
        options = MaskOptions(
            id_table=id_table,
            color_table=color_table,
            nearest_color=nearest_color,
            background=background,
        )
        if class_names is None and label_space is None:
            class_names = options.list_names()
        if class_names is not None:
            self._native = label_spaces.custom(name=name, class_names=class_names, palette=palette)
        elif label_space is None:
            raise UserError("Bind Folder.class_names, or Folder.label_space, to name the classes.")
        elif palette is not None:
            raise UserError("Folder.palette colours Folder.class_names; bind those too.")
        else:
            self._native = label_space
        if self._native.num_classes == 1:
            (only,) = self._native.class_names
            raise UserError(
                f"Folder.class_names has the class {only!r} alone: every pixel would be it. Name a "
                f'class for the other pixels too, such as CLASS_NAMES = ["background", {only!r}], '
                "with the ids of both in ID_TABLE."
            )
        places = {"images": images, "masks": masks or "", **(splits or {})}
        for option, place in places.items():
            _check_below_root(option, place)
        if (
            masks is not None
            and masks.strip("/") == images.strip("/")
            and not mask_suffix
            and not is_pattern(masks)
        ):
            raise UserError(
                f"Folder.images and Folder.masks are both {images!r}; bind two folders, "
                'mask_suffix to tell masks from images, or patterns such as "{name}.jpg" and '
                '"{name}.png".'
            )
        if masks is not None and "{split}" in images + masks and WITH_MASKS in places.values():
            raise UserError(
                f"Folder.splits has {WITH_MASKS!r}, but patterns with {{split}} need a sub-folder "
                'for each split, such as TARGET_SPLITS = {"train": "train", "val": "val"}.'
            )
        self.name = name
        self.label_ending = mask_suffix
        self._images = images
        self._masks = masks
        self._places = None if splits is None else dict(splits)
        if splits is not None:
            self.splits = tuple(splits)
        self._table_pattern = options.table_pattern
        self._mask_reader = UserMasks(self._native, options, max_pixels)
        super().__init__(root=root, label_space=label_space, max_pixels=max_pixels)
        self._native_lookup = label_spaces.lookup_table(self._from_native, 256)

    def native_space(self) -> LabelSpace:
        """Returns the classes of `class_names`, or of `label_space`."""
        return self._native

    def raw_table(self) -> Mapping[int, int]:
        """Returns stored id -> class id."""
        return self._mask_reader.raw_table

    def label_key(self) -> list:
        """Returns what the decoded masks depend on, besides their files and the id table."""
        return self._mask_reader.key

    def label_files(self, path: str) -> list[str]:
        """Returns the files that a mask is read from."""
        return self._mask_reader.list_files(path)

    def list_unread(self, split: str) -> list[str]:
        """Returns the files of other kinds in the folder of a split's images."""
        self._check_split(split)
        if is_pattern(self._images):
            return []
        folder = self._join(self.image_folders(split)[0][1])
        if not files.is_folder(folder):
            return []
        return [files.join_path(folder, path) for path in _list_others(folder, self.image_suffixes)]

    def has_label(self, path: str) -> bool:
        """Returns whether the mask of a pair is there; does not decode it."""
        return self._mask_reader.exists(path)

    def load_label(self, path: str) -> np.ndarray:
        """Reads a mask."""
        native = self._mask_reader.load(path, self.max_bytes)
        if self.label_space == self._native:
            return native
        return label_spaces.map_ids(native, self._native_lookup, self.name)

    def has_labels(self, split: str) -> bool:
        """Returns whether a split has masks; an error where no split can have any."""
        self._check_split(split)
        if self._masks is None or self._is_beside_masks(split):
            return False
        if self._is_coco():
            path = self._coco_path(split)
            if files.read_status(path) is not None:
                return True
            self._check_place(f"there is no file {files.describe_path(path)}")
            return False
        if is_pattern(self._masks):
            if self._find_masks(split):
                return True
            if self._find_masks(None):
                return False
            self._check_place(f"no file below {files.describe_path(self.root)} matches it")
            return False
        if not files.is_folder(self._join(self._masks)):
            raise UserError(
                f"Folder.masks: there is no folder {files.describe_path(self._join(self._masks))}; "
                "leave masks out if the images have none."
            )
        return files.is_folder(self._join(files.join_path(self._masks, self._sub_folder(split))))

    def _is_beside_masks(self, split):
        """Returns whether another split has the images with masks."""
        places = self._places or {}
        return WITH_MASKS in places.values() and places[split] != WITH_MASKS

    def _check_place(self, problem):
        """Raises an error where the place of the masks is the same for all splits."""
        if "{split}" not in self._masks:
            raise UserError(
                f"Folder.masks is {self._masks!r}, and {problem}; correct it, or leave masks out "
                "if the images have none."
            )

    def image_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's images, or the one that contains a pattern's matches."""
        if is_pattern(self._images):
            return [("", self._make_pattern(self._images, "images", split).folder)]
        return [("", files.join_path(self._images, self._sub_folder(split)))]

    def label_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's masks; none without masks."""
        if self._masks is None:
            return []
        return [("", files.join_path(self._masks, self._sub_folder(split)))]

    def select_names(self, names: list[str], split: str) -> list[str]:
        """Returns the names in a split's list file, or with masks; never masks among images."""
        if self._masks is not None and self._masks.strip("/") == self._images.strip("/"):
            names = [name for name in names if not name.endswith(self.label_ending)]
        if self._place(split) == WITH_MASKS:
            return self._select_with_masks(names, split)
        list_file = self._list_file(split)
        if list_file is None:
            return names
        path = self._join(list_file)
        try:
            listed = name_lists.read_names(
                path, self._list_spellings(names), self.root, self.image_suffixes
            )
        except UserError as error:
            raise UserError(
                f"{files.describe_path(path)}, the list of a split in Folder.splits, {error}"
            ) from error
        missing = sorted(listed - set(names))
        if missing:
            raise UserError(
                f"{files.describe_path(path)} lists {len(missing)} image(s) that are not in "
                f"{files.describe_path(self._join(self._images))}: {', '.join(missing[:10])}"
                f"{', ...' if len(missing) > 10 else ''}. Correct the list or put the images there."
            )
        return [name for name in names if name in listed]

    def _select_with_masks(self, names, split):
        masks = self._find_labels(split) or {}
        selected = [name for name in names if name in masks]
        if names and not selected:
            raise UserError(
                f"Folder.splits: none of the {len(names)} images below "
                f"{files.describe_path(self.root)}, such as {names[0]}, has a mask. Bind "
                "Folder.masks, and Folder.mask_suffix if masks' names have one; or the split to "
                'another place, "" for all images.'
            )
        return selected

    def _list_spellings(self, names):
        """Returns path below root, or name -> name of each image."""
        spellings = {name: name for name in names}
        if is_pattern(self._images):
            for name, (path, _) in self._match(
                self._images, "images", None, self.image_suffixes
            ).items():
                spelling = name_lists.drop_suffix(path, self.image_suffixes)
                spellings[files.cut_root(spelling, self.root)] = name
        else:
            spellings |= {files.join_path(self._images, name).strip("/"): name for name in names}
        return spellings

    def _find_images(self, split):
        if is_pattern(self._images):
            return self._match(self._images, "images", split, self.image_suffixes)
        found = super()._find_images(split)
        # Masks may be in a folder below that of the images.
        folder = self.image_folders(split)[0][1].strip("./")
        masks = "" if self._masks is None or is_pattern(self._masks) else self._masks.strip("/")
        if masks != folder and f"{masks}/".startswith(f"{folder}/" if folder else ""):
            below = masks[len(folder) :].strip("/") + "/"
            found = {name: image for name, image in found.items() if not name.startswith(below)}
        return found

    def list_orphans(self, split: str) -> list[str]:
        """Returns masks without an image; none where the masks of all splits are in one place."""
        masks = self._masks or ""
        shared = self._is_coco() or (is_pattern(masks) and "{split}" not in masks)
        if shared and self._sub_folder(split):
            return []
        return super().list_orphans(split)

    def _find_labels(self, split):
        in_pattern = is_pattern(self._masks or "") and not self._is_coco()
        # `has_labels` looks for the same files, so it is asked only where there are none.
        found = self._find_masks(split) if in_pattern and not self._is_beside_masks(split) else {}
        if not found and not self.has_labels(split):
            return None
        if self._is_coco():
            found = self._find_coco(split)
        elif not in_pattern:
            found = self._find_kind(split)
        if self._table_pattern is not None:
            pattern = self._make_pattern(self._table_pattern, "color_table", split)
            for path, name in found.values():
                table = pattern.fill(name.removesuffix(self.label_ending)) or pattern.text
                self._mask_reader.set_own_table(path, self._join(table))
        return found

    def _find_kind(self, split):
        """Returns the masks of the kind that most images have; a folder may hold a legend too."""
        folders = self.label_folders(split)

        def count(kind):
            listed = self._list_named(folders, kind, self.label_ending)
            names = {name_lists.unify_name(name) for _, name, _ in listed}
            return len(names & images.keys()), bool(names)

        with files.listed_once():
            images = self._find_images(split)
            self.label_suffixes = max(_MASK_KINDS, key=count)
            found = self._find(folders, self.label_suffixes, self.label_ending)
        if not found:
            self._check_kind(split)
        return found

    def _check_kind(self, split):
        """Raises an error where the folder of the masks has files, but none of a mask's kind."""
        folder = self._join(self.label_folders(split)[0][1])
        if not files.list_files(folder, _MASK_SUFFIXES):
            others = _describe_others(folder, _MASK_SUFFIXES)
            if others:
                raise UserError(
                    f"Folder.masks: {files.describe_path(folder)} holds no mask "
                    f"({', '.join(_MASK_SUFFIXES)}){others}; convert them to PNG."
                )

    def _find_masks(self, split):
        """Returns name -> (path, name) of a pattern's masks."""
        pattern = self._make_pattern(self._masks, "masks", split)
        if CLASS_KEY not in pattern.text:
            return self._match(self._masks, "masks", split, _MASK_SUFFIXES)
        layers: dict[str, list[tuple[str, str]]] = {}
        for path, name, keys in self._list_matches(pattern, split, _MASK_SUFFIXES):
            layers.setdefault(name_lists.unify_name(name), []).append((keys["class"], path))
        found = {}
        for name, listed in layers.items():
            path = self._join(pattern.fill(name) or f"{name}-{pattern.text}")
            self._mask_reader.set_layers(path, listed)
            found[name] = (path, name)
        return found

    def _find_coco(self, split):
        """Returns the same for the images of a COCO file."""
        path = self._coco_path(split)
        listed = {
            name_lists.unify_name(name_lists.drop_suffix(image, self.image_suffixes)): image
            for image in self._mask_reader.list_coco(path)
        }
        images = self._find_images(split)
        inside = self._sub_folder(split)
        found, rest = {}, []
        for name in images:
            exact = next((n for n in (name, f"{inside}/{name}") if n in listed), None)
            if exact is None:
                rest.append(name)
            else:
                found[name] = (join_coco_path(path, listed.pop(exact)), name)
        # Other paths count by their last part, where that is unique.
        by_base = _group_by_base(listed)
        for base, names in _group_by_base(rest).items():
            if len(names) == 1 and len(by_base.get(base, ())) == 1:
                found[names[0]] = (join_coco_path(path, listed.pop(by_base[base][0])), names[0])
        if listed:
            logging.info(
                "%s: %d of its images are not in the split %r",
                files.describe_path(path), len(listed), split,
            )  # fmt: skip
        return found

    def _expect_label(self, name, split):
        if self._is_coco():
            return join_coco_path(self._coco_path(split), name)
        if is_pattern(self._masks):
            pattern = self._make_pattern(self._masks, "masks", split)
            return self._join(pattern.fill(name) or pattern.text)
        return super()._expect_label(name, split)

    def _is_coco(self):
        return (
            self._masks is not None
            and self._masks.endswith(".json")
            and not ("*" in self._masks or "{name}" in self._masks)
        )

    def _coco_path(self, split):
        return self._join(self._masks.replace("{split}", self._sub_folder(split)))

    def _make_pattern(self, text, option, split):
        keys = (ANY_KEY, "class") if option == "masks" else (ANY_KEY,)
        values = {"split": self._sub_folder(split)}
        return Pattern(text, f"Folder.{option}", keys=keys, values=values)

    def _match(self, text, option, split, suffixes):
        pattern = self._make_pattern(text, option, split)
        matches = self._list_matches(pattern, split, suffixes)
        return index_names((path, name, name) for path, name, _ in matches)

    def _list_matches(self, pattern, split, suffixes):
        """Yields (path, name, keys) of the files that a pattern matches in a split."""
        folder = self._join(pattern.folder)
        if not files.is_folder(folder):
            return
        # Names that are those of a split's images do not begin with its folder.
        whole = is_pattern(self._images) and "{split}" not in self._images
        inside = self._sub_folder(split) if whole and not pattern.fixed else ""
        for relative in files.list_files(folder, suffixes):
            matched = pattern.match(files.join_path("", pattern.folder, relative), suffixes)
            if matched is not None and matched[0].startswith(f"{inside}/" if inside else ""):
                yield (files.join_path(folder, relative), *matched)

    def _sub_folder(self, split):
        if split is None:
            return ""
        if self._places is None:
            _check_below_root("split", split)
            return split
        place = self._places[split]
        return "" if place == WITH_MASKS or place.endswith(".txt") else place

    def _list_file(self, split):
        place = self._place(split)
        return place if place.endswith(".txt") else None

    def _place(self, split):
        return "" if self._places is None else self._places[split]

    def _describe_absence(self, split):
        """Adds what is there instead."""
        message = super()._describe_absence(split)
        folder = self._join(self.image_folders(split)[0][1])
        there = files.describe_path(self.root)
        if not files.is_folder(self.root):
            return f"{message} There is no folder {there}; correct root."
        found = files.list_files(self.root, self.image_suffixes)
        if not found:
            others = _describe_others(self.root, self.image_suffixes)
            return f"{message} {there} holds no image at all{others}."
        shown = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        state = "has no image" if files.is_folder(folder) else "does not exist"
        return (
            f"{message} {files.describe_path(folder)} {state}; {there} holds {len(found)} "
            f'image(s): {shown}. Bind Folder.images, the folder of the images below root ("." is '
            'root itself), or a pattern such as "*/rgb/*.png".'
        )


def _list_others(folder, suffixes):
    """Returns the files without these endings, and without texts that describe a data set."""
    found = files.list_other_files(folder, suffixes)
    return [path for path in found if not path.lower().endswith(_TEXTS)]


def _describe_others(folder, suffixes):
    """Returns the end of a sentence that names files without these endings; "" where none are."""
    found = _list_others(folder, suffixes)
    return f", but {len(found)} other file(s), such as {found[0]}" if found else ""


def _group_by_base(paths):
    """Returns last part of a path -> the paths that have it."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(path.rpartition("/")[2], []).append(path)
    return groups


def _check_below_root(option, place):
    if not isinstance(place, str):
        raise UserError(
            f"Folder's {option} is {place!r}; bind one folder as text. A pattern such as "
            '"*/rgb/*.png" reads several.'
        )
    if ".." in place.split("/"):
        raise UserError(
            f"Folder's {option} is {place!r}, which leads out of root; bind a root that holds all "
            "of its folders."
        )
