"""Data sets whose label files hold Cityscapes' trainIds."""

from __future__ import annotations

from data_pipelines import label_spaces
from data_pipelines.domain import Domain


class TrainIdDomain(Domain):
    """Labels are 8-bit trainIds 0..18, 255 = ignore; readers derive from it."""

    def raw_table(self):
        """Returns the ids as they are."""
        return label_spaces.CITYSCAPES_TRAIN_ID_TO_CITYSCAPES19
