"""Data sets whose label files contain Cityscapes' trainIds."""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.labels import label_tables


class TrainIdDomain(Domain):
    """Base class of readers whose labels are 8-bit trainIds 0..18, 255 = ignore."""

    def raw_table(self) -> Mapping[int, int]:
        """Returns the identity."""
        return label_tables.CITYSCAPES_TRAIN_ID_TO_CITYSCAPES19
