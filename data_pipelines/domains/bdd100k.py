"""BDD100K: the 10,000 images of its semantic segmentation task.

F. Yu et al., BDD100K: A Diverse Driving Dataset for Heterogeneous Multitask Learning, CVPR 2020.
"""

from __future__ import annotations

from data_pipelines.domains.train_ids import TrainIdDomain


class Bdd100k(TrainIdDomain):
    """Reads `images/10k/SPLIT/NAME.jpg` and `labels/sem_seg/masks/SPLIT/NAME.png`.

    The masks contain trainIds; the split "test" has no labels.
    """

    name = "bdd100k"
    splits = ("train", "val", "test")
    image_folder = "images/10k/{split}"
    label_folder = "labels/sem_seg/masks/{split}"
    image_suffixes = (".jpg",)
    obtained = (
        "Register at the BDD100K website and unpack its 10K images and its semantic segmentation "
        "labels there."
    )
