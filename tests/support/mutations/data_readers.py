"""What reads data sets, and what is kept of them, each with sound files to damage."""

from __future__ import annotations

import functools
import os
import shutil

import numpy as np

from data_pipelines import domains
from data_pipelines import published_archives
from data_pipelines.auditing import audit_stamp
from data_pipelines.batches import class_statistics
from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.domains.domain import Pair
from data_pipelines.labels import label_spaces
from tests.support import data_sets
from tests.support import published
from tests.support.mutations import pictures
from tests.support.mutations.reader import MAX_PIXELS
from tests.support.mutations.reader import Reader
from tests.support.mutations.reader import list_files
from tests.support.mutations.reader import read_seeds


def read_images(name: str, folder: str) -> Reader:
    """The images of a domain."""
    return _read_pictures(name, folder, "image")


def read_labels(name: str, folder: str) -> Reader:
    """The label maps of a domain."""
    return _read_pictures(name, folder, "label")


def _read_pictures(name, folder, role):
    options = {"folder": {"label_space": label_spaces.cityscapes19()}}.get(name, {})
    if name == "mapillary":
        data_sets.write_mapillary(folder)
    domain = domains.find_reader(name)(root=folder, max_pixels=MAX_PIXELS, **options)
    if role == "image":
        found, endings = pictures.encode_images(), domain.image_suffixes
    elif name == "synthia":
        found, endings = {".png": [pictures.encode_synthia_label()]}, (".png",)
    else:
        found, endings = pictures.encode_labels(range(11)), domain.label_suffixes
    seeds = [
        (os.path.join(folder, f"{number}{ending}"), data)
        for ending in endings
        for number, data in enumerate(found.get(ending, []))
    ]
    decode = domain.read_image if role == "image" else domain.read_label
    rank = 3 if role == "image" else 2

    def read(path):
        array = decode(path)
        assert array.dtype == np.uint8 and array.ndim == rank and array.size
        assert array.shape[0] * array.shape[1] <= MAX_PIXELS
        return True

    return Reader(seeds, read)


def read_records(folder: str) -> Reader:
    """A split in TFRecord files: its shards and its index."""
    loose, written = os.path.join(folder, "loose"), os.path.join(folder, "records")
    data_sets.write_camvid(loose)
    camvid = domains.find_reader("camvid")(root=loose)
    data_sets.write_records(camvid, "train", written, num_shards=2)
    reader = domains.find_reader("records")

    def read(_):
        domain = reader(root=written, max_pixels=MAX_PIXELS)
        for pair in domain.list_pairs("train"):
            image, label = domain.read_image(pair.image_path), domain.read_label(pair.label_path)
            assert image.shape[:2] == label.shape
        return True

    return Reader(read_seeds(list_files(written)), read)


def read_published_archive(folder: str) -> Reader:
    """An archive that is converted."""
    source = published.write_kitti_semantics(os.path.join(folder, "source"))
    path = published.write_zip(os.path.join(folder, "archive.zip"), source)
    out = os.path.join(folder, "out")
    kitti = published.describe("kitti")

    def read(path):
        shutil.rmtree(out, ignore_errors=True)
        assert published_archives.prepare(kitti, path, out)
        return True

    return Reader(read_seeds([path]), read)


def read_class_list(folder: str) -> Reader:
    """Mapillary's own list of classes."""
    data_sets.write_mapillary(folder)
    path = os.path.join(folder, "config_v1.2.json")
    seeds = read_seeds([path])
    reader = domains.find_reader("mapillary")

    def read(_):
        table = reader(root=folder).id_table()
        assert len(table) == 66
        return True

    return Reader(seeds, read)


def read_split_list(folder: str) -> Reader:
    """The list of a split's images that `folder` takes."""
    names = [f"a/{number}" for number in range(9)]
    for name in names:
        data_sets.write_image(os.path.join(folder, "images", f"{name}.png"), np.zeros((2, 2), "u1"))
    path = os.path.join(folder, "train.txt")
    space = label_spaces.camvid11()
    make = functools.partial(
        domains.find_reader("folder"),
        root=folder, label_space=space, splits={"train": "train.txt"},
    )  # fmt: skip

    def read(_):
        assert {pair.name for pair in make().list_pairs("train")} <= set(names)
        return True

    return Reader([(path, "\n".join(f"{name}.png" for name in names).encode())], read)


def read_id_maps(folder: str) -> Reader:
    """Pseudo-labels and kept predictions of a run."""
    path = os.path.join(folder, "map.png")

    def read(path):
        assert read_id_map(path, MAX_PIXELS).dtype == np.uint8
        return True

    seeds = [(path, data) for data in pictures.encode_labels((*range(11), 255))[".png"]]
    return Reader(seeds, read)


def read_stamps(folder: str) -> Reader:
    """The audit's stamps."""
    data_sets.write_camvid(folder)
    domain = domains.find_reader("camvid")(root=folder)
    audit_stamp.write_stamp(folder, domain, "train", "0" * 64, [("a", "is empty")], [0])
    path = next(entry.path for entry in os.scandir(folder) if entry.name.endswith(".json"))
    seeds = read_seeds([path])

    def read(_):
        return audit_stamp.read_stamp(folder, domain, "train", "0" * 64) is not None

    return Reader(seeds, read)


def read_statistics(folder: str) -> Reader:
    """The kept numbers of pixels by class."""
    label = data_sets.write_image(os.path.join(folder, "label.png"), np.zeros((2, 3), np.uint8))
    path = os.path.join(folder, "classes.json")
    calls = []

    def count():
        return class_statistics.count_pixels(
            [Pair("a", "a.png", label)],
            lambda path: calls.append(path) or np.zeros((2, 3), np.uint8),
            ["road", "sky"],
            path=path,
        )

    count()
    seeds = read_seeds([path])

    def read(_):
        calls.clear()
        assert count().shape == (1, 2)
        return not calls

    return Reader(seeds, read)
