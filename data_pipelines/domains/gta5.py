"""GTA5: frames of a computer game with Cityscapes' labelIds.

S. Richter, V. Vineet, S. Roth, V. Koltun, Playing for Data: Ground Truth from Computer Games, ECCV
2016.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.unsplit import UnsplitDomain
from data_pipelines.labels import label_tables


class Gta5(UnsplitDomain):
    """Reads `images/NNNNN.png` and `labels/NNNNN.png`, 8-bit palette PNGs of labelIds.

    The data set has no official split for adaptation: all images are "train", except the last
    `val_count` by name. In some of its pairs the sizes differ; the audit lists them.
    """

    name = "gta5"
    image_folder = "images"
    label_folder = "labels"
    obtained = (
        "Download its ten parts of images and of labels from the Playing for Data page of TU "
        "Darmstadt and unpack them there."
    )
    stand_in = ("gta5", "game")

    def raw_table(self) -> Mapping[int, int]:
        """Returns labelId -> trainId."""
        return label_tables.GTA5_LABEL_ID_TO_CITYSCAPES19
