"""Small data sets written in the true layout of each reader.

Paths and ids are spelled out here once more, apart from the readers, so that a mistake in one of
the two shows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.domains.records import writer


class Sample(NamedTuple):
    """One written pair: its name, files and content (`raw` None without a label)."""

    name: str
    image_path: str
    label_path: str
    image: np.ndarray
    raw: np.ndarray


SIZE = (18, 26)

CITYSCAPES_IDS = tuple(range(34))
SYNTHIA_IDS = tuple(range(23))
TRAIN_IDS = (*range(19), 255)
CAMVID_IDS = (*range(11), 255)

MAPILLARY_CLASSES = (
    "animal--bird", "animal--ground-animal", "construction--barrier--curb",
    "construction--barrier--fence", "construction--barrier--guard-rail",
    "construction--barrier--other-barrier", "construction--barrier--wall",
    "construction--flat--bike-lane", "construction--flat--crosswalk-plain",
    "construction--flat--curb-cut", "construction--flat--parking",
    "construction--flat--pedestrian-area", "construction--flat--rail-track",
    "construction--flat--road", "construction--flat--service-lane",
    "construction--flat--sidewalk", "construction--structure--bridge",
    "construction--structure--building", "construction--structure--tunnel", "human--person",
    "human--rider--bicyclist", "human--rider--motorcyclist", "human--rider--other-rider",
    "marking--crosswalk-zebra", "marking--general", "nature--mountain", "nature--sand",
    "nature--sky", "nature--snow", "nature--terrain", "nature--vegetation", "nature--water",
    "object--banner", "object--bench", "object--bike-rack", "object--billboard",
    "object--catch-basin", "object--cctv-camera", "object--fire-hydrant", "object--junction-box",
    "object--mailbox", "object--manhole", "object--phone-booth", "object--pothole",
    "object--street-light", "object--support--pole", "object--support--traffic-sign-frame",
    "object--support--utility-pole", "object--traffic-light", "object--traffic-sign--back",
    "object--traffic-sign--front", "object--trash-can", "object--vehicle--bicycle",
    "object--vehicle--boat", "object--vehicle--bus", "object--vehicle--car",
    "object--vehicle--caravan", "object--vehicle--motorcycle", "object--vehicle--on-rails",
    "object--vehicle--other-vehicle", "object--vehicle--trailer", "object--vehicle--truck",
    "object--vehicle--wheeled-slow", "void--car-mount", "void--ego-vehicle", "void--unlabeled",
)  # fmt: skip


def make_image(rng: np.random.Generator, size=SIZE) -> np.ndarray:
    """Draws a smooth RGB image, (H, W, 3) uint8, which JPEG keeps nearly as it is."""
    rows = np.linspace(0, 1, size[0])[:, None, None]
    columns = np.linspace(0, 1, size[1])[None, :, None]
    ends = rng.integers(0, 120, (2, 3))
    return (rows * ends[0] + columns * ends[1]).astype(np.uint8)


def make_raw(rng: np.random.Generator, ids: Sequence[int], size=SIZE) -> np.ndarray:
    """Draws a label that holds every one of `ids`, (H, W) uint8."""
    raw = rng.choice(np.asarray(ids, np.uint8), size)
    raw.reshape(-1)[: len(ids)] = ids
    return raw


def write_image(path, array) -> str:
    """Writes an RGB or grey array in the format of the path's suffix."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(array).save(path, quality=98)
    return str(path)


def write_palette(path, ids) -> str:
    """Writes ids as an 8-bit palette PNG whose colours are not the ids."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture = Image.fromarray(ids)
    picture.putpalette([(7 * index + 91) % 256 for index in range(768)])
    picture.save(path)
    return str(path)


def encode_uint16(channels) -> bytes:
    """Encodes (H, W, C) uint16 as a 16-bit PNG, which Pillow cannot."""
    import tensorflow as tf

    return tf.io.encode_png(tf.constant(channels, tf.uint16)).numpy()


def write_synthia_label(path, ids) -> str:
    """Writes ids as SYNTHIA does: 16 bits, class in the first channel, instance in the second."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    instances = np.arange(ids.size, dtype=np.uint16).reshape(ids.shape) * 7
    channels = np.stack([ids.astype(np.uint16), instances, np.zeros_like(instances)], axis=-1)
    with open(path, "wb") as file:
        file.write(encode_uint16(channels))
    return str(path)


