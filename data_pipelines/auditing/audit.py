"""Opens every file of a split before training or evaluation reads it."""

from __future__ import annotations

import collections
import dataclasses
import os
import time

import numpy as np
from absl import logging

from data_pipelines.auditing import audit_stamp
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import remarks
from data_pipelines.io.files import describe_path
from data_pipelines.io.files import listed_once
from data_pipelines.io.files import read_bytes
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.map_ahead import count_threads
from data_pipelines.map_ahead import map_ahead

BAD_FILES = ("error", "skip")

_MISSING = "is missing"
_ORPHAN = "is a label without an image"
# Short audits show no bar.
_BAR_AFTER_SECONDS = 2.0
_MAX_LISTED = 10


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """The result of an audit.

    Attributes:
        pairs: the good pairs, sorted by name.
        unread: (path, reason) of every image whose codec is not installed.
        skipped: (path, reason) of every bad file.
        digest: hash of the good pairs' files, from `audit_stamp.take_list_digest`.
        classes: ids of the classes that the labels contain, without 255.
        from_stamp: whether the result of an earlier audit of the same files was used.
    """

    pairs: list[Pair]
    unread: list[tuple[str, str]]
    skipped: list[tuple[str, str]]
    digest: str
    classes: frozenset[int] = frozenset()
    from_stamp: bool = False


def audit_split(
    domain: Domain,
    split: str,
    *,
    bad_files: str = "error",
    stamp_dir: str | None = None,
) -> AuditReport:
    """Decodes every image and label of a split and checks that they match.

    Reports files that are missing, empty, unreadable, truncated or too large, labels whose size
    differs from their image's, labels with ids outside the table, and labels without an image.
    Images whose codec is not installed are left out, and images of which a part is lost are kept;
    both with a warning.

    Args:
        domain: the data set.
        split: name of a split.
        bad_files: "error" raises one error that lists every bad file; "skip" logs them and omits
            their pairs.
        stamp_dir: folder of the stamp, which records that these files were audited, so that the
            next audit need not decode them; None always decodes.

    Returns:
        The report.

    Raises:
        UserError: there are bad files and `bad_files` is "error", or no pair is good.
    """
    if bad_files not in BAD_FILES:
        raise UserError(f"bad_files is {bad_files!r}; choose one of {', '.join(BAD_FILES)}.")
    with listed_once():
        listed = domain.list_pairs(split)
        orphans = domain.list_orphans(split)
        others = domain.list_unread(split)
    reasons = {pair: decoding.describe_missing_codec(pair.image_path) for pair in listed}
    unread = [(pair.image_path, reason) for pair, reason in reasons.items() if reason]
    pairs = [pair for pair in listed if not reasons[pair]]
    _warn_of_unread(domain, split, unread, len(listed))
    _warn_of_others(domain, split, others)
    if pairs[0].label_path is not None:
        # A table that cannot be read is one error, not one for every label.
        domain.id_table()
    workers = count_threads()
    statuses = audit_stamp.read_statuses(domain, pairs, orphans, threads=workers)
    # The fingerprint is needed for the stamp alone.
    fingerprint = None
    stamped = None
    if stamp_dir is not None:
        labelled = pairs[0].label_path is not None
        fingerprint = audit_stamp.take_fingerprint(domain, statuses, labelled)
        stamped = audit_stamp.read_stamp(stamp_dir, domain, split, fingerprint)
    # Bad files that stop a run are read again: the network may have failed the first time.
    from_stamp = stamped is not None and (not stamped[0] or bad_files == "skip")
    if stamped is not None and from_stamp:
        skipped, classes = stamped
        logging.info(
            "%s %s: %d pairs unchanged since their audit, recorded in %s",
            domain.name, split, len(pairs), stamp_dir,
        )  # fmt: skip
    else:
        checked, classes = _check_pairs(domain, split, pairs, workers)
        skipped = [(path, _ORPHAN) for path in orphans] + checked
    good = _drop_bad(pairs, skipped)
    digest = audit_stamp.take_list_digest(domain, good, statuses)
    report = AuditReport(good, unread, skipped, digest, frozenset(classes), from_stamp)
    _judge(report, domain, split, pairs, bad_files)
    if pairs[0].label_path is not None:
        _judge_classes(report, domain, split)
    if stamp_dir is not None and fingerprint is not None and not from_stamp:
        audit_stamp.write_stamp(stamp_dir, domain, split, fingerprint, skipped, classes)
    return report


def check_pair(domain: Domain, pair: Pair) -> tuple[list[tuple[str, str]], set[int]]:
    """Decodes one pair.

    Args:
        domain: the data set.
        pair: the files.

    Returns:
        (path, reason) of each bad file, none for a good pair; ids of the label's classes.
    """
    bad = []
    classes: set[int] = set()
    image = label = None
    try:
        image = domain.load_image(pair.image_path).shape[:2]
    except UserError as error:
        bad.append((pair.image_path, str(error)))
    if pair.label_path is not None:
        try:
            ids = domain.load_label(pair.label_path)
            label = ids.shape[:2]
            counts = np.bincount(ids.reshape(-1), minlength=256)
            classes = set(np.flatnonzero(counts[:IGNORE_ID]).tolist())
        except UserError as error:
            bad.append((pair.label_path, str(error)))
    if image is not None and label is not None and image != label:
        reason = (
            f"has {label[1]} x {label[0]} pixels, its image {image[1]} x {image[0]}: "
            f"{describe_path(pair.image_path)}"
        )
        if image == label[::-1] and _is_lying(domain, pair):
            reason += (
                ", which its EXIF orientation turns upright, and the mask is not turned: turn the "
                "mask, or remove the orientation from the image"
            )
        bad.append((str(pair.label_path), reason))
    return bad, classes


