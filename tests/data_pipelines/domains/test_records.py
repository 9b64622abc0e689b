"""Splits written as TFRecord files: the same pairs as the loose files, and every damage named."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.auditing import audit
from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.class_statistics import count_pixels
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.folder import Folder
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.domains.records import Records
from data_pipelines.domains.records import index as record_index
from data_pipelines.domains.synthia import Synthia
from data_pipelines.errors import UserError
from data_pipelines.io import files
from data_pipelines.io import record_files
from data_pipelines.io import whole_files
from data_pipelines.labels import label_spaces
from tests.support import data_sets
from tests.support.mutations import pictures


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """A data set of five pairs, 16-bit labels."""
    root = str(tmp_path_factory.mktemp("loose"))
    data_sets.write_synthia(root, count=5)
    return Synthia(root=root)


@pytest.fixture(scope="module")
def written(loose, tmp_path_factory):
    """The data set as two shards."""
    output = str(tmp_path_factory.mktemp("records"))
    report = data_sets.write_records(loose, "train", output, num_shards=2)
    assert len(report.pairs) == 5
    return output


@pytest.fixture
def records(written, tmp_path):
    """A copy that a test may spoil."""
    root = str(tmp_path / "copy")
    shutil.copytree(written, root)
    return root


def _locate_shard(root, index=0):
    return os.path.join(root, f"train-{index:05d}-of-00002.tfrecord")


def _rewrite_index(root, change):
    """Changes an index and makes its checksum right again."""
    path = os.path.join(root, "train.index.json")
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    change(content["index"])
    # The hash is spelled out here once more: other programs may check it too.
    text = json.dumps(content["index"], sort_keys=True)
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def _assert_same_pairs(loose, records, split="train"):
    pairs, twins = loose.list_pairs(split), records.list_pairs(split)
    assert [pair.name for pair in pairs] == [twin.name for twin in twins]
    for pair, twin in zip(pairs, twins, strict=True):
        np.testing.assert_array_equal(
            loose.read_image(pair.image_path), records.read_image(twin.image_path)
        )
        if pair.label_path is None:
            assert twin.label_path is None
        else:
            np.testing.assert_array_equal(
                loose.read_label(pair.label_path), records.read_label(twin.label_path)
            )


def test_pairs_are_those_of_the_loose_files(loose, written):
    records = Records(root=written)
    assert records.splits == ("train",)
    assert records.label_space == loose.label_space
    _assert_same_pairs(loose, records)
    assert sorted(os.listdir(written)) == [
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
        "train.index.json",
    ]


def test_batches_are_those_of_the_loose_files(loose, written):
    def collect(domain):
        stream = training_batches.Stream(
            pairs=domain.list_pairs("train"),
            read_image=domain.read_image,
            read_label=domain.read_label,
            augmenter=Augmenter(size=(16, 24), scale=(0.8, 1.2), brightness=0.3),
            batch_size=2,
        )
        batches = training_batches.make_training_batches(
            stream, stream, steps=6, start_step=2, seed=3, round_index=1
        )
        return list(batches.as_numpy_iterator())

    for batch, other in zip(collect(loose), collect(Records(root=written)), strict=True):
        for half in ("source", "target"):
            for key in ("image", "label"):
                np.testing.assert_array_equal(batch[half][key], other[half][key])


def test_images_are_kept_byte_for_byte(loose, written):
    pairs, twins = loose.list_pairs("train"), Records(root=written).list_pairs("train")
    for pair, twin in zip(pairs, twins, strict=True):
        with open(pair.image_path, "rb") as file:
            assert files.read_bytes(twin.image_path, 10**9) == file.read()


def _parse_shards(paths, labels=True):
    """Reads shards by TensorFlow alone, under the features that the documents list."""
    features = {
        "image/encoded": tf.io.FixedLenFeature((), tf.string),
        "image/filename": tf.io.FixedLenFeature((), tf.string),
        "image/format": tf.io.FixedLenFeature((), tf.string),
        "image/height": tf.io.FixedLenFeature((), tf.int64),
        "image/width": tf.io.FixedLenFeature((), tf.int64),
    }
    if labels:
        features["image/segmentation/class/encoded"] = tf.io.FixedLenFeature((), tf.string)
        features["image/segmentation/class/format"] = tf.io.FixedLenFeature((), tf.string)
    dataset = tf.data.TFRecordDataset(paths)
    dataset = dataset.map(lambda record: tf.io.parse_single_example(record, features))
    return list(dataset.as_numpy_iterator())


def test_tensorflow_alone_reads_the_shards(loose, written):
    examples = _parse_shards([_locate_shard(written, index) for index in (0, 1)])
    pairs = loose.list_pairs("train")
    assert len(examples) == len(pairs)
    for example, pair in zip(examples, pairs):
        image, label = loose.read_image(pair.image_path), loose.read_label(pair.label_path)
        decoded = tf.io.decode_image(example["image/encoded"]).numpy()
        np.testing.assert_array_equal(decoded, image)
        decoded = tf.io.decode_png(example["image/segmentation/class/encoded"]).numpy()
        np.testing.assert_array_equal(decoded[..., 0], label)
        assert example["image/filename"].decode() == pair.name
        assert (example["image/height"], example["image/width"]) == image.shape[:2]
        assert example["image/format"] == example["image/segmentation/class/format"] == b"png"


@pytest.mark.parametrize(
    ("ending", "kind"),
    [(".png", b"png"), (".jpg", b"jpeg"), (".bmp", b"bmp"), (".webp", b"webp"), (".tif", b"tiff")],
)
def test_format_and_size_are_those_of_the_picture(tmp_path, ending, kind):
    pictures_in = pictures.encode_images()[ending]
    for number, content in enumerate(pictures_in):
        path = tmp_path / "mine/images/train" / f"{number:02d}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = Folder(root=str(tmp_path / "mine"), label_space=label_spaces.camvid11())
    data_sets.write_records(folder, "train", str(tmp_path / "out"))
    examples = _parse_shards([str(tmp_path / "out/train-00000-of-00001.tfrecord")], labels=False)
    assert len(examples) == len(pictures_in)
    for example, pair in zip(examples, folder.list_pairs("train")):
        # Some of the pictures are to be turned upright.
        shape = folder.read_image(pair.image_path).shape
        assert (example["image/height"], example["image/width"]) == shape[:2]
        assert example["image/format"] == kind


def test_parts_cover_every_byte_of_a_shard(written):
    index = record_index.read_index(written, "train")
    for shard in (0, 1):
        end = 0
        for entry in index.entries:
            if entry.shard == shard:
                for part in (entry.image, entry.label):
                    assert part.offset == end and part.start + part.size <= part.length
                    end += part.length
        assert end == os.path.getsize(_locate_shard(written, shard))


def test_every_layout_goes_in_and_comes_out(tmp_path):
    data_sets.write_gta5(str(tmp_path / "gta5"))
    data_sets.write_cityscapes(str(tmp_path / "cityscapes"), split="val")
    data_sets.write_cityscapes(str(tmp_path / "cityscapes"), split="train", labels=False)
    subset = label_spaces.synthia16()
    gta5 = Gta5(root=str(tmp_path / "gta5"), label_space=subset)
    data_sets.write_records(gta5, "train", str(tmp_path / "a"))
    records = Records(root=str(tmp_path / "a"))
    assert records.label_space == subset
    _assert_same_pairs(gta5, records)
    cityscapes = Cityscapes(root=str(tmp_path / "cityscapes"))
    for split in ("train", "val"):
        data_sets.write_records(cityscapes, split, str(tmp_path / "b"))
    records = Records(root=str(tmp_path / "b"))
    assert records.has_labels("val") == cityscapes.has_labels("val")
    assert records.has_labels("train") == cityscapes.has_labels("train")
    for split in ("train", "val"):
        _assert_same_pairs(cityscapes, records, split)
    narrower = Records(root=str(tmp_path / "b"), label_space=subset)
    pair = narrower.list_pairs("val")[0]
    np.testing.assert_array_equal(
        narrower.read_label(pair.label_path),
        Cityscapes(root=cityscapes.root, label_space=subset).read_label(
            cityscapes.list_pairs("val")[0].label_path
        ),
    )


def test_classes_of_ones_own_keep_names_and_colours(tmp_path):
    rng = np.random.default_rng(0)
    data_sets.write_image(str(tmp_path / "mine/images/train/x 1.jpg"), data_sets.make_image(rng))
    data_sets.write_image(
        str(tmp_path / "mine/masks/train/x 1.png"), data_sets.make_raw(rng, (0, 1, 255))
    )
    folder = Folder(
        root=str(tmp_path / "mine"),
        masks="masks",
        class_names=["ground", "sign"],
        palette=[(9, 9, 9), (1, 2, 3)],
    )
    data_sets.write_records(folder, "train", str(tmp_path / "out"))
    records = Records(root=str(tmp_path / "out"))
    assert records.label_space.class_names == ("ground", "sign")
    assert records.label_space.palette == ((9, 9, 9), (1, 2, 3))
    _assert_same_pairs(folder, records)


def test_class_statistics_are_kept_by_the_shards_state(written, loose, tmp_path):
    records = Records(root=written)
    names = records.label_space.class_names
    pairs, path = records.list_pairs("train"), str(tmp_path / "classes.json")
    counts = count_pixels(pairs, records.read_label, names, path=path)
    np.testing.assert_array_equal(
        counts, count_pixels(loose.list_pairs("train"), loose.read_label, names)
    )
    again = count_pixels(pairs, lambda _: pytest.fail("was counted before"), names, path=path)
    np.testing.assert_array_equal(counts, again)


def test_the_audit_names_what_is_cut_off(records, tmp_path):
    size = os.path.getsize(_locate_shard(records))
    os.truncate(_locate_shard(records), size - 10)
    with pytest.raises(UserError, match=r"train-00000-of-00002\.tfrecord#.* is cut off"):
        audit.audit_split(Records(root=records), "train")
    report = audit.audit_split(Records(root=records), "train", bad_files="skip")
    assert len(report.skipped) == 1 and len(report.pairs) == 4


def test_the_audit_finds_every_flipped_bit(records):
    path = _locate_shard(records)
    with open(path, "rb") as file:
        whole = file.read()
    rng = np.random.default_rng(0)
    for place in (0, 9, len(whole) - 1, *rng.integers(0, len(whole), 40)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(rng.integers(8))
        with open(path, "wb") as file:
            file.write(spoilt)
        report = audit.audit_split(Records(root=records), "train", bad_files="skip")
        ((bad, reason),) = report.skipped
        assert bad.startswith(path) and "is damaged" in reason


def test_the_audit_names_a_missing_shard(records):
    os.remove(_locate_shard(records, 1))
    with pytest.raises(UserError, match="00001-of-00002.* is missing: there is no such shard"):
        audit.audit_split(Records(root=records), "train")
    report = audit.audit_split(Records(root=records), "train", bad_files="skip")
    assert len(report.pairs) == 2


def test_the_audit_finds_a_shard_of_another_index(records, tmp_path):
    data_sets.write_synthia(str(tmp_path / "other"), count=5, seed=7)
    other = str(tmp_path / "others")
    data_sets.write_records(Synthia(root=str(tmp_path / "other")), "train", other, num_shards=2)
    shutil.copy(_locate_shard(other), _locate_shard(records))
    report = audit.audit_split(Records(root=records), "train", bad_files="skip")
    assert len(report.pairs) == 3
    assert all("damaged" in reason or "cut off" in reason for _, reason in report.skipped)


def test_a_stamp_lasts_until_a_shard_changes(records, tmp_path):
    domain, stamps = Records(root=records), str(tmp_path / "stamps")
    assert not audit.audit_split(domain, "train", stamp_dir=stamps).from_stamp
    assert audit.audit_split(domain, "train", stamp_dir=stamps).from_stamp
    os.utime(_locate_shard(records), ns=(1, 1))
    assert not audit.audit_split(domain, "train", stamp_dir=stamps).from_stamp


def test_an_edited_index_is_refused(records):
    path = os.path.join(records, "train.index.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"domain": "synthia"', '"domain": "gta5"'))
    with pytest.raises(UserError, match="was changed after it was written"):
        Records(root=records)


def test_a_mutated_index_is_never_believed(records):
    path = os.path.join(records, "train.index.json")
    with open(path, "rb") as file:
        whole = file.read()
    rng = np.random.default_rng(0)
    for kind in range(300):
        place = int(rng.integers(len(whole)))
        spoilt = bytearray(whole)
        if kind % 3 == 0:
            spoilt[place] ^= 1 << int(rng.integers(8))
        elif kind % 3 == 1:
            del spoilt[place : place + int(rng.integers(1, 40))]
        else:
            spoilt[place:place] = rng.bytes(3)
        with open(path, "wb") as file:
            file.write(spoilt)
        try:
            read = record_index.read_index(records, "train")
        except UserError:
            continue
        with open(path, "wb") as file:
            file.write(whole)
        assert read == record_index.read_index(records, "train"), "only white space changed"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"sha256": 1}', '"\\ud800"'])
def test_what_is_no_index_is_refused(records, text):
    with open(os.path.join(records, "train.index.json"), "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(UserError, match="the index of the split's records"):
        Records(root=records)


@pytest.mark.parametrize(
    "name",
    ["/etc/x.tfrecord", "../x.tfrecord", "a/../../x.tfrecord", "a/x.tfrecord", "gs://b/x.tfrecord",
     "..tfrecord", "x.png", "x.tfrecord#0+1*00000000@0+1.tfrecord", "x\n.tfrecord", 7],
)  # fmt: skip
def test_a_shard_never_leads_out_of_its_folder(records, name):
    _rewrite_index(records, lambda content: content["shards"].__setitem__(0, name))
    with pytest.raises(UserError, match="own folder|valid string"):
        Records(root=records)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a//x", "", ".", "..\\x", "x\0"])
def test_a_name_never_leads_out_of_the_outputs_folder(records, name):
    _rewrite_index(records, lambda content: content["entries"][0].update(name=name))
    with pytest.raises(UserError, match="could lead out of a folder"):
        Records(root=records)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["entries"][0].update(shard=2),
        lambda content: content["entries"][0]["image"].update(offset=-1),
        lambda content: content["entries"][0].update(label=None),
        lambda content: content["entries"][0]["label"].pop("start"),
        lambda content: content["entries"].pop(),
        lambda content: content["entries"].__setitem__(0, content["entries"][1]),
        lambda content: content.update(split="val"),
        lambda content: content.update(surplus=1),
        lambda content: content["label_space"]["class_names"].pop(),
        lambda content: content["label_space"].update(name="camvid11"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(records, change):
    _rewrite_index(records, change)
    with pytest.raises(UserError, match="train.index.json"):
        Records(root=records)


def test_records_in_the_former_form_say_how_to_write_them_again(records):
    # As written before the records were `tf.train.Example`s.
    path = os.path.join(records, "train.index.json")
    content = {
        "schema": 1, "split": "train", "domain": "synthia", "label_space": "cityscapes19",
        "class_names": ["road"], "palette": [[0, 0, 0]], "has_labels": True, "count": 1,
        "shards": ["train-00000-of-00001.tfrecord"], "entries": [["a", 0, 0, 9, 1, 25, 9, 1]],
        "sha256": "0" * 64,
    }  # fmt: skip
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
    with pytest.raises(
        UserError, match=r"train\.index\.json has the schema 1, .* reads 2"
    ) as error:
        Records(root=records)
    assert "python -m data_pipelines.write_records --domain=READER" in str(error.value)
    assert f"--split=train --output={records}" in str(error.value)


def test_offsets_that_do_not_fit_are_named(records):
    def move(content):
        content["entries"][0]["image"]["offset"] += 1
        content["entries"][1]["image"]["offset"] = 10**12

    _rewrite_index(records, move)
    report = audit.audit_split(Records(root=records), "train", bad_files="skip")
    assert len(report.pairs) == 3 and len(report.skipped) == 2


def test_an_enormous_record_is_refused_unread(records):
    _rewrite_index(records, lambda content: content["entries"][0]["image"].update(length=10**15))
    report = audit.audit_split(Records(root=records), "train", bad_files="skip")
    ((_, reason),) = report.skipped
    assert "more than the limit" in reason


def test_paths_of_records_go_back_and_forth():
    record = record_files.RecordPath(
        "a/b#1.tfrecord", offset=12, length=9, crc32=0xAB, start=2, size=3
    )
    path = record_files.format_path(record)
    assert record_files.parse_path(path) == record
    for other in ("a.png", "a.tfrecord", "a.tfrecord#1+2", "a#1+2*00000000@0+1.png"):
        assert record_files.parse_path(other) is None


def test_nothing_is_overwritten_and_nothing_half_written_stays(loose, written, tmp_path):
    with pytest.raises(UserError, match="never overwritten"):
        data_sets.write_records(loose, "train", written)
    bad = str(tmp_path / "bad")
    shutil.copytree(loose.root, bad)
    pair = Synthia(root=bad).list_pairs("train")[3]
    data_sets.change_bytes(pair.image_path, lambda data: data[:50])
    output = str(tmp_path / "out")
    with pytest.raises(UserError, match=re.escape(pair.image_path)):
        data_sets.write_records(Synthia(root=bad), "train", output)
    assert not os.path.exists(output) or os.listdir(output) == []
    report = data_sets.write_records(Synthia(root=bad), "train", output, bad_files="skip")
    assert len(report.skipped) == 1
    assert len(Records(root=output).list_pairs("train")) == 4


def test_a_full_or_read_only_disk_leaves_nothing(loose, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole_files, "sync", fail)
    output = str(tmp_path / "out")
    with pytest.raises(UserError, match="cannot be written: .*No space left on device"):
        data_sets.write_records(loose, "train", output)
    assert os.listdir(output) == []


@pytest.mark.parametrize("num_shards", [0, 6])
def test_shards_that_cannot_be_filled_are_refused(loose, tmp_path, num_shards):
    with pytest.raises(UserError, match="choose 1 to 5"):
        data_sets.write_records(loose, "train", str(tmp_path), num_shards=num_shards)


def test_a_folder_without_records_says_how_to_write_them(tmp_path):
    with pytest.raises(UserError, match="python -m data_pipelines.write_records"):
        Records(root=str(tmp_path))


def test_any_file_system_of_tensorflow_serves(loose):
    root = "ram://records"
    data_sets.write_records(loose, "train", root, num_shards=2)
    records = Records(root=root)
    _assert_same_pairs(loose, records)
    assert len(audit.audit_split(records, "train").pairs) == 5


def test_the_command_writes(loose, tmp_path):
    output = str(tmp_path / "out")
    command = [sys.executable, "-m", "data_pipelines.write_records", "--domain=synthia"]
    command += [f"--root={loose.root}", "--split=train", f"--output={output}", "--shards=2"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"synthia train: 5 images written to {output}, 0 bad files skipped\n"
    _assert_same_pairs(loose, Records(root=output))


def test_help_names_the_flags_without_tensorflow():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['write_records', '--help']\n"
        "try:\n"
        "    runpy.run_module('data_pipelines.write_records', run_name='__main__')\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert 'tensorflow' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for flag in ("--output", "--shards", "--domain", "--split"):
        assert flag in shown.stderr
