"""Records inside TFRecord files, read one by one at their offsets.

A record has the path `SHARD.tfrecord#OFFSET+LENGTH*CHECKSUM`, so whatever reads files by path reads
records too. One read fetches a record, whatever the size of its shard. The checksum, which the
index keeps, covers the record with its header and footer: every bit of a shard is checked, and a
shard of another index is found out. (TensorFlow's own reader with random access is no part of its
public interface, and takes nine times as long for a record of 60 kB.)
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

from data_pipelines.errors import UserError

SUFFIX = ".tfrecord"
HEADER_BYTES = 12
"""The content's length and its checksum, before the content."""
FOOTER_BYTES = 4
"""The content's checksum, after it."""

_NO_SHARD = "is missing: there is no such shard"
_PATH = re.compile(rf"(.*{re.escape(SUFFIX)})#(\d+)\+(\d+)\*([0-9a-f]{{8}})", re.DOTALL)


class RecordPath(NamedTuple):
    """Where a record lies.

    Attributes:
        shard: path of the TFRecord file.
        offset: of the record's header, in bytes.
        length: of the record's content, in bytes.
        checksum: CRC-32 of header, content and footer.
    """

    shard: str
    offset: int
    length: int
    checksum: int


def format_path(record: RecordPath) -> str:
    """Writes a record's place as one path."""
    return f"{record.shard}#{record.offset}+{record.length}*{record.checksum:08x}"


def parse_path(path: str) -> RecordPath | None:
    """Reads a path that `format_path` wrote; None for the path of a file."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    shard, offset, length, checksum = match.groups()
    return RecordPath(shard, int(offset), int(length), int(checksum, 16))


def read_record(record: RecordPath) -> bytes:
    """Reads one record.

    Args:
        record: where it lies.

    Returns:
        Its content.

    Raises:
        UserError: it is missing, cut off or damaged, or another one lies there; names no path.
    """
    size = HEADER_BYTES + record.length + FOOTER_BYTES
    read = _read_remote if "://" in record.shard else _read_local
    data = read(record.shard, record.offset, size)
    if len(data) < size:
        raise UserError(f"is cut off: the shard ends after {len(data)} of its {size} bytes")
    if zlib.crc32(data) != record.checksum:
        raise UserError("is damaged, or its shard is not the one that the index was written with")
    return data[HEADER_BYTES:-FOOTER_BYTES]


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
