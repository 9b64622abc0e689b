"""IDD: photos of Indian streets.

G. Varma et al., IDD: A Dataset for Exploring Problems of Autonomous Navigation in Unconstrained
Environments, WACV 2019.
"""

from __future__ import annotations

from data_pipelines.domains.train_ids import TrainIdDomain


class Idd(TrainIdDomain):
    """Reads `leftImg8bit/SPLIT/DRIVE/*_leftImg8bit.png` (or .jpg) and its labels.

    The labels are `gtFine/SPLIT/DRIVE/*_gtFine_labelcsTrainIds.png`, Cityscapes' trainIds as
    the data set's tools draw them from its polygons. IDD's other levels of classes do not map to
    Cityscapes' (its level 3 counts animals as persons); read them by `domains.folder.Folder` with
    an id table.
    """

    name = "idd"
    splits = ("train", "val", "test")
    image_folder = "leftImg8bit/{split}"
    label_folder = "gtFine/{split}"
    image_suffixes = (".png", ".jpg")
    image_ending = "_leftImg8bit"
    label_ending = "_gtFine_labelcsTrainIds"
    obtained = (
        "Register at the IDD website, unpack IDD Segmentation there, and draw its labels with the "
        "data set's public code: createLabels.py --id-type csTrainId."
    )
