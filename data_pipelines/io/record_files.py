"""Images and labels inside TFRecord files, read one by one where they are.

The path `SHARD.tfrecord#OFFSET+LENGTH*CRC32@START+SIZE` stands for `SIZE` bytes in a part of a
file, so whatever reads files by path reads records too. One read fetches the part, whatever the
size of its shard; nothing else of the record is read or parsed. The checksum, which the index
keeps, covers the whole part, and the parts of a record cover all of its bytes: every bit of a shard
is checked, and a shard of another index is found out. (TensorFlow's own reader with random access
is not part of its public interface, and takes nine times as long for a record of 60 kB.)
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from data_pipelines.errors import UserError

SUFFIX = ".tfrecord"
HEADER_BYTES = 12
"""A record's length and the checksum of that, before its content."""
FOOTER_BYTES = 4
"""The content's checksum, after it."""

_NO_SHARD = "is missing: there is no such shard"
_PATH = re.compile(
    rf"(.*{re.escape(SUFFIX)})#(\d+)\+(\d+)\*([0-9a-f]{{8}})@(\d+)\+(\d+)", re.DOTALL
)


class RecordPath(NamedTuple):
    """Where an image or label is.

    Attributes:
        shard: path of the TFRecord file.
        offset: of the part that is read, in the shard, in bytes.
        length: of the part, in bytes.
        crc32: checksum of the part.
        start: of the image or label within the part, in bytes.
        size: of the image or label, in bytes.
    """

    shard: str
    offset: int
    length: int
    crc32: int
    start: int
    size: int


def format_path(record: RecordPath) -> str:
    """Writes the place of an image or label as one path."""
    shard, offset, length, crc32, start, size = record
    return f"{shard}#{offset}+{length}*{crc32:08x}@{start}+{size}"


def parse_path(path: str) -> RecordPath | None:
    """Reads a path that `format_path` wrote; None for the path of a file."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    shard, offset, length, crc32, start, size = match.groups()
    return RecordPath(shard, int(offset), int(length), int(crc32, 16), int(start), int(size))


def read_record(record: RecordPath) -> bytes:
    """Reads one image or label.

    Args:
        record: where it is.

    Returns:
        Its content.

    Raises:
        UserError: it is missing, cut off or damaged, or another one lies there; names no path.
    """
    read = _read_remote if "://" in record.shard else _read_local
    data = read(record.shard, record.offset, record.length)
    if len(data) < record.length:
        raise UserError(
            f"is cut off: the shard ends after {len(data)} of its {record.length} bytes"
        )
    if zlib.crc32(data) != record.crc32:
        raise UserError("is damaged, or its shard is not the one that the index was written with")
    return data[record.start : record.start + record.size]


def _read_local(path, offset, size):
    """Reads a part of a file, as far as there is one; TensorFlow would read 512 kB at least."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        raise UserError(_NO_SHARD) from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error


def _read_remote(path, offset, size):
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except tf.errors.NotFoundError:
        raise UserError(_NO_SHARD) from None
    except tf.errors.OutOfRangeError:
        return b""
    except tf.errors.OpError as error:
        raise UserError(f"cannot be read: {error.message}") from error
