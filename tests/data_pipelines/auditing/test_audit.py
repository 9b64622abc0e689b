"""The audit: what it finds, what it says, its stamp, its command."""

from __future__ import annotations

import json
import os
import re
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.auditing import audit_stamp
from data_pipelines.domains.camvid import CamVid
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.folder import Folder
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.domains.mapillary import Mapillary
from data_pipelines.domains.synthia import Synthia
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from tests.support import calls
from tests.support import data_sets
from tests.support.processes import command_driver


class CountingCamVid(CamVid):
    """Counts what it decodes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.decoded = 0
        self._lock = threading.Lock()

    def decode_image(self, data):
        with self._lock:
            self.decoded += 1
        return super().decode_image(data)


def spoil(samples):
    """Makes a file of every kind of badness; returns {path: words of its reason}."""
    expected = {}

    def note(path, words):
        expected[path] = words

    def write(path, data):
        data_sets.change_bytes(path, lambda _: data)

    samples = iter(samples)
    next(samples)
    sample = next(samples)
    os.remove(sample.label_path)
    note(sample.label_path, "is missing")
    sample = next(samples)
    write(sample.image_path, b"")
    note(sample.image_path, "is empty")
    sample = next(samples)
    data_sets.change_bytes(sample.image_path, lambda data: data[: len(data) // 2])
    note(sample.image_path, "cannot be decoded")
    sample = next(samples)
    write(sample.label_path, b"hello")
    note(sample.label_path, "is not a label map")
    sample = next(samples)
    write(sample.image_path, b"hello")
    write(sample.label_path, b"")
    note(sample.image_path, "is not a picture")
    note(sample.label_path, "is empty")
    sample = next(samples)
    data_sets.write_image(sample.label_path, sample.raw[:, :-3])
    note(sample.label_path, "has 23 x 18 pixels, its image 26 x 18: " + sample.image_path)
    sample = next(samples)
    data_sets.write_image(sample.label_path, np.full_like(sample.raw, 77))
    note(sample.label_path, "does not list: 77")
    sample = next(samples)
    os.remove(sample.image_path)
    note(sample.label_path, "is a label without an image")
    sample = next(samples)
    data_sets.write_image(sample.image_path, np.zeros((60, 60, 3), np.uint8))
    note(sample.image_path, "more than the limit of 1000")
    return expected


@pytest.fixture(name="spoiled")
def make_spoiled(tmp_path):
    samples = data_sets.write_camvid(tmp_path, count=12)
    expected = spoil(samples)
    domain = CountingCamVid(root=str(tmp_path), max_pixels=1000)
    return domain, samples, expected


def check_skipped(skipped, expected):
    assert len(skipped) == len(expected)
    for path, reason in skipped:
        assert expected[path] in reason, (path, reason)


def test_good_split(tmp_path):
    data_sets.write_gta5(tmp_path)
    domain = Gta5(root=str(tmp_path))
    report = audit.audit_split(domain, "train")
    assert report.pairs == domain.list_pairs("train")
    assert report.skipped == [] and not report.from_stamp


def test_one_error_names_every_bad_file(spoiled):
    domain, _, expected = spoiled
    with pytest.raises(UserError) as error:
        audit.audit_split(domain, "train")
    message = str(error.value)
    assert "10 bad file(s); 8 of 11 pairs cannot be used" in message
    for path, words in expected.items():
        line = next(line for line in message.splitlines() if line.startswith(f"  {path} "))
        assert words in line
    assert 'bad_files = "skip"' in message


def test_skip_keeps_the_others(spoiled):
    domain, samples, expected = spoiled
    report = audit.audit_split(domain, "train", bad_files="skip")
    check_skipped(report.skipped, expected)
    kept = [samples[0].name] + [sample.name for sample in samples[10:]]
    assert [pair.name for pair in report.pairs] == kept


def test_nothing_good_is_an_error_even_when_skipping(tmp_path):
    for sample in data_sets.write_camvid(tmp_path):
        data_sets.change_bytes(sample.label_path, lambda _: b"")
    with pytest.raises(UserError, match="none is left"):
        audit.audit_split(CamVid(root=str(tmp_path)), "train", bad_files="skip")


def test_wrong_mode_is_an_error(tmp_path):
    with pytest.raises(UserError, match="bad_files is 'ignore'; choose one of error, skip"):
        audit.audit_split(CamVid(root=str(tmp_path)), "train", bad_files="ignore")


def test_missing_split_is_the_reader_s_error(tmp_path):
    with pytest.raises(UserError, match="render_streets"):
        audit.audit_split(Cityscapes(root=str(tmp_path)), "train", bad_files="skip")


def test_images_without_labels(tmp_path):
    data_sets.write_camvid(tmp_path, labels=False)
    report = audit.audit_split(CamVid(root=str(tmp_path)), "train")
    assert len(report.pairs) == 2 and report.pairs[0].label_path is None


def test_masks_that_are_not_turned_as_their_images_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder, name, options in (("images", "1.jpg", {"exif": exif}), ("masks", "1.png", {})):
        (tmp_path / folder / "train").mkdir(parents=True)
        Image.new("L", (128, 96)).save(tmp_path / folder / "train" / name, **options)
    domain = Folder(root=str(tmp_path), masks="masks", class_names=["a", "b"])
    words = "has 128 x 96 pixels, its image 96 x 128: .*1.jpg, which its EXIF orientation turns"
    with pytest.raises(UserError, match=words):
        audit.audit_split(domain, "train")
    Image.new("L", (96, 128)).save(tmp_path / "images/train/1.jpg")
    with pytest.raises(UserError, match="its image 96 x 128: .*1.jpg\n"):
        audit.audit_split(domain, "train")


def test_synthia_in_eight_bits_is_found(tmp_path):
    samples = data_sets.write_synthia(tmp_path)
    data_sets.write_image(samples[1].label_path, samples[1].image)
    with pytest.raises(UserError, match="expected 16 bits and three channels"):
        audit.audit_split(Synthia(root=str(tmp_path)), "train")


def test_a_table_that_cannot_be_had_is_one_error(tmp_path):
    data_sets.write_mapillary(tmp_path)
    os.remove(tmp_path / "config_v1.2.json")
    with pytest.raises(UserError) as error:
        audit.audit_split(Mapillary(root=str(tmp_path)), "train", bad_files="skip")
    assert len(re.findall("config_v1.2.json", str(error.value))) == 1


def test_stamp_saves_the_second_audit(tmp_path):
    data_sets.write_camvid(tmp_path / "data", count=5)
    domain = CountingCamVid(root=str(tmp_path / "data"))
    stamps = str(tmp_path / "stamps" / "deep")
    first = audit.audit_split(domain, "train", stamp_dir=stamps)
    assert domain.decoded == 5 and not first.from_stamp
    second = audit.audit_split(domain, "train", stamp_dir=stamps)
    assert domain.decoded == 5 and second.from_stamp
    assert (second.pairs, second.skipped) == (first.pairs, first.skipped)
    names = os.listdir(stamps)
    assert len(names) == 1 and re.fullmatch(r"camvid-train-[0-9a-f]{8}\.json", names[0])
    with open(os.path.join(stamps, names[0])) as file:
        stamp = json.load(file)
    assert stamp["domain"] == "camvid" and stamp["split"] == "train" and stamp["skipped"] == []


def test_stamp_remembers_what_was_skipped(spoiled, tmp_path):
    domain, _, expected = spoiled
    stamps = str(tmp_path / "stamps")
    first = audit.audit_split(domain, "train", bad_files="skip", stamp_dir=stamps)
    decoded = domain.decoded
    second = audit.audit_split(domain, "train", bad_files="skip", stamp_dir=stamps)
    assert domain.decoded == decoded and second.from_stamp
    check_skipped(second.skipped, expected)
    assert second.pairs == first.pairs
    # Where they stop the run, bad files are opened once more: the network may have failed.
    with pytest.raises(UserError):
        audit.audit_split(domain, "train", stamp_dir=stamps)
    assert domain.decoded == 2 * decoded


def test_error_leaves_no_stamp(spoiled, tmp_path):
    domain, _, _ = spoiled
    with pytest.raises(UserError):
        audit.audit_split(domain, "train", stamp_dir=str(tmp_path / "stamps"))
    assert not os.path.exists(tmp_path / "stamps")


def touch(domain, samples):
    status = os.stat(samples[0].image_path)
    os.utime(samples[0].image_path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    return domain


def grow(domain, samples):
    status = os.stat(samples[0].label_path)
    data_sets.change_bytes(samples[0].label_path, lambda data: data + b"\0")
    os.utime(samples[0].label_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return domain


def add(domain, samples):
    data_sets.write_camvid(domain.root, count=4)
    return domain


def remove(domain, samples):
    os.remove(samples[2].image_path)
    os.remove(samples[2].label_path)
    return domain


def change_limit(domain, samples):
    return CountingCamVid(root=domain.root, max_pixels=10_000)


def change_table(domain, samples):
    class Other(CountingCamVid):
        def raw_table(self):
            return {**super().raw_table(), 11: 255}

    Other.__module__, Other.__qualname__ = CountingCamVid.__module__, CountingCamVid.__qualname__
    return Other(root=domain.root)


def keep(domain, samples):
    return CountingCamVid(root=domain.root)


@pytest.mark.parametrize(
    "change, again",
    [
        (keep, False), (touch, True), (grow, True), (add, True), (remove, True),
        (change_limit, True), (change_table, True),
    ],
)  # fmt: skip
def test_stamp_holds_for_these_very_files_only(tmp_path, change, again):
    samples = data_sets.write_camvid(tmp_path / "data", count=3)
    domain = CountingCamVid(root=str(tmp_path / "data"))
    stamps = str(tmp_path / "stamps")
    audit.audit_split(domain, "train", stamp_dir=stamps)
    domain = change(domain, samples)
    domain.decoded = 0
    audit.audit_split(domain, "train", stamp_dir=stamps)
    assert (domain.decoded > 0) == again


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": 3}', "\x00\x01"])
def test_broken_stamp_is_no_stamp(tmp_path, content):
    data_sets.write_camvid(tmp_path / "data")
    domain = CountingCamVid(root=str(tmp_path / "data"))
    stamps = tmp_path / "stamps"
    audit.audit_split(domain, "train", stamp_dir=str(stamps))
    next(stamps.iterdir()).write_text(content)
    assert not audit.audit_split(domain, "train", stamp_dir=str(stamps)).from_stamp
    assert audit.audit_split(domain, "train", stamp_dir=str(stamps)).from_stamp


def test_stamps_of_two_roots_do_not_meet(tmp_path):
    stamps = str(tmp_path / "stamps")
    for root in ("a", "b"):
        data_sets.write_camvid(tmp_path / root)
    for _ in range(2):
        reports = [
            audit.audit_split(CamVid(root=str(tmp_path / root)), "train", stamp_dir=stamps)
            for root in ("a", "b")
        ]
    assert all(report.from_stamp for report in reports)


def test_stamp_folder_that_cannot_be_written_costs_a_warning(tmp_path):
    data_sets.write_camvid(tmp_path / "data")
    (tmp_path / "file").write_text("no folder")
    domain = CamVid(root=str(tmp_path / "data"))
    report = audit.audit_split(domain, "train", stamp_dir=str(tmp_path / "file" / "stamps"))
    assert len(report.pairs) == 2


def test_fingerprint_of_images_alone_needs_no_table(tmp_path):
    data_sets.write_mapillary(tmp_path, split="test", labels=False)
    os.remove(tmp_path / "config_v1.2.json")
    domain = Mapillary(root=str(tmp_path))
    report = audit.audit_split(domain, "test", stamp_dir=str(tmp_path / "stamps"))
    assert len(report.pairs) == 2


def test_hashes_do_not_depend_on_where_the_data_lies(tmp_path):
    reports, prints = [], []
    for root, moment in (("a", 1), ("b", 1), ("c", 2)):
        for sample in data_sets.write_camvid(tmp_path / root):
            for path in (sample.image_path, sample.label_path):
                os.utime(path, ns=(moment * 10**18, moment * 10**18))
        domain = CamVid(root=str(tmp_path / root))
        reports.append(audit.audit_split(domain, "train"))
        statuses = audit_stamp.read_statuses(domain, reports[-1].pairs)
        prints.append(audit_stamp.take_fingerprint(domain, statuses, True))
    assert prints[0] == prints[1] != prints[2]
    # The list of files is the same for a copy, which has other times.
    assert len({report.digest for report in reports}) == 1
    path = reports[2].pairs[0].image_path
    Image.new("RGB", Image.open(path).size).save(path)
    assert audit.audit_split(domain, "train").digest != reports[0].digest


def test_long_audit_shows_its_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(audit, "_BAR_AFTER_SECONDS", 0.0)
    data_sets.write_camvid(tmp_path, count=5)
    domain = CamVid(root=str(tmp_path))
    audit.audit_split(domain, "train")
    shown = capsys.readouterr()
    assert "audit camvid train" in shown.err and "5/5" in shown.err and not shown.out
    monkeypatch.setattr(audit, "_BAR_AFTER_SECONDS", 60.0)
    audit.audit_split(domain, "train")
    assert "5/5" not in capsys.readouterr().err


@pytest.mark.parametrize("masks", ["masks", "masks/*.png"])
def test_an_audit_lists_every_folder_once(tmp_path, monkeypatch, masks):
    for folder in ("images", "masks"):
        (tmp_path / folder / "a").mkdir(parents=True)
        for name in ("1.png", "a/2.png"):
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / folder / name)
    images = masks.replace("masks", "images").replace("*", "{name}")
    domain = Folder(
        root=str(tmp_path), images=images, masks=masks.replace("*", "{name}"), splits={"train": ""},
        class_names=["a", "b"],
    )  # fmt: skip
    listed = []
    list_folder = tf.io.gfile.listdir
    monkeypatch.setattr(
        tf.io.gfile, "listdir", lambda path: listed.append(path) or list_folder(path)
    )
    for _ in range(2):
        report = audit.audit_split(domain, "train")
        assert [pair.name for pair in report.pairs] == ["1", "a/2"]
        assert len(set(listed)) == 4 and len(listed) == 4
        listed.clear()


def test_folder_with_its_own_table(tmp_path):
    data_sets.write_camvid(tmp_path, count=3)
    domain = Folder(root=str(tmp_path), masks="labels", label_space=label_spaces.camvid11())
    assert len(audit.audit_split(domain, "train").pairs) == 3


def run_command(*arguments):
    return calls.call_python("-m", "data_pipelines.audit", *arguments)


def test_command_on_a_good_split(tmp_path):
    data_sets.write_cityscapes(tmp_path)
    done = run_command(
        "--domain=cityscapes", f"--root={tmp_path}", "--split=train", "--label_space=synthia16"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "cityscapes train: 2 good labelled pairs, 0 bad files skipped\n"


def test_command_on_a_bad_split(tmp_path):
    samples = data_sets.write_camvid(tmp_path, count=3)
    data_sets.change_bytes(samples[1].label_path, lambda _: b"")
    flags = (
        "--domain=folder", f"--root={tmp_path}", "--split=all", "--masks=labels/train",
        "--images=images/train", "--splits=all=", f"--class_names={','.join('abcdefghijk')}",
        "--id_table=void:255," + ",".join(f"{key}:{key}" for key in data_sets.CAMVID_IDS),
    )  # fmt: skip
    done = run_command(*flags)
    calls.assert_refused(done, samples[1].label_path)
    assert not done.stdout
    done = run_command(*flags, "--bad_files=skip")
    assert done.returncode == 3
    assert done.stdout == "folder all: 2 good labelled pairs, 1 bad files skipped\n"
    assert samples[1].label_path in done.stderr


def test_command_errors_are_one_paragraph(tmp_path):
    rows = [
        ((), "--domain is missing"),
        (("--domain=gta6", "--root=x", "--split=train"), "no reader 'gta6'"),
        (("--domain=camvid", "--root=x", "--split=train", "--val_count=2"), "does not apply"),
        (("--domain=gta5", "--root=x", "--split=train", "--label_space=y"), "choose one of"),
        (("--domain=folder", "--root=x", "--split=a", "--id_table=0"), "entry '0'"),
        (("--domain=folder", "--root=x", "--split=a", "--id_table=sky:x"), "maps sky to 'x'"),
        (("--domain=gta5", "--root=x", "--split=train"), "render_streets"),
    ]
    command_driver.assert_all_refused("data_pipelines.audit", rows, tmp_path)


def test_library_defines_no_flags():
    code = (
        "from data_pipelines.auditing import audit; from absl import flags; "
        "assert 'root' not in flags.FLAGS and 'domain' not in flags.FLAGS"
    )
    calls.read_output("-c", code)
