"""Stamps: records that a list of files was audited, so that the audit is not repeated."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from collections.abc import Sequence

from absl import logging

from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.io import files
from data_pipelines.io import whole_files
from data_pipelines.map_ahead import map_ahead

# Increased whenever an audit checks more, which makes older stamps invalid.
_SCHEMA = 2

Status = tuple[int, int] | None


def read_statuses(
    domain: Domain, pairs: Sequence[Pair], orphans: Sequence[str] = (), *, threads: int = 1
) -> dict[str, Status]:
    """Reads the status of every file of a split.

    Args:
        domain: the data set.
        pairs: its pairs.
        orphans: its labels without an image.
        threads: files whose status is read at a time.

    Returns:
        Path relative to the root -> (bytes, modification time), None for a missing file; in the
        order of the pairs.
    """
    paths = [*(path for pair in pairs for path in _list_files(domain, pair)), *orphans]
    paths = list(dict.fromkeys(paths))
    names = [files.cut_root(path, domain.root) for path in paths]
    return dict(zip(names, map_ahead(files.read_status, paths, threads)))


def take_fingerprint(domain: Domain, statuses: dict[str, Status], labelled: bool) -> str:
    """Computes a hash of everything that the result of an audit depends on.

    Args:
        domain: the data set.
        statuses: from `read_statuses`.
        labelled: whether the split has labels; a reader without labels may have no table.

    Returns:
        A hash of path, size and modification time of every file, the id table and the limits.
    """
    content = [
        _SCHEMA,
        f"{type(domain).__module__}.{type(domain).__qualname__}",
        domain.label_space.class_names,
        sorted(domain.id_table().items()) if labelled else None,
        domain.label_key(),
        domain.max_pixels,
        domain.max_value,
        list(statuses.items()),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def take_list_digest(domain: Domain, pairs: Sequence[Pair], statuses: dict[str, Status]) -> str:
    """Computes a hash of a list of files that stays the same where the files are copied or moved.

    Args:
        domain: the data set.
        pairs: those of the list.
        statuses: from `read_statuses`.

    Returns:
        A hash of path below the root and size of every file, in order.
    """
    paths = (path for pair in pairs for path in _list_files(domain, pair))
    names = [files.cut_root(path, domain.root) for path in paths]
    sizes = [(name, (statuses[name] or (None,))[0]) for name in names]
    return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()


def read_stamp(
    stamp_dir: str, domain: Domain, split: str, fingerprint: str
) -> tuple[list[tuple[str, str]], list[int]] | None:
    """Reads the stamp of an earlier audit.

    Args:
        stamp_dir: folder of the stamps.
        domain: the data set.
        split: name of the split.
        fingerprint: of the current files.

    Returns:
        (path, reason) of the bad files, and ids of the labels' classes; None without a stamp of
        these files.
    """
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(_locate_stamp(stamp_dir, domain, split), "r") as file:
            stamp = json.loads(file.read())
        if stamp["fingerprint"] != fingerprint:
            return None
        skipped = [(str(path), str(reason)) for path, reason in stamp["skipped"]]
        return skipped, [int(index) for index in stamp["classes"]]
    except (tf.errors.OpError, ValueError, KeyError, TypeError):
        # Absent or invalid: the files are audited.
        return None


def write_stamp(
    stamp_dir: str,
    domain: Domain,
    split: str,
    fingerprint: str,
    skipped: Sequence[tuple[str, str]],
    classes: Iterable[int],
) -> None:
    """Writes the stamp of an audit, atomically. Logs a warning where it cannot be written.

    Args:
        stamp_dir: folder of the stamps, created if absent.
        domain: the data set.
        split: name of the split.
        fingerprint: of the audited files.
        skipped: (path, reason) of the bad files.
        classes: ids of the labels' classes.
    """
    import tensorflow as tf

    path = _locate_stamp(stamp_dir, domain, split)
    stamp = {
        "schema": _SCHEMA,
        "domain": domain.name,
        "root": files.describe_path(domain.root),
        "split": split,
        "fingerprint": fingerprint,
        "skipped": [list(entry) for entry in skipped],
        "classes": sorted(classes),
    }
    try:
        whole_files.make_folder(stamp_dir)
        content = (json.dumps(stamp, indent=1) + "\n").encode()
        whole_files.write_whole(path, lambda file: file.write(content), shared=True)
    except (OSError, tf.errors.OpError) as error:
        logging.warning(
            "The audit's stamp %s cannot be written: %s", path, getattr(error, "message", error)
        )


def _list_files(domain, pair):
    """Lists the files of a pair; a label may consist of several."""
    labels = [] if pair.label_path is None else domain.label_files(pair.label_path)
    return [pair.image_path, *labels]


def _locate_stamp(stamp_dir, domain, split):
    # The root is part of the key: source and target may have the same reader and split.
    root = hashlib.sha256(files.describe_path(domain.root).encode()).hexdigest()[:8]
    key = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{domain.name}-{split}")
    return files.join_path(stamp_dir, f"{key}-{root}.json")
