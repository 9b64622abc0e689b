"""Dark Zurich: photos of Zurich's streets at night.

C. Sakaridis, D. Dai, L. Van Gool, Guided Curriculum Model Adaptation and Uncertainty-Aware
Evaluation for Semantic Nighttime Image Segmentation, ICCV 2019.
"""

from __future__ import annotations

from data_pipelines.domains.train_ids import TrainIdDomain


class DarkZurich(TrainIdDomain):
    """Reads `rgb_anon/SPLIT/night/SEQUENCE/*_rgb_anon.png` and its labels.

    The labels are `gt/SPLIT/night/SEQUENCE/*_gt_labelTrainIds.png`; only "val" has them.
    """

    name = "dark_zurich"
    splits = ("train", "val", "test")
    image_folder = "rgb_anon/{split}/night"
    label_folder = "gt/{split}/night"
    image_ending = "_rgb_anon"
    label_ending = "_gt_labelTrainIds"
    obtained = (
        "Download Dark_Zurich_train_anon.zip and Dark_Zurich_val_anon.zip from the data set's page "
        "at ETH Zurich and unpack them there."
    )
