"""Names and files that are unusual or hostile: read, or refused by name, and never left."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

import numpy as np
import pytest
from PIL import Image

from data_pipelines.auditing import audit
from data_pipelines.domains.camvid import CamVid
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from data_pipelines.io import files
from data_pipelines.labels import label_spaces
from drsl_tf.serving import input_files
from tests.support import data_sets

_NOBODY = 65534
_NAMES = (
    "with space", "straße ☃", "line\nbreak", "tab\there", "[1]*?", "-flag", "quote'\"", "a.b.png",
    "%s {0}", "x" * 200,
)  # fmt: skip


def write_named(root, names):
    """Writes images and masks under given names."""
    for name in names:
        data_sets.write_image(
            os.path.join(root, "images", f"{name}.png"), np.zeros((8, 9, 3), "u1")
        )
        data_sets.write_image(os.path.join(root, "masks", f"{name}.png"), np.zeros((8, 9), "u1"))


def make_folder(root, **options):
    options.setdefault("splits", {"all": ""})
    return Folder(root=str(root), masks="masks", label_space=label_spaces.camvid11(), **options)


def test_every_name_is_found_audited_and_read(tmp_path):
    write_named(tmp_path, _NAMES)
    domain = make_folder(tmp_path)
    stamps = str(tmp_path / "stamps")
    for again in (False, True):
        report = audit.audit_split(domain, "all", stamp_dir=stamps)
        assert [pair.name for pair in report.pairs] == sorted(_NAMES)
        assert report.from_stamp == again
    for pair in report.pairs:
        assert domain.read_image(pair.image_path).shape == (8, 9, 3)
    inputs = input_files.find_inputs(str(tmp_path / "images"))
    assert [source.name for source in inputs] == sorted(_NAMES)
    skipped = {}
    assert len(list(input_files.read_frames(inputs, 10**6, skipped))) == len(_NAMES)
    assert skipped == {}


def test_a_name_that_is_no_text_is_an_error(tmp_path):
    write_named(tmp_path, ["good"])
    odd = os.path.join(os.fsencode(tmp_path), b"images", b"\xff.png")
    shutil.copyfile(tmp_path / "images" / "good.png", odd)
    with pytest.raises(UserError, match="cannot be listed"):
        make_folder(tmp_path).list_pairs("all")
    inputs = input_files.find_inputs(str(tmp_path / "images"))
    skipped = {}
    frames = list(input_files.read_frames(inputs, 10**6, skipped))
    assert [frame.name for frame in frames] == ["good"]
    assert list(skipped.values()) == ["has a name that is not UTF-8; rename it"]


def put_in_place(path, kind):
    """Puts what cannot be read as a file in a file's place."""
    os.remove(path)
    if kind == "folder":
        os.makedirs(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling link":
        os.symlink(f"{path}.gone", path)
    elif kind == "link to itself":
        os.symlink(os.path.basename(path), path)
    elif kind == "endless device":
        os.symlink("/dev/zero", path)


@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "dangling link", "link to itself", "endless device"]
)
@pytest.mark.parametrize("role", ["image_path", "label_path"])
def test_what_is_no_file_is_named_and_skipped(tmp_path, kind, role):
    samples = data_sets.write_camvid(tmp_path, count=3)
    path = getattr(samples[1], role)
    put_in_place(path, kind)
    domain = CamVid(root=str(tmp_path))
    with pytest.raises(UserError) as error:
        audit.audit_split(domain, "train")
    assert f"  {path} " in str(error.value)
    report = audit.audit_split(domain, "train", bad_files="skip")
    assert [pair.name for pair in report.pairs] == [samples[0].name, samples[2].name]
    assert path in [skipped for skipped, _ in report.skipped]
    if role == "image_path":
        inputs = input_files.find_inputs(str(tmp_path / "images"))
        skipped = {}
        assert len(list(input_files.read_frames(inputs, 10**6, skipped))) == 2
        # A folder of this name is looked into, and is no input itself.
        assert list(skipped) == ([] if kind == "folder" else [path])


