"""Splits of any data set, written as TFRecord files by `data_pipelines.write_records`."""

from __future__ import annotations

from collections.abc import Mapping

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.domains.records import index as record_index
from data_pipelines.domains.records.index import RecordIndex
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.io import record_files
from data_pipelines.io.record_files import RecordPath
from data_pipelines.labels import label_spaces
from data_pipelines.labels.label_spaces import LabelSpace


class Records(Domain):
    """Reads `SPLIT.index.json` and the `SPLIT-NNNNN-of-NNNNN.tfrecord` that it names.

    Pairs have the names they had as loose files, so outputs do too. Every image and label is read
    by itself at its offset, in any order. In gin:

        records.Records.root = "gs://bucket/gta5"

    Args:
        root: folder of the records, any path that TensorFlow reads.
        label_space: classes that labels are given in; None keeps those they were written in.
        max_pixels: larger images and labels are refused before they are decoded.

    Raises:
        UserError: the folder holds no index, one that is damaged, or splits of different classes.
    """

    name = "records"

    def __init__(
        self,
        *,
        root: str,
        label_space: LabelSpace | None = None,
        max_pixels: int = decoding.MAX_PIXELS,
    ):
        self._indices = _read_indices(root)
        self.splits = tuple(self._indices)
        super().__init__(root=root, label_space=label_space, max_pixels=max_pixels)

    def native_space(self) -> LabelSpace:
        """Returns the classes that the labels were written in."""
        return next(iter(self._indices.values())).label_space

    def raw_table(self) -> Mapping[int, int]:
        """Returns the ids as they are."""
        ids = {index: index for index in range(self.native_space().num_classes)}
        return {**ids, label_spaces.IGNORE_ID: label_spaces.IGNORE_ID}

    def has_labels(self, split: str) -> bool:
        """Returns whether a split was written with labels."""
        self._check_split(split)
        return self._indices[split].has_labels

    def list_pairs(self, split: str) -> list[Pair]:
        """Lists a split; the paths are those of records."""
        self._check_split(split)
        index = self._indices[split]
        shards = [files.join_path(self.root, name) for name in index.shards]

        def locate(entry, part):
            shard = shards[entry.shard]
            return record_files.format_path(RecordPath(shard=shard, **part.model_dump()))

        return sorted(
            Pair(
                entry.name,
                locate(entry, entry.image),
                None if entry.label is None else locate(entry, entry.label),
            )
            for entry in index.entries
        )

    def list_orphans(self, split: str) -> list[str]:
        """Returns no path: a label is written with its image."""
        self._check_split(split)
        return []


def _read_indices(root) -> dict[str, RecordIndex]:
    if not root or not isinstance(root, str):
        raise UserError(f"Records.root is {root!r}; bind the records' folder.")
    found = []
    if files.is_folder(root):
        found = [
            path[: -len(record_index.SUFFIX)]
            for path in files.list_files(root, [record_index.SUFFIX])
            if "/" not in path
        ]
    if not found:
        raise UserError(
            f"{files.describe_path(root)} holds no records: expected an index such as "
            f"train{record_index.SUFFIX}. Write it by python -m data_pipelines.write_records "
            f"--domain=READER --root=LOOSE_FILES --split=train --output={root}"
        )
    indices = {split: record_index.read_index(root, split) for split in found}
    spaces = {split: index.label_space for split, index in indices.items()}
    if len({space.class_names for space in spaces.values()}) > 1:
        listed = ", ".join(f"{split}: {space.name}" for split, space in spaces.items())
        raise UserError(
            f"The splits in {files.describe_path(root)} have labels of different classes "
            f"({listed}); write them with one --label_space."
        )
    return indices
