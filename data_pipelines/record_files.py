"""Records inside TFRecord files, read one by one at their offsets.

A record has the path `SHARD.tfrecord#OFFSET+LENGTH`, so whatever reads files by path reads records
too. TensorFlow's own reader checks both checksums of the record it reads and nothing else of the
file: a random access costs two reads, whatever the size of the shard.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from typing import Optional

from data_pipelines.errors import UserError

SUFFIX = ".tfrecord"

_PATH = re.compile(rf"(.*{re.escape(SUFFIX)})#(\d+)\+(\d+)", re.DOTALL)


class RecordPath(NamedTuple):
    """Where a record lies.

    Attributes:
        shard: path of the TFRecord file.
        offset: of the record's header, in bytes.
        length: of the record's content, in bytes.
    """

    shard: str
    offset: int
    length: int


def format_path(record: RecordPath) -> str:
    """Writes a record's place as one path."""
    return f"{record.shard}#{record.offset}+{record.length}"


def parse_path(path: str) -> Optional[RecordPath]:
    """Reads a path that `format_path` wrote; None for the path of a file."""
    match = _PATH.fullmatch(path)
    return match and RecordPath(match.group(1), int(match.group(2)), int(match.group(3)))


def read_record(record: RecordPath) -> bytes:
    """Reads one record.

    Args:
        record: where it lies.

    Returns:
        Its content.

    Raises:
        UserError: it is missing, cut off or damaged, or another one lies there; names no path.
    """
    import tensorflow as tf

    # The one reader with random access; TensorFlow exports none. An iterator of
    # `tf.raw_ops.TFRecordDatasetV2` starts at an offset too, but takes 20 times as long to make.
    from tensorflow.python.lib.io import tf_record

    try:
        data, _ = tf_record.tf_record_random_reader(record.shard).read(record.offset)
    except tf.errors.NotFoundError:
        raise UserError("is missing: there is no such shard") from None
    except IndexError:
        raise UserError("is missing: the shard ends before it") from None
    except tf.errors.DataLossError as error:
        raise UserError(f"is damaged: {error.message}") from error
    except tf.errors.OpError as error:
        raise UserError(f"cannot be read: {error.message}") from error
    if len(data) != record.length:
        raise UserError(f"has {len(data)} bytes, its index says {record.length}")
    return data