@contextlib.contextmanager
def as_nobody():
    """Gives up the right to read everything, where this process has it."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_unreadable_files_and_folders_are_named():
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        samples = data_sets.write_camvid(root, count=3)
        os.chmod(samples[1].image_path, 0)
        domain = CamVid(root=root)
        with as_nobody():
            if os.access(samples[1].image_path, os.R_OK, effective_ids=True):
                pytest.skip("this system lets every user read every file")
            report = audit.audit_split(domain, "train", bad_files="skip")
            assert [path for path, _ in report.skipped] == [samples[1].image_path]
            assert "Permission denied" in report.skipped[0][1]
        os.chmod(os.path.join(root, "images", "train"), 0)
        with as_nobody(), pytest.raises(UserError, match="cannot be listed|no image"):
            audit.audit_split(domain, "train")


def test_the_working_directory_is_a_root(tmp_path, monkeypatch):
    write_named(tmp_path, ["a", "b"])
    (tmp_path / "list.txt").write_text("images/b.png\n")
    monkeypatch.chdir(tmp_path)
    options = {"images": "*/{name}.png", "masks": None, "splits": {"train": "list.txt"}}
    digests = set()
    for root in (".", "./", tmp_path):
        domain = Folder(root=str(root), label_space=label_spaces.camvid11(), **options)
        report = audit.audit_split(domain, "train")
        assert [os.path.basename(pair.image_path) for pair in report.pairs] == ["b.png"]
        digests.add(report.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "line", ["../secret.png", "/etc/hostname", "a/../../secret.png", "..", "a/../good"]
)
def test_a_list_of_images_leads_nowhere_else(tmp_path, line):
    root = tmp_path / "data"
    write_named(root, ["good"])
    data_sets.write_image(str(tmp_path / "secret.png"), np.zeros((8, 9, 3), np.uint8))
    (root / "train.txt").write_text(f"good\n{line}\n")
    with pytest.raises(UserError, match="1 image.s. that are not in"):
        make_folder(root, splits={"train": "train.txt"}).list_pairs("train")


@pytest.mark.parametrize(
    "options, split",
    [
        ({"splits": {"train": "../other"}}, "train"),
        ({"splits": {"train": "../train.txt"}}, "train"),
        ({"images": "images/../../other"}, "all"),
        ({"splits": None}, "../../other"),
    ],
)
def test_a_folder_s_parts_lie_below_its_root(tmp_path, options, split):
    write_named(tmp_path / "data", ["good"])
    write_named(tmp_path / "other", ["secret"])
    with pytest.raises(UserError, match="leads out of root"):
        make_folder(tmp_path / "data", **options).list_pairs(split)


def test_absolute_places_are_taken_below_the_root(tmp_path):
    write_named(tmp_path / "data", ["good"])
    domain = make_folder(tmp_path / "data", images="/images", splits={"all": "/"})
    paths = [pair.image_path for pair in domain.list_pairs("all")]
    assert paths == [str(tmp_path / "data" / "images" / "good.png")]


def save(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.mark.parametrize("pattern", ["in", "in/**/*.png", "in/*.png", "**/*.png"])
def test_links_back_give_no_image_twice(tmp_path, pattern):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "deep" / "b.png")
    os.symlink("..", tmp_path / "in" / "deep" / "again")
    os.symlink(".", tmp_path / "in" / "here")
    inputs = input_files.find_inputs(str(tmp_path / pattern))
    names = [os.path.basename(source.path) for source in inputs]
    assert names == (["a.png"] if pattern == "in/*.png" else ["a.png", "b.png"])


@pytest.mark.parametrize("pattern", ["in", "in/**/*.png", "../home/in/**"])
def test_links_to_folders_are_followed(tmp_path, monkeypatch, pattern):
    save(tmp_path / "home" / "in" / "a.png")
    save(tmp_path / "elsewhere" / "deep" / "b.png")
    os.symlink("../../elsewhere", tmp_path / "home" / "in" / "one")
    os.symlink("../elsewhere", tmp_path / "elsewhere" / "again")
    os.symlink("..", tmp_path / "home" / "in" / "up")
    os.symlink("../../home/in", tmp_path / "elsewhere" / "deep" / "back")
    monkeypatch.chdir(tmp_path / "home")
    names = [source.name for source in input_files.find_inputs(pattern)]
    assert names == ["a", "one/deep/b"]


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "@eaDir/a.png"])
def test_hidden_folders_are_left_out(tmp_path, hidden):
    save(tmp_path / "in [1]" / "a.png")
    save(tmp_path / "in [1]" / hidden / "a-checkpoint.png")
    (source,) = input_files.find_inputs(str(tmp_path / "in [1]"))
    assert source.name == "a"
    assert files.list_files(str(tmp_path / "in [1]"), (".png",)) == ["a.png"]


@pytest.mark.parametrize("pattern", ["in/*/../../*.png", "*/../../outside/*.png"])
def test_names_of_inputs_never_lead_out_of_the_output(tmp_path, monkeypatch, pattern):
    save(tmp_path / "home" / "in" / "deep" / "a.png")
    save(tmp_path / "home" / "c.png")
    save(tmp_path / "outside" / "b.png")
    monkeypatch.chdir(tmp_path / "home")
    with pytest.raises(UserError, match="outside of --output"):
        input_files.find_inputs(pattern)


def test_outputs_behind_a_link_are_no_inputs(tmp_path):
    save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "out" / "ids" / "a.png")
    os.symlink(tmp_path / "in" / "out", tmp_path / "link")
    inputs = input_files.find_inputs(str(tmp_path / "in"), [str(tmp_path / "link")])
    assert [source.name for source in inputs] == ["a"]
    with pytest.raises(UserError, match="in/out/ids leads only to .* --output's predictions"):
        input_files.find_inputs(str(tmp_path / "in/out/ids"), [str(tmp_path / "link")])
