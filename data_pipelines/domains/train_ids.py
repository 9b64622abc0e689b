"""Data sets whose label files hold Cityscapes' trainIds."""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.labels import label_spaces


class TrainIdDomain(Domain):
    """Labels are 8-bit trainIds 0..18, 255 = ignore; readers derive from it."""

    def raw_table(self) -> Mapping[int, int]:
        """Returns the ids as they are."""
        return label_spaces.CITYSCAPES_TRAIN_ID_TO_CITYSCAPES19