def write_pairs(root, places, ids, *, write_label=write_image, size=SIZE, seed=0) -> list[Sample]:
    """Writes one pair for each (name, image path, label path or None) in `places`."""
    rng = np.random.default_rng(seed)
    samples = []
    for name, image_place, label_place in places:
        image, raw = make_image(rng, size), make_raw(rng, ids, size)
        image_path = write_image(os.path.join(root, image_place), image)
        label_path = None
        if label_place is not None:
            label_path = write_label(os.path.join(root, label_place), raw)
        samples.append(Sample(name, image_path, label_path, image, raw))
    return samples


def write_gta5(root, count=3, **kwargs):
    """Writes GTA5: images/00001.png and labels/00001.png, palette PNGs of labelIds and 34."""
    names = [f"{index:05d}" for index in range(1, count + 1)]
    places = [(name, f"images/{name}.png", f"labels/{name}.png") for name in names]
    ids = (*CITYSCAPES_IDS, 34)
    return write_pairs(root, places, ids, write_label=write_palette, **kwargs)


def write_synthia(root, count=3, **kwargs):
    """Writes SYNTHIA: RGB/0000000.png and GT/LABELS/0000000.png."""
    names = [f"{index:07d}" for index in range(count)]
    places = [(name, f"RGB/{name}.png", f"GT/LABELS/{name}.png") for name in names]
    return write_pairs(root, places, SYNTHIA_IDS, write_label=write_synthia_label, **kwargs)


def write_cityscapes(root, split="train", labels=True, cities=("aachen", "ulm"), **kwargs):
    """Writes Cityscapes, with the other label files that lie beside the labelIds."""
    places = []
    for city in cities:
        stem = f"{city}/{city}_000000_000019"
        label = f"gtFine/{split}/{stem}_gtFine_labelIds.png" if labels else None
        name = f"{stem}_leftImg8bit"
        places.append((name, f"leftImg8bit/{split}/{name}.png", label))
    samples = write_pairs(root, places, CITYSCAPES_IDS, **kwargs)
    for sample in samples if labels else []:
        for other in ("color", "instanceIds"):
            write_image(sample.label_path.replace("labelIds", other), sample.image)
    return samples


def write_camvid(root, split="train", labels=True, count=2, **kwargs):
    """Writes CamVid: images/SPLIT/NAME.png and labels/SPLIT/NAME.png."""
    places = []
    for index in range(count):
        name = f"0001TP_{index:06d}"
        label = f"labels/{split}/{name}.png" if labels else None
        places.append((name, f"images/{split}/{name}.png", label))
    return write_pairs(root, places, CAMVID_IDS, **kwargs)


def write_acdc(root, split="train", conditions=("fog", "night"), labels=True, **kwargs):
    """Writes ACDC, with the reference images that are a split of their own."""
    places = []
    for condition in conditions:
        stem = f"{condition}/{split}/GOPR0475/GOPR0475_frame_000041"
        label = f"gt/{stem}_gt_labelTrainIds.png" if labels else None
        name = f"{condition}/GOPR0475/GOPR0475_frame_000041_rgb_anon"
        places.append((name, f"rgb_anon/{stem}_rgb_anon.png", label))
        reference = stem.replace(f"/{split}/", f"/{split}_ref/")
        write_image(
            os.path.join(root, f"rgb_anon/{reference}_rgb_ref_anon.png"),
            make_image(np.random.default_rng(9)),
        )
    samples = write_pairs(root, places, TRAIN_IDS, **kwargs)
    for sample in samples if labels else []:
        write_image(sample.label_path.replace("labelTrainIds", "labelIds"), sample.raw)
    return samples


