"""Data sets that come without splits."""

from __future__ import annotations

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.labels.label_spaces import LabelSpace


class UnsplitDomain(Domain):
    """All images are the split "train", but for those that the user holds out as "val".

    Args:
        root: the data set's folder.
        label_space: classes that labels are given in; None keeps the data set's own.
        val_count: the last images by name that are "val" instead of "train".
        max_pixels: larger images and labels are refused before they are decoded.

    Raises:
        UserError: `val_count` is negative.
    """

    splits: tuple[str, ...] | None = ("train",)
    split_hint = " Bind val_count to hold the last images by name out as val."

    def __init__(
        self,
        *,
        root: str,
        label_space: LabelSpace | None = None,
        val_count: int = 0,
        max_pixels: int = decoding.MAX_PIXELS,
    ):
        if val_count < 0:
            raise UserError(
                f"{type(self).__name__}.val_count is {val_count}; it counts the images held out "
                "as val, from 0 on."
            )
        super().__init__(root=root, label_space=label_space, max_pixels=max_pixels)
        self.val_count = val_count
        if val_count:
            self.splits = ("train", "val")

    def select_names(self, names: list[str], split: str) -> list[str]:
        """Keeps the last `val_count` names for "val", the others for "train"."""
        if not self.val_count or not names:
            return names
        if self.val_count >= len(names):
            raise UserError(
                f"{type(self).__name__}.val_count is {self.val_count}, but {self.root} has "
                f"{len(names)} images; hold out fewer, so that some are left to train on."
            )
        return names[-self.val_count :] if split == "val" else names[: -self.val_count]
