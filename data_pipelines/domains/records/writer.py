"""Writes a split of any data set as TFRecord files of `tf.train.Example`, with an index."""

from __future__ import annotations

import io
import itertools
import uuid
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.domains.records import index as record_index
from data_pipelines.domains.records.index import Entry
from data_pipelines.domains.records.index import Part
from data_pipelines.domains.records.index import RecordIndex
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import record_files
from data_pipelines.io import whole_files
from data_pipelines.map_ahead import count_threads
from data_pipelines.map_ahead import map_ahead

if TYPE_CHECKING:
    import tensorflow as tf

IMAGES_PER_SHARD = 500
"""Images in a shard where nobody says how many shards there shall be."""


def check_output(output: str, split: str) -> None:
    """Refuses a split or folder that cannot be written, before a long audit.

    Args:
        output: folder to write to.
        split: name of the split.

    Raises:
        UserError: the name of the split cannot name files, or records of it are there already.
    """
    import tensorflow as tf

    record_index.check_split_name(split)
    pattern = files.join_path(output, f"{split}-*-of-*{record_files.SUFFIX}")
    index = record_index.locate_index(output, split)
    there = [index] if tf.io.gfile.exists(index) else tf.io.gfile.glob(pattern)
    if there:
        raise UserError(
            f"{files.describe_path(there[0])} is there already; records are never overwritten. "
            f"Remove the files of the split {split!r} or choose another --output."
        )


