"""Finds the files to predict and prefetches them."""

from __future__ import annotations

import collections
import glob
import os
from collections.abc import Iterator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import remarks
from data_pipelines.map_ahead import map_ahead
from drsl_tf.serving import georeference
from drsl_tf.serving import video
from drsl_tf.serving.georeference import Georeference

_READERS = 2


class Input(NamedTuple):
    """A file to predict.

    Attributes:
        name: name of its outputs: its path below the input folder, without its suffix unless
            another file would have the same name.
        path: the file.
    """

    name: str
    path: str

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return self.path.lower().endswith(video.SUFFIXES)


class Frame(NamedTuple):
    """An image to predict: a file's, or one of a video's.

    Attributes:
        name: name of its outputs.
        image: (H, W, 3) uint8 RGB, upright.
        reference: where a GeoTIFF lies on the ground, or None.
        rate: frames per second of the video that it is one of, or None.
    """

    name: str
    image: np.ndarray
    reference: Georeference | None = None
    rate: float | None = None


def find_inputs(patterns: str | Sequence[str], excluded: Sequence[str] = ()) -> list[Input]:
    """Finds the files that `--input` names.

    Names are relative to the folder of the input: to the folder itself, to that of a file, or to
    the folders of a glob before its first wildcard. Of several inputs they are relative to the
    innermost folder that contains all of these folders, so that equal names in two inputs stay
    apart.

    Args:
        patterns: one or several of: a file, a folder, which is searched with its sub-folders, or a
            glob, in which "**" stands for sub-folders. Links to folders are followed, except to
            a folder above themselves; hidden folders are left out.
        excluded: folders whose files are ignored: those of the outputs, which may lie within.

    Returns:
        Images and videos, sorted by name; a file of several inputs once.

    Raises:
        UserError: an input leads to none, or out of the folder that it begins with.
    """
    roots: list[str] = []
    found: dict[str, str] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        root, paths = _find_files(pattern, excluded)
        roots.append(root)
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    if len(roots) == 1:
        return _name_inputs(sorted(found.values()), roots[0])
    common = os.path.commonpath([os.path.abspath(root) for root in roots])
    return _name_inputs(sorted(found.values()), common)


def read_frames(
    inputs: Sequence[Input],
    max_pixels: int,
    skipped: dict[str, str],
    max_value: int | None = None,
) -> Iterator[Frame]:
    """Reads files in order, and prefetches a few.

    Args:
        inputs: result of `find_inputs`.
        max_pixels: larger images are skipped before they are decoded.
        skipped: receives path -> reason for every file that cannot be read.
        max_value: as in `decoding.decode_rgb`, whose remarks are logged as warnings.

    Yields:
        Upright RGB images; every frame of a video, named NAME/000000 and so on.
    """
    log = remarks.RemarkLog()

    def read(source):
        try:
            return None if source.is_video else _read_image(source, max_pixels, max_value)
        except UserError as error:
            return error

    for source, result in zip(inputs, map_ahead(read, inputs, _READERS)):
        if isinstance(result, UserError):
            skipped[source.path] = str(result)
        elif result is not None:
            frame, lost = result
            log.add(source.path, lost)
            yield frame
        else:
            try:
                for index, (image, rate) in enumerate(video.iterate_frames(source.path)):
                    yield Frame(f"{source.name}/{index:06d}", image, rate=rate)
            except UserError as error:
                skipped[source.path] = str(error)
    log.close()


def group_frames(frames: Iterator[Frame], batch_size: int) -> Iterator[list[Frame]]:
    """Groups consecutive images of one size.

    Args:
        frames: images in order.
        batch_size: most images in a group.

    Yields:
        Lists of at least one image.
    """
    held: list[Frame] = []
    for frame in frames:
        if held and (len(held) == batch_size or frame.image.shape != held[0].image.shape):
            yield held
            held = []
        held.append(frame)
    if held:
        yield held


