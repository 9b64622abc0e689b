"""Cityscapes: photos of German streets with fine labels.

M. Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.labels import label_tables


class Cityscapes(Domain):
    """Reads `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and its labels.

    The labels are `gtFine/SPLIT/CITY/*_gtFine_labelIds.png`, 8-bit labelIds. A split without its
    folder below gtFine, such as "test", has no labels.
    """

    name = "cityscapes"
    splits = ("train", "val", "test")
    image_folder = "leftImg8bit/{split}"
    label_folder = "gtFine/{split}"
    image_ending = "_leftImg8bit"
    label_ending = "_gtFine_labelIds"
    obtained = (
        "Register at the Cityscapes website and unpack leftImg8bit_trainvaltest.zip and "
        "gtFine_trainvaltest.zip there."
    )
    stand_in = ("cityscapes", "camera")

    def raw_table(self) -> Mapping[int, int]:
        """Returns labelId -> trainId."""
        return label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19