def write_split(
    domain: Domain,
    split: str,
    pairs: Sequence[Pair],
    output: str,
    *,
    num_shards: int | None = None,
) -> None:
    """Writes the pairs of a split, each as one `tf.train.Example` (`make_example`).

    An image is stored as its file: nothing is lost and nothing grows. A label is stored as an 8-bit
    PNG of ids of the domain's label space: 16-bit channels, palettes and tables of the data set are
    resolved once, and whoever reads the records needs none of them. Shards hold neighbours by name,
    about as many each.

    Args:
        domain: the data set.
        split: name of the split.
        pairs: what to write, at least one; audited, so that all of them can be read.
        output: folder to write to, any path that TensorFlow writes; made if absent.
        num_shards: TFRecord files; None gives one for every `IMAGES_PER_SHARD` images.

    Raises:
        UserError: records of this split are there already, or the folder cannot be written.
            Nothing is left of what was begun.
    """
    import tensorflow as tf

    check_output(output, split)
    count = len(pairs)
    if num_shards is None:
        num_shards = -(-count // IMAGES_PER_SHARD)
    if not 1 <= num_shards <= count:
        raise UserError(f"{num_shards} shards cannot hold {count} images; choose 1 to {count}.")
    partial = files.join_path(output, f".{split}.{uuid.uuid4().hex}{whole_files.PARTIAL}")
    try:
        whole_files.make_folder(partial)
        index = _write_shards(domain, split, pairs, partial, num_shards)
        check_output(output, split)
        for name in index.shards:
            source, target = (files.join_path(folder, name) for folder in (partial, output))
            if "://" in output:
                tf.io.gfile.rename(source, target)
            else:
                whole_files.sync(source)
                whole_files.rename_whole(source, target)
        # The index last: without it nobody looks at the shards.
        text = record_index.format_index(index)
        whole_files.write_whole(
            record_index.locate_index(output, split), lambda file: file.write(text.encode())
        )
    except (tf.errors.OpError, OSError) as error:
        raise UserError(
            f"{files.describe_path(output)} cannot be written: "
            f"{getattr(error, 'message', error)}. Free some disk, or choose another --output."
        ) from error
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.rmtree(partial)


def make_example(name: str, image: bytes, label: bytes | None) -> tf.train.Example:
    """Builds the `tf.train.Example` of a pair.

    Args:
        name: the pair's name.
        image: content of a picture file.
        label: content of a PNG of class ids, of the image's size; None without a label.

    Returns:
        The example; `docs/domains.md` lists its features.
    """
    import tensorflow as tf

    def store_bytes(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def store_int(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    header = decoding.read_picture_header(image)
    features = {
        "image/encoded": store_bytes(image),
        "image/filename": store_bytes(name.encode()),
        "image/format": store_bytes(header.format.encode()),
        "image/height": store_int(header.height),
        "image/width": store_int(header.width),
    }
    if label is not None:
        features["image/segmentation/class/encoded"] = store_bytes(label)
        features["image/segmentation/class/format"] = store_bytes(b"png")
    return tf.train.Example(features=tf.train.Features(feature=features))


def _write_shards(domain, split, pairs, folder, num_shards) -> RecordIndex:
    import tensorflow as tf

    from data_pipelines.progress import make_progress_bar

    names = [f"{split}-{i:05d}-of-{num_shards:05d}{record_files.SUFFIX}" for i in range(num_shards)]
    bounds = [len(pairs) * i // num_shards for i in range(num_shards + 1)]
    entries: list[Entry] = []
    workers = count_threads()
    encoded = map_ahead(lambda pair: _encode_pair(domain, pair), pairs, workers)
    with make_progress_bar(len(pairs), f"writing {domain.name} {split}", "image") as bar:
        for shard, name in enumerate(names):
            here = pairs[bounds[shard] : bounds[shard + 1]]
            divisions = []
            with tf.io.TFRecordWriter(files.join_path(folder, name)) as writer:
                for content, division in itertools.islice(encoded, len(here)):
                    writer.write(content)
                    divisions.append(division)
                    bar.update(1)
            parts = _locate_parts(files.join_path(folder, name), divisions)
            entries += [
                Entry(name=pair.name, shard=shard, image=image, label=label)
                for pair, (image, label) in zip(here, parts)
            ]
    return RecordIndex(
        split=split,
        domain=domain.name,
        label_space=domain.label_space,
        has_labels=pairs[0].label_path is not None,
        count=len(entries),
        shards=tuple(names),
        entries=tuple(entries),
    )


def _encode_pair(domain, pair):
    """Returns a pair's record, and how it is divided between image and label."""
    if type(domain).decode_image is Domain.decode_image and domain.max_value is None:
        image = files.read_bytes(pair.image_path, domain.max_bytes)
    else:
        # A reader with a decoder or a scale of its own: nobody else could read its files.
        image = _encode_png(domain.read_image(pair.image_path))
    label = None if pair.label_path is None else _encode_png(domain.read_label(pair.label_path))
    # Sorted by name: the image comes before the label.
    content = make_example(pair.name, image, label).SerializeToString(deterministic=True)
    return content, _divide(content, image, label)


def _encode_png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()


def _divide(content, image, label):
    """Divides a record into a part for the image and one for the label, with nothing left over.

    Returns:
        (length of the part, start of the image or label in it, its size) for each of the two, in
        bytes; None for a label that is not there.
    """
    total = record_files.HEADER_BYTES + len(content) + record_files.FOOTER_BYTES
    image_start = record_files.HEADER_BYTES + content.index(image)
    if label is None:
        return (total, image_start, len(image)), None
    cut = image_start + len(image)
    label_start = record_files.HEADER_BYTES + content.index(label, cut - record_files.HEADER_BYTES)
    return (cut, image_start, len(image)), (total - cut, label_start - cut, len(label))


def _locate_parts(path, divisions):
    """Reads a shard back and yields the parts of every record, with their checksums."""
    import tensorflow as tf

    offset = 0
    with tf.io.gfile.GFile(path, "rb") as file:
        for division in divisions:
            parts: list[Part | None] = [None, None]
            for place, share in enumerate(division):
                if share is not None:
                    length, start, size = share
                    crc32 = zlib.crc32(file.read(length))
                    parts[place] = Part(
                        offset=offset, length=length, crc32=crc32, start=start, size=size
                    )
                    offset += length
            yield parts
