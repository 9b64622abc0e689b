"""Mapillary Vistas: street photos from all over the world, with the 66 classes of version 1.2.

G. Neuhold et al., The Mapillary Vistas Dataset for Semantic Understanding of Street Scenes, ICCV
2017.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.io import files

# Name in the data set's own list -> trainId. A choice of this project: a class goes where the
# labelling policy of Cityscapes puts it (curbs, pedestrian areas to sidewalk; markings, manholes
# and bicycle lanes to road; sand to terrain), and to 255 where Cityscapes does not evaluate it or
# draws the line elsewhere (backs and frames of signs, guard rails, bridges, parking, mountains).
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
    "nature--mountain": 255,
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
    "object--street-light": 255,
    "object--support--pole": 5,
    "object--support--traffic-sign-frame": 255,
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
_CONFIG = "config_v1.2.json"
_MAX_CONFIG_BYTES = 10_000_000


class Mapillary(Domain):
    """Reads `training/images/NAME.jpg` and `training/v1.2/labels/NAME.png`.

    The splits "train", "val" and "test" are the folders training, validation and testing; the last
    comes without labels. Labels are 8-bit palette PNGs whose ids are places in the list of classes
    in the data set's own `config_v1.2.json`; the reader goes by the names there, which
    `CLASS_TO_CITYSCAPES19` leads to Cityscapes' 19 classes.
    """

    name = "mapillary"
    splits = tuple(_SPLIT_FOLDERS)
    image_suffixes = (".jpg",)
    obtained = "Request Mapillary Vistas at the Mapillary website and unpack version 2.0 there."
    _names_table: dict[int, int] | None = None

    def raw_table(self) -> Mapping[int, int]:
        """Returns place in the data set's list of classes -> trainId."""
        if self._names_table is None:
            names = self._read_class_names()
            unknown = sorted(set(names) - CLASS_TO_CITYSCAPES19.keys())
            if unknown or len(names) != len(CLASS_TO_CITYSCAPES19):
                raise UserError(
                    f"{files.describe_path(self._join(_CONFIG))} lists {len(names)} classes, not "
                    f"the {len(CLASS_TO_CITYSCAPES19)} of version 1.2; unknown are: "
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
        """Returns the folder of a split's labels of version 1.2."""
        return [("", f"{_SPLIT_FOLDERS[split]}/v1.2/labels")]

    def _read_class_names(self):
        path = self._join(_CONFIG)
        try:
            config = json.loads(files.read_bytes(path, _MAX_CONFIG_BYTES))
            return [str(label["name"]) for label in config["labels"]]
        except (UserError, ValueError, KeyError, TypeError) as error:
            reason = error if isinstance(error, UserError) else f"cannot be understood: {error!r}"
            raise UserError(
                f"{files.describe_path(path)}, the data set's list of classes, {reason}; it comes "
                "with the data set, put the original file there."
            ) from error
