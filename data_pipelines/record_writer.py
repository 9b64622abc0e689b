"""Writes a split of any data set as TFRecord files with an index."""

from __future__ import annotations

import concurrent.futures
import io
import os
import uuid
import zlib
from collections.abc import Sequence

from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.auditing.audit import AuditReport
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.io import files
from data_pipelines.io import record_files
from data_pipelines.io import record_index
from data_pipelines.io import whole_files
from data_pipelines.io.record_index import Entry
from data_pipelines.io.record_index import RecordIndex

IMAGES_PER_SHARD = 500
"""Images in a shard where nobody says how many shards there shall be."""

_MAX_WORKERS = 32


def write_split(
    domain: Domain,
    split: str,
    output: str,
    *,
    num_shards: int | None = None,
    bad_files: str = "error",
) -> AuditReport:
    """Audits a split and writes its good pairs.

    An image's record is its file as it is: nothing is lost and nothing grows. A label's record is
    an 8-bit PNG of ids of the domain's label space: 16-bit channels, palettes and tables of the
    data set are resolved once, and whoever reads the records needs none of them. Shards hold
    neighbours by name, about as many each.

    Args:
        domain: the data set.
        split: name of a split.
        output: folder to write to, any path that TensorFlow writes; made if absent.
        num_shards: TFRecord files; None gives one for every `IMAGES_PER_SHARD` images.
        bad_files: "error" stops at files that the audit refuses; "skip" names and leaves them.

    Returns:
        The audit's report; its pairs were written.

    Raises:
        UserError: bad files, records of this split are there already, or the folder cannot be
            written. Nothing is left of what was begun.
    """
    import tensorflow as tf

    record_index.check_split_name(split)
    _refuse_overwriting(output, split)
    report = audit.audit_split(domain, split, bad_files=bad_files)
    count = len(report.pairs)
    if num_shards is None:
        num_shards = -(-count // IMAGES_PER_SHARD)
    if not 1 <= num_shards <= count:
        raise UserError(f"{num_shards} shards cannot hold {count} images; choose 1 to {count}.")
    partial = files.join_path(output, f".{split}.{uuid.uuid4().hex}{whole_files.PARTIAL}")
    try:
        whole_files.make_folder(partial)
        index = _write_shards(domain, split, report.pairs, partial, num_shards)
        _refuse_overwriting(output, split)
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
    return report


def _refuse_overwriting(output, split):
    import tensorflow as tf

    pattern = files.join_path(output, f"{split}-*-of-*{record_files.SUFFIX}")
    index = record_index.locate_index(output, split)
    there = [index] if tf.io.gfile.exists(index) else tf.io.gfile.glob(pattern)
    if there:
        raise UserError(
            f"{files.describe_path(there[0])} is there already; records are never overwritten. "
            f"Remove the files of the split {split!r} or choose another --output."
        )


def _write_shards(domain, split, pairs: Sequence[Pair], folder, num_shards) -> RecordIndex:
    import tensorflow as tf

    from data_pipelines.progress import make_progress_bar

    has_labels = pairs[0].label_path is not None
    names = [f"{split}-{i:05d}-of-{num_shards:05d}{record_files.SUFFIX}" for i in range(num_shards)]
    bounds = [len(pairs) * i // num_shards for i in range(num_shards + 1)]
    entries = []
    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    with (
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        make_progress_bar(len(pairs), f"writing {domain.name} {split}", "image") as bar,
    ):
        for shard, name in enumerate(names):
            here = pairs[bounds[shard] : bounds[shard + 1]]
            lengths = []
            with tf.io.TFRecordWriter(files.join_path(folder, name)) as writer:
                for contents in _encode_ahead(pool, domain, here):
                    for content in contents:
                        writer.write(content)
                        lengths.append(len(content))
                    bar.update(1)
            places = _find_places(files.join_path(folder, name), lengths)
            for pair in here:
                image, label = next(places), next(places) if has_labels else None
                entries.append(Entry(pair.name, shard, image, label))
    return RecordIndex(
        split=split,
        domain=domain.name,
        label_space=domain.label_space,
        has_labels=has_labels,
        shards=names,
        entries=entries,
    )


def _find_places(path, lengths):
    """Reads a shard back and gives offset, length and checksum of every record."""
    import tensorflow as tf

    offset = 0
    with tf.io.gfile.GFile(path, "rb") as file:
        for length in lengths:
            size = record_files.HEADER_BYTES + length + record_files.FOOTER_BYTES
            yield offset, length, zlib.crc32(file.read(size))
            offset += size


def _encode_pair(domain, pair):
    """Gives the contents of a pair's records: the image's, and the label's if it has one."""
    if type(domain).decode_image is Domain.decode_image:
        contents = [files.read_bytes(pair.image_path, domain.max_bytes)]
    else:
        # A reader with a decoder of its own: nobody else could read its files.
        contents = [_encode_png(domain.read_image(pair.image_path))]
    if pair.label_path is not None:
        contents.append(_encode_png(domain.read_label(pair.label_path)))
    return contents


def _encode_png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG")
    return file.getvalue()


def _encode_ahead(pool, domain, pairs):
    """Encodes pairs in parallel and in order, with few of them in memory."""
    waiting = []
    for pair in pairs:
        waiting.append(pool.submit(_encode_pair, domain, pair))
        if len(waiting) > 2 * _MAX_WORKERS:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
