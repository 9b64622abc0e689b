"""Mapillary Vistas: street photos from around the world, with the 66 classes of 1.1 and 1.2.

G. Neuhold et al., The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes, ICCV
2017.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.io import files

# Name in the data set's list -> trainId. A choice of this project: a class maps to where the
# labelling policy of Cityscapes puts it (curbs, pedestrian areas to sidewalk; markings, manholes
# and bicycle lanes to road; sand and mountains to terrain; street lights and frames of signs to
# pole), and to 255 where Cityscapes does not evaluate it or defines it otherwise (backs of signs,
# guard rails, bridges, parking).
CLASS_TO_CITYSCAPES19: dict[str, int] = {
    "animal--bird": 255,
    "animal--ground-animal": 255,
    "construction--barrier--curb": 1,
    "construction--barrier--fence": 4,
    "construction--barrier--guard-rail": 255,
    "construction--barrier--other-barrier": 255,
    "construction--barrier--wall": 3,
    "construction--flat--bike-lane": 0,
    "construction--flat--crosswalk-plain": 0,
    "construction--flat--curb-cut": 1,
    "construction--flat--parking": 255,
    "construction--flat--pedestrian-area": 1,
    "construction--flat--rail-track": 255,
    "construction--flat--road": 0,
    "construction--flat--service-lane": 0,
    "construction--flat--sidewalk": 1,
    "construction--structure--bridge": 255,
    "construction--structure--building": 2,
    "construction--structure--tunnel": 255,
    "human--person": 11,
    "human--rider--bicyclist": 12,
    "human--rider--motorcyclist": 12,
    "human--rider--other-rider": 12,
    "marking--crosswalk-zebra": 0,
    "marking--general": 0,
    "nature--mountain": 9,
    "nature--sand": 9,
    "nature--sky": 10,
    "nature--snow": 255,
    "nature--terrain": 9,
    "nature--vegetation": 8,
    "nature--water": 255,
    "object--banner": 255,
    "object--bench": 255,
    "object--bike-rack": 255,
    "object--billboard": 255,
    "object--catch-basin": 0,
    "object--cctv-camera": 255,
    "object--fire-hydrant": 255,
    "object--junction-box": 255,
    "object--mailbox": 255,
    "object--manhole": 0,
    "object--phone-booth": 255,
    "object--pothole": 0,
    "object--street-light": 5,
    "object--support--pole": 5,
    "object--support--traffic-sign-frame": 5,
    "object--support--utility-pole": 5,
    "object--traffic-light": 6,
    "object--traffic-sign--back": 255,
    "object--traffic-sign--front": 7,
    "object--trash-can": 255,
    "object--vehicle--bicycle": 18,
    "object--vehicle--boat": 255,
    "object--vehicle--bus": 15,
    "object--vehicle--car": 13,
    "object--vehicle--caravan": 255,
    "object--vehicle--motorcycle": 17,
    "object--vehicle--on-rails": 16,
    "object--vehicle--other-vehicle": 255,
    "object--vehicle--trailer": 255,
    "object--vehicle--truck": 14,
    "object--vehicle--wheeled-slow": 255,
    "void--car-mount": 255,
    "void--ego-vehicle": 255,
    "void--unlabeled": 255,
}

_SPLIT_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}
# List of classes -> folder of its labels below a split's, of version 2.0 and of 1.1 and 1.2.
_LABELS_OF_CONFIG = {"config_v1.2.json": "v1.2/labels", "config.json": "labels"}
_MAX_CONFIG_BYTES = 10_000_000


class Mapillary(Domain):
    """Reads versions 2.0, 1.2 and 1.1: `training/images/NAME.jpg` and 8-bit palette PNGs.

    The splits "train", "val" and "test" are the folders training, validation and testing; the last
    has no labels. Version 2.0 has the labels `training/v1.2/labels/NAME.png` and the list of
    classes `config_v1.2.json`, the earlier versions `training/labels/NAME.png` and `config.json`;
    where both lists exist, the first is read. Stored ids are indices of that list;
    `CLASS_TO_CITYSCAPES19` maps its names to Cityscapes' 19 classes. Folders of instances are not
    read.
    """

    name = "mapillary"
    splits = tuple(_SPLIT_FOLDERS)
    image_suffixes = (".jpg",)
    obtained = (
        "Request Mapillary Vistas at the Mapillary website and unpack version 2.0, 1.2 or 1.1 "
        "there."
    )
    _names_table: dict[int, int] | None = None

    def raw_table(self) -> Mapping[int, int]:
        """Returns index in the data set's list of classes -> trainId."""
        if self._names_table is None:
            config = self._find_config()
            if config is None:
                raise UserError(
                    f"{files.describe_path(self.root)} holds neither "
                    f"{' nor '.join(_LABELS_OF_CONFIG)}, the data set's list of classes; it comes "
                    "with the data set, put the original file there."
                )
            path = self._join(config)
            names = _read_class_names(path)
            unknown = sorted(set(names) - CLASS_TO_CITYSCAPES19.keys())
            if unknown or len(names) != len(CLASS_TO_CITYSCAPES19):
                raise UserError(
                    f"{files.describe_path(path)} lists {len(names)} classes, not "
                    f"the {len(CLASS_TO_CITYSCAPES19)} of versions 1.1 and 1.2; unknown are: "
                    f"{', '.join(unknown) or 'none'}. Put the original file there."
                )
            self._names_table = {
                index: CLASS_TO_CITYSCAPES19[name] for index, name in enumerate(names)
            }
        return self._names_table

    def image_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's images."""
        return [("", f"{_SPLIT_FOLDERS[split]}/images")]

    def label_folders(self, split: str) -> list[tuple[str, str]]:
        """Returns the folder of a split's labels.

        Without a list of classes these are the folders of all versions: labels that are there are
        an error then (`raw_table`), not a split without labels.
        """
        config = self._find_config()
        folders = _LABELS_OF_CONFIG.values() if config is None else [_LABELS_OF_CONFIG[config]]
        return [("", f"{_SPLIT_FOLDERS[split]}/{folder}") for folder in folders]

    def _find_config(self):
        """Returns the name of the list of classes, of the newest version there; None without."""
        return next(
            (name for name in _LABELS_OF_CONFIG if files.read_status(self._join(name))), None
        )


def _read_class_names(path):
    try:
        config = json.loads(files.read_bytes(path, _MAX_CONFIG_BYTES))
        return [str(label["name"]) for label in config["labels"]]
    except (UserError, ValueError, KeyError, TypeError) as error:
        reason = error if isinstance(error, UserError) else f"cannot be parsed: {error!r}"
        raise UserError(
            f"{files.describe_path(path)}, the data set's list of classes, {reason}; it comes "
            "with the data set, put the original file there."
        ) from error