def _is_lying(domain, pair):
    data = read_bytes(pair.image_path, domain.max_bytes)
    return decoding.read_picture_header(data, domain.max_pixels).is_lying


def _check_pairs(domain, split, pairs, workers):
    from data_pipelines.progress import make_progress_bar

    skipped = []
    classes: set[int] = set()
    log = remarks.RemarkLog()
    bar = None
    started = time.monotonic()
    try:
        results = map_ahead(lambda pair: _check_pair(domain, pair), pairs, workers)
        for done, (path, (bad, found), lost) in enumerate(results, 1):
            skipped += bad
            classes |= found
            log.add(describe_path(path), lost)
            if bar is not None:
                bar.update()
            elif time.monotonic() - started > _BAR_AFTER_SECONDS:
                bar = make_progress_bar(len(pairs), f"audit {domain.name} {split}", "pair", done)
    finally:
        if bar is not None:
            bar.close()
        log.close()
    return skipped, classes


def _check_pair(domain, pair):
    with remarks.collect() as lost:
        return pair.image_path, check_pair(domain, pair), lost


def _warn_of_unread(domain, split, unread, count):
    """Warns of images that are left out, or raises an error if no other is there."""
    if not unread:
        return
    listed = "\n".join(f"  {describe_path(path)} {reason}" for path, reason in unread[:_MAX_LISTED])
    if len(unread) > _MAX_LISTED:
        listed += f"\n  and {len(unread) - _MAX_LISTED} more"
    head = f"The split {split!r} of {domain.name} has {len(unread)} of {count} images that cannot"
    if len(unread) == count:
        raise UserError(f"{head} be read here, so none is left:\n{listed}")
    logging.warning("%s be read here and are left out:\n%s", head, listed)


def _warn_of_others(domain, split, others):
    """Warns of files among the images that are none."""
    if others:
        kinds = collections.Counter(os.path.splitext(path)[1].lower() for path in others)
        counts = ", ".join(f"{count} x *{suffix}" for suffix, count in sorted(kinds.items()))
        logging.warning(
            "Beside the images of the split %r of %s there are files that are not read: %s, "
            "such as %s", split, domain.name, counts, describe_path(others[0]),
        )  # fmt: skip


def _drop_bad(pairs, skipped):
    bad = {path for path, _ in skipped}
    return [pair for pair in pairs if pair.image_path not in bad and pair.label_path not in bad]


def _judge(report, domain, split, pairs, bad_files):
    """Raises an error or logs a warning about bad files."""
    if not report.skipped:
        return
    listed = "\n".join(f"  {describe_path(path)} {reason}" for path, reason in report.skipped)
    lost = len(pairs) - len(report.pairs)
    head = (
        f"The split {split!r} of {domain.name} has {len(report.skipped)} bad file(s); "
        f"{lost} of {len(pairs)} pairs cannot be used"
    )
    if not report.pairs:
        fix = "Fix the files, or bind the root and the label table that they belong to."
        if all(reason in (_MISSING, _ORPHAN) for _, reason in report.skipped):
            fix = (
                "No label has the name of an image. If the two are named by different patterns, "
                'bind these, such as Folder.images = "rgb/rgb_*.png" and Folder.masks = '
                '"semantic/semantic_*.png".'
            )
        raise UserError(f"{head}, so none is left:\n{listed}\n{fix}")
    if bad_files == "error":
        raise UserError(
            f"{head}:\n{listed}\nFix or remove these files, or continue without them: "
            'adaptation.AdaptationData.bad_files = "skip" in gin, with the line "from '
            'data_pipelines.batches import adaptation" above it; --bad_files=skip of '
            "data_pipelines.audit and data_pipelines.write_records."
        )
    logging.warning("%s and are left out:\n%s", head, listed)


def _judge_classes(report, domain, split):
    """Refuses labels that teach nothing, and warns about those that teach one class."""
    names = domain.label_space.class_names
    head = f"The labels of the split {split!r} of {domain.name} contain"
    if not report.classes:
        raise UserError(
            f"{head} no class: every pixel is ignored. Map the stored ids to classes (id_table; "
            f"ID_TABLE = {{0: 0, {IGNORE_ID}: 1}} for masks of 0 and {IGNORE_ID})."
        )
    if len(report.classes) == 1:
        (only,) = report.classes
        logging.warning(
            "%s the class %r alone, and otherwise ignored pixels: a model learns to predict it "
            "everywhere. Map the stored ids of the other pixels to another class, not to %d.",
            head, names[only], IGNORE_ID,
        )  # fmt: skip