def _read_image(source, max_pixels, max_value):
    data = files.read_bytes(source.path, decoding.BYTES_PER_PIXEL * max_pixels)
    with remarks.collect() as lost:
        image = decoding.decode_rgb(data, max_pixels, max_value)
    return Frame(source.name, image, georeference.read_georeference(source.path)), lost


def _find_files(pattern, excluded):
    """Returns the folder of one input, and the images and videos that it leads to."""
    if os.path.isdir(pattern):
        root = pattern
        found = _expand(os.path.join(glob.escape(pattern), "**"))
    elif os.path.exists(pattern):
        root, found = os.path.dirname(pattern), [pattern]
    else:
        found = _expand(pattern)
        root = _find_fixed_folder(pattern)
    root = root or "."
    images = decoding.IMAGE_SUFFIXES
    candidates = [
        path
        for path in found
        if path.lower().endswith((*images, *video.SUFFIXES))
        and not files.is_hidden(os.path.basename(path))
        and not os.path.isdir(path)
        and (".." in path.split(os.sep) or not _leads_back(path, root))
    ]
    outputs = tuple(os.path.join(os.path.realpath(folder), "") for folder in excluded)
    paths = [
        path
        for path in candidates
        if not os.path.join(os.path.realpath(os.path.dirname(path)), "").startswith(outputs)
    ]
    if candidates and not paths:
        raise UserError(
            f"--input={pattern} leads only to files in the folders of --output's predictions, such "
            f"as {min(candidates)}; choose another --output."
        )
    if not paths:
        raise UserError(
            f"--input={pattern} leads to no image ({', '.join(images)}) and no video "
            f"({', '.join(video.SUFFIXES)})."
        )
    outside = [path for path in paths if ".." in os.path.relpath(path, root).split(os.sep)]
    if outside:
        raise UserError(
            f"--input={pattern} leads out of {os.path.abspath(root)}, to {min(outside)}, so "
            "its outputs would lie outside of --output. Write the path without '..' after a "
            "wildcard."
        )
    return root, paths


def _expand(pattern):
    """Expands a glob as `glob` does; "**" leaves out hidden folders and links that lead back."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return glob.glob(pattern)
    place = parts.index("**")
    head = os.sep.join(parts[:place]) or (os.sep if pattern.startswith(os.sep) else ".")
    rest = parts[place + 1 :] or ["*"]
    found = set()
    for top in glob.glob(head):
        for folder, folders, _ in os.walk(top, followlinks=True):
            folders[:] = [
                name
                for name in folders
                if not files.is_hidden(name)
                and not _leads_back(os.path.join(folder, name, ""), top)
            ]
            found.update(_expand(os.path.join(glob.escape(folder), *rest)))
    return found


def _find_fixed_folder(pattern):
    """Returns the folders of a glob before its first wildcard."""
    parts: list[str] = []
    for part in pattern.split(os.sep)[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return os.sep.join(parts) or (os.sep if pattern.startswith(os.sep) else ".")


def _leads_back(path, root):
    """Returns whether a path below a folder passes a link to a folder above itself."""
    folder, seen = os.path.dirname(path), set()
    top = os.path.join(os.path.realpath(root or "."), "")
    while len(folder) > len(root):
        real = os.path.realpath(folder)
        if real in seen or top.startswith(os.path.join(real, "")):
            return True
        seen.add(real)
        folder = os.path.dirname(folder)
    return False


def _name_inputs(paths, root) -> list[Input]:
    """Names files by their paths without endings; those of equal outputs keep their endings."""
    relative = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    stems = [os.path.splitext(name)[0] for name in relative]
    counts = collections.Counter(stems)
    folders = {os.path.dirname(name) for name in relative}
    # A stem may be another file's whole name; a video's frames may lie where a folder's images do.
    taken = {*relative, *(stem for stem in stems if counts[stem] > 1)}
    inputs = []
    for stem, name, path in zip(stems, relative, paths):
        short = Input(stem, path)
        clashes = stem in taken or (short.is_video and stem in folders)
        inputs.append(Input(name, path) if clashes else short)
    return sorted(inputs)
