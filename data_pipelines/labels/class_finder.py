"""Names of classes in masks -> class ids."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from collections.abc import Sequence

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import IGNORE_ID

_IGNORED = ("ignore", "__ignore__")
_BACKGROUND = "background"
# LabelMe's name of it.
_LABELME_BACKGROUND = "_background_"


class ClassFinder:
    """Finds the class of a name in a colour table, in polygons or in a file's name.

    A name is that of a class, a key of `table`, or "ignore".

    Args:
        class_names: names of the classes, id = position.
        table: further names -> class id, or 255 to ignore them.
    """

    def __init__(self, class_names: Sequence[str], table: Mapping[str, int]):
        ignored = dict.fromkeys(_IGNORED, IGNORE_ID)
        classes = {name: index for index, name in enumerate(class_names)}
        background = {_LABELME_BACKGROUND: _find_background(classes)}
        self._ids = {**ignored, **background, **classes, **table}
        self._class_names = tuple(class_names)

    def find_id(self, name: str) -> int:
        """Finds a class.

        Args:
            name: as it is in the file.

        Returns:
            Its id, or 255.

        Raises:
            UserError: there is none; names no file.
        """
        if name in self._ids:
            return self._ids[name]
        close = difflib.get_close_matches(name, self._class_names, 1)
        raise UserError(
            f"labels {name!r}, which is no class{f' (is it {close[0]!r}?)' if close else ''}; the "
            f"classes are {', '.join(self._class_names)}: add it to CLASS_NAMES, or give it a "
            f"class id or 255 for ignore, ID_TABLE = {{{name!r}: 255}}"
        )

    def find_background(self, name: str | None) -> int:
        """Returns the id of the pixels that no annotation covers.

        Args:
            name: of the class; None is the class "background", if there is one, or else ignored.

        Returns:
            The id, or 255.

        Raises:
            UserError: the name is no class.
        """
        if name is not None:
            return self.find_id(name)
        return _find_background(self._ids)


def _find_background(ids):
    return next((ids[name] for name in ids if name.lower() == _BACKGROUND), IGNORE_ID)
