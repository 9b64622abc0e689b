"""Label spaces, and the conversions between them.

A label space is a list of class names with colours; its ids are 0..C-1 and `IGNORE_ID`. The tables
between spaces are those of `label_tables`. An id that a table does not list is an error in the
data, and is not silently ignored.

The colours are those of the cityscapesScripts package and of CamVid's eleven-class convention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_pipelines.errors import UserError
from data_pipelines.labels import label_tables

if TYPE_CHECKING:
    import numpy as np

IGNORE_ID = 255

_CITYSCAPES19 = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)

# The categories have no official colours; each has that of its largest class.
_CITYSCAPES7 = (
    ("flat", (128, 64, 128)),
    ("construction", (70, 70, 70)),
    ("object", (153, 153, 153)),
    ("nature", (107, 142, 35)),
    ("sky", (70, 130, 180)),
    ("human", (220, 20, 60)),
    ("vehicle", (0, 0, 142)),
)

_CAMVID11 = (
    ("sky", (128, 128, 128)),
    ("building", (128, 0, 0)),
    ("pole", (192, 192, 128)),
    ("road", (128, 64, 128)),
    ("pavement", (60, 40, 222)),
    ("tree", (128, 128, 0)),
    ("sign_symbol", (192, 128, 128)),
    ("fence", (64, 64, 128)),
    ("car", (64, 0, 128)),
    ("pedestrian", (64, 64, 0)),
    ("bicyclist", (0, 128, 192)),
)

_DECLARED: dict[tuple[str, str], Mapping[int, int]] = {
    ("cityscapes19", "synthia16"): label_tables.CITYSCAPES19_TO_SYNTHIA16,
    ("cityscapes19", "cityscapes13"): label_tables.CITYSCAPES19_TO_CITYSCAPES13,
    ("cityscapes19", "cityscapes7"): label_tables.CITYSCAPES19_TO_CITYSCAPES7,
    ("cityscapes19", "camvid11"): label_tables.CITYSCAPES19_TO_CAMVID11,
    ("synthia16", "cityscapes19"): label_tables.SYNTHIA16_TO_CITYSCAPES19,
}


@dataclasses.dataclass(frozen=True)
class LabelSpace:
    """The classes of label maps and predictions.

    Attributes:
        name: short name, part of file names and messages.
        class_names: one name per id, id = position.
        palette: one RGB colour per id, each channel in [0, 255].
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.class_names)
        palette = tuple(tuple(int(value) for value in colour) for colour in self.palette)
        # Lists from gin become tuples, so that equal spaces compare and hash equal.
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "palette", palette)
        if not 1 <= len(names) <= IGNORE_ID:
            raise UserError(
                f"The label space {self.name!r} has {len(names)} classes; give class_names "
                f"between 1 and {IGNORE_ID} names ({IGNORE_ID} itself is the ignored id)."
            )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(
                f"The label space {self.name!r} names a class twice: {', '.join(repeated)}; give "
                "each class one name in class_names."
            )
        if len(palette) != len(names):
            raise UserError(
                f"The label space {self.name!r} has {len(names)} classes and {len(palette)} "
                "colours; give palette one (red, green, blue) for each class, or leave it out."
            )
        bad = [c for c in palette if len(c) != 3 or not all(0 <= value <= 255 for value in c)]
        if bad:
            raise UserError(
                f"The label space {self.name!r} has the colour {bad[0]}; a colour is three numbers "
                "between 0 and 255."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes C; ids are 0..C-1."""
        return len(self.class_names)


def cityscapes19() -> LabelSpace:
    """Returns the 19 evaluated classes of Cityscapes, ids = trainIds."""
    return _make_space("cityscapes19", _CITYSCAPES19)


def synthia16() -> LabelSpace:
    """Returns the 16 classes that SYNTHIA and Cityscapes share (no terrain, truck, train)."""
    return _make_subset("synthia16", label_tables.CITYSCAPES19_TO_SYNTHIA16)


def cityscapes13() -> LabelSpace:
    """Returns the 13 classes: the 16 of `synthia16` without wall, fence and pole."""
    return _make_subset("cityscapes13", label_tables.CITYSCAPES19_TO_CITYSCAPES13)


def cityscapes7() -> LabelSpace:
    """Returns the seven categories of Cityscapes' classes."""
    return _make_space("cityscapes7", _CITYSCAPES7)


def camvid11() -> LabelSpace:
    """Returns the eleven classes of CamVid."""
    return _make_space("camvid11", _CAMVID11)


def custom(
    *,
    name: str,
    class_names: Sequence[str] | Mapping[str, int] | Mapping[int, str],
    palette: Sequence[Sequence[int]] | None = None,
) -> LabelSpace:
    """Creates a custom label space.

    Args:
        name: short name; not one of `DECLARED_SPACES`.
        class_names: one name per id, 1 to 255 of them; or a dict of name -> id or id -> name, with
            the ids 0..C-1.
        palette: one (red, green, blue) per class; None chooses distinct colours.

    Returns:
        The label space.

    Raises:
        UserError: the name is taken, names and colours do not match, or the ids of a dict have
            gaps.
    """
    if name in DECLARED_SPACES:
        raise UserError(
            f"The label space {name!r} is declared already with its own classes; give "
            "label_spaces.custom another name."
        )
    class_names = _list_names(class_names)
    if palette is None:
        palette = [_draw_color(index + 1) for index in range(len(class_names))]
    # LabelSpace itself checks that a colour is three numbers.
    return LabelSpace(name, tuple(class_names), tuple(palette))  # type: ignore[arg-type]


def check_is_table(binding: str, table: object) -> None:
    """Checks that an id table is a dict.

    Args:
        binding: its name, for the message.
        table: what the user bound.

    Raises:
        UserError: it is not.
    """
    if isinstance(table, Mapping):
        return
    form = "{0: 0, 255: 1}"
    if isinstance(table, (list, tuple)) and 0 < len(table) <= IGNORE_ID:
        pairs = ", ".join(f"{value!r}: {index}" for index, value in enumerate(table))
        form = f"{{{pairs}}} if its positions are the class ids"
    raise UserError(
        f"{binding} is {table!r}; it must be a dict of stored id: class id, such as {form}."
    )


def convert(from_space: LabelSpace, to_space: LabelSpace) -> dict[int, int]:
    """Returns the table from one label space to another, through others if necessary.

    Args:
        from_space: the space of the given ids.
        to_space: the space to convert to.

    Returns:
        Every id of `from_space`, and 255, -> id of `to_space` or 255.

    Raises:
        UserError: no declared tables connect the two.
    """
    identity = {**{index: index for index in range(from_space.num_classes)}, IGNORE_ID: IGNORE_ID}
    if from_space.class_names == to_space.class_names:
        return identity
    reached = {from_space.name: identity}
    waiting = [from_space.name]
    while waiting:
        here = waiting.pop(0)
        for (start, end), table in _DECLARED.items():
            if start == here and end not in reached:
                reached[end] = compose(reached[here], table)
                waiting.append(end)
    if to_space.name not in reached:
        raise UserError(
            f"No table is declared from the label space {from_space.name} "
            f"({from_space.num_classes} classes) to {to_space.name} ({to_space.num_classes} "
            "classes); choose one label_space that both domains can give, or read the files as "
            "domains.folder.Folder with an id_table of your own."
        )
    return reached[to_space.name]


def compose(first: Mapping[int, int], second: Mapping[int, int]) -> dict[int, int]:
    """Composes two tables.

    Args:
        first: id -> id of an intermediate space.
        second: id of the intermediate space -> id; 255 stays 255.

    Returns:
        Every key of `first` -> its value mapped by `second`.
    """
    return {key: IGNORE_ID if value == IGNORE_ID else second[value] for key, value in first.items()}


def lookup_table(table: Mapping[int, int], size: int) -> np.ndarray:
    """Converts a table to an array that a label map indexes.

    Args:
        table: id -> id; a negative id is at the place where an unsigned file stores it, so -1 at
            size - 1.
        size: number of values of a pixel: 256 for 8 bits, 65,536 for 16.

    Returns:
        (size,) int16; -1 for the ids that the table does not list.

    Raises:
        UserError: an id is out of range for `size`, or a value for 0..255.
    """
    import numpy as np

    spread = np.full(size, -1, np.int16)
    for key, value in table.items():
        if not -size // 2 <= key < size or not 0 <= value <= IGNORE_ID:
            raise UserError(
                f"The id table lists {key}: {value}; ids must be in 0..{size - 1} and "
                f"values in 0..{IGNORE_ID}."
            )
        spread[key % size] = value
    return spread


def map_ids(raw: np.ndarray, lookup: np.ndarray, owner: str) -> np.ndarray:
    """Maps the stored ids of a label map.

    Args:
        raw: (H, W) of an unsigned type.
        lookup: from `lookup_table`.
        owner: name of the data set whose table it is, for the error.

    Returns:
        (H, W) uint8.

    Raises:
        UserError: there are ids that the table does not list; names no file.
    """
    import numpy as np

    ids = lookup[raw]
    if ids.min() < 0:
        unknown, counts = np.unique(raw[ids < 0], return_counts=True)
        shown = ", ".join(f"{value} ({count} px)" for value, count in zip(unknown[:20], counts))
        if len(unknown) > 20:
            shown += f" and {len(unknown) - 20} more"
        raise UserError(
            f"holds {len(unknown)} id(s) that the table of {owner} does not list: {shown}"
        )
    return ids.astype(np.uint8)


DECLARED_SPACES = {
    "cityscapes19": cityscapes19,
    "synthia16": synthia16,
    "cityscapes13": cityscapes13,
    "cityscapes7": cityscapes7,
    "camvid11": camvid11,
}
"""The label spaces declared here, by name."""


def _list_names(class_names):
    """Returns the names in the order of their ids."""
    if isinstance(class_names, Mapping):
        by_id = class_names
        if all(isinstance(value, int) for value in class_names.values()):
            by_id = {index: name for name, index in class_names.items()}
        # A dict of two names with one id has lost one of them here.
        if len(by_id) == len(class_names) and set(by_id) == set(range(len(by_id))):
            names = [by_id[index] for index in range(len(by_id))]
            if all(isinstance(name, str) for name in names):
                return names
        raise UserError(
            f"class_names is {dict(class_names)!r}; a dict must give every id from 0 to "
            f"{max(len(class_names) - 1, 0)} one name, as id: name or name: id. Masks with other "
            "ids need a list of names and an id_table (ID_TABLE) of stored id: position in it."
        )
    if isinstance(class_names, str) or not isinstance(class_names, Sequence):
        raise UserError(f"class_names is {class_names!r}; give a list of names.")
    return class_names


def _make_space(name, classes):
    return LabelSpace(name, tuple(c[0] for c in classes), tuple(c[1] for c in classes))


def _make_subset(name, table):
    """Creates the space of those classes of Cityscapes that a table keeps, in its order."""
    kept = {new: old for old, new in table.items() if new != IGNORE_ID}
    return _make_space(name, [_CITYSCAPES19[kept[new]] for new in range(len(kept))])


def _draw_color(index):
    """Returns the colour of an index in the PASCAL VOC colour map.

    The bits of the index are spread over three channels, so that 1..255 have distinct colours.
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= ((index >> bit) & 1) << (7 - bit // 3)
    return tuple(channels)
