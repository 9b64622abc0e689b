"""SYNTHIA-RAND-CITYSCAPES: rendered city scenes.

G. Ros et al., The SYNTHIA Dataset, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from data_pipelines.domains.unsplit import UnsplitDomain
from data_pipelines.io import decoding
from data_pipelines.labels import label_tables


class Synthia(UnsplitDomain):
    """Reads `RGB/NNNNNNN.png` and `GT/LABELS/NNNNNNN.png`.

    A label is a 16-bit PNG of three channels: the class in the first, the instance in another.
    Labels come in Cityscapes' 19 classes unless `label_space` says otherwise; terrain, truck and
    train have no pixel in the original, so experiments bind `label_spaces.synthia16`. All images
    are "train", except the last `val_count` by name.
    """

    name = "synthia"
    image_folder = "RGB"
    label_folder = "GT/LABELS"
    raw_values = 65536
    obtained = (
        "Download SYNTHIA-RAND-CITYSCAPES from the SYNTHIA data set's website and unpack it there."
    )
    stand_in = ("synthia", "game")

    def raw_table(self) -> Mapping[int, int]:
        """Returns SYNTHIA's id -> trainId."""
        return label_tables.SYNTHIA_ID_TO_CITYSCAPES19

    def decode_raw_label(self, data: bytes) -> np.ndarray:
        """Decodes the first of the label's 16-bit channels."""
        return decoding.decode_first_channel16(data, self.max_pixels)