def write_dark_zurich(root, split="val", labels=True, **kwargs):
    """Writes Dark Zurich, with a daytime image that is not read."""
    stem = "GOPR0356/GOPR0356_frame_000321"
    label = f"gt/{split}/night/{stem}_gt_labelTrainIds.png" if labels else None
    places = [(f"{stem}_rgb_anon", f"rgb_anon/{split}/night/{stem}_rgb_anon.png", label)]
    day = f"rgb_anon/{split}/day/GOPR0345/GOPR0345_frame_000100_rgb_anon.png"
    write_image(os.path.join(root, day), make_image(np.random.default_rng(9)))
    return write_pairs(root, places, TRAIN_IDS, **kwargs)


def write_bdd100k(root, split="train", labels=True, **kwargs):
    """Writes BDD100K: images/10k/SPLIT/NAME.jpg and labels/sem_seg/masks/SPLIT/NAME.png."""
    places = []
    for name in ("0004a4c0-d4dff0ad", "00054602-3bf57337"):
        label = f"labels/sem_seg/masks/{split}/{name}.png" if labels else None
        places.append((name, f"images/10k/{split}/{name}.jpg", label))
    return write_pairs(root, places, TRAIN_IDS, **kwargs)


def write_idd(root, split="train", labels=True, **kwargs):
    """Writes IDD's two parts: drives of PNG and of JPEG images."""
    places = []
    for stem, suffix in (("0/005506", "png"), ("202/frame0029", "jpg")):
        label = f"gtFine/{split}/{stem}_gtFine_labelcsTrainIds.png" if labels else None
        name = f"{stem}_leftImg8bit"
        places.append((name, f"leftImg8bit/{split}/{name}.{suffix}", label))
    samples = write_pairs(root, places, TRAIN_IDS, **kwargs)
    for sample in samples if labels else []:
        write_image(sample.label_path.replace("labelcsTrainIds", "labellevel3Ids"), sample.raw)
    return samples


def write_mapillary(root, split="train", labels=True, classes=MAPILLARY_CLASSES, **kwargs):
    """Writes Mapillary Vistas 2.0 with the labels of version 1.2 and their list of classes."""
    return _write_vistas(root, split, labels, classes, "v1.2/", "config_v1.2.json", **kwargs)


def write_mapillary_v1(root, split="train", labels=True, classes=MAPILLARY_CLASSES, **kwargs):
    """Writes Mapillary Vistas 1.1 or 1.2, which have the same layout."""
    return _write_vistas(root, split, labels, classes, "", "config.json", **kwargs)


def _write_vistas(root, split, labels, classes, version_folder, config, **kwargs):
    """Writes images, labels, and the 16-bit files of instances that are not read."""
    folder = {"train": "training", "val": "validation", "test": "testing"}[split]
    places = []
    for name in ("0035fkbjWljhaftpVM37-g", "00qclUcInksIYnm19b1Xfw"):
        label = f"{folder}/{version_folder}labels/{name}.png" if labels else None
        places.append((name, f"{folder}/images/{name}.jpg", label))
    ids = tuple(range(len(classes)))
    samples = write_pairs(root, places, ids, write_label=write_palette, **kwargs)
    for sample in samples if labels else []:
        instances = sample.label_path.replace("/labels/", "/instances/")
        write_image(instances, sample.raw.astype(np.uint16) * 256 + 1)
    entries = [{"name": name, "readable": name, "evaluate": True} for name in classes]
    with open(os.path.join(root, config), "w") as file:
        json.dump({"version": 1.1, "mapping": "public", "labels": entries}, file)
    return samples


def change_bytes(path, change) -> None:
    """Rewrites a file with what `change` makes of its bytes."""
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(change(data))


def write_records(domain, split, output, *, num_shards=None, bad_files="error"):
    """Writes what the audit leaves of a split as records; returns the audit's report."""
    report = audit.audit_split(domain, split, bad_files=bad_files)
    writer.write_split(domain, split, report.pairs, output, num_shards=num_shards)
    return report
