"""ACDC: photos of Swiss streets in fog, at night, in rain and in snow.

C. Sakaridis, D. Dai, L. Van Gool, ACDC: The Adverse Conditions Dataset with Correspondences, ICCV
2021.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_pipelines.domains.train_ids import TrainIdDomain
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.labels.label_spaces import LabelSpace

CONDITIONS = ("fog", "night", "rain", "snow")


class Acdc(TrainIdDomain):
    """Reads `rgb_anon/CONDITION/SPLIT/SEQUENCE/*_rgb_anon.png` and its labels.

    The labels are `gt/CONDITION/SPLIT/SEQUENCE/*_gt_labelTrainIds.png`. Names of pairs start with
    the condition. The split "test" comes without labels.

    Args:
        root: the data set's folder.
        conditions: which of "fog", "night", "rain" and "snow" to read.
        label_space: classes that labels are given in; None keeps Cityscapes' 19.
        max_pixels: larger images and labels are refused before they are decoded.

    Raises:
        UserError: there is no such condition.
    """

    name = "acdc"
    splits = ("train", "val", "test")
    image_ending = "_rgb_anon"
    label_ending = "_gt_labelTrainIds"
    obtained = (
        "Register at the ACDC website and unpack rgb_anon_trainvaltest.zip and gt_trainval.zip "
        "there."
    )

    def __init__(
        self,
        *,
        root: str,
        conditions: Sequence[str] = CONDITIONS,
        label_space: LabelSpace | None = None,
        max_pixels: int = decoding.MAX_PIXELS,
    ):
        unknown = [name for name in conditions if name not in CONDITIONS]
        if unknown or not conditions or isinstance(conditions, str):
            raise UserError(
                f"Acdc.conditions is {conditions!r}; bind a list of one or more of "
                f"{', '.join(CONDITIONS)}."
            )
        self._conditions = tuple(dict.fromkeys(conditions))
        super().__init__(root=root, label_space=label_space, max_pixels=max_pixels)

    def image_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns one folder for each condition."""
        return [(name, f"rgb_anon/{name}/{split}") for name in self._conditions]

    def label_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns one folder for each condition."""
        return [(name, f"gt/{name}/{split}") for name in self._conditions]
