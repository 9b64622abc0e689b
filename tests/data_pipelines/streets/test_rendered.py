"""Whole data sets: all or nothing, the stamp, workers."""

from __future__ import annotations

import errno
import json
import os

import pytest

from data_pipelines.errors import UserError
from data_pipelines.streets import layouts
from data_pipelines.streets import rendered
from data_pipelines.streets import renderer

SETTINGS = dict(layout="gta5", style="game", count=3, size=(32, 64), seed=1, val_count=1)


def _read_all(root):
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, root)] = stream.read()
    return found


def test_renders_once_and_returns_the_root(tmp_path):
    root = str(tmp_path / "a" / "set")
    assert rendered.rendered_root(root=root, **SETTINGS) == root
    files = _read_all(root)
    assert sorted(files) == sorted(
        [f"{kind}/0000{n}.png" for kind in ("images", "labels") for n in (1, 2, 3, 4)]
        + ["streets.json"]
    )
    with open(os.path.join(root, "streets.json"), encoding="utf-8") as stream:
        stamp = json.load(stream)
    assert stamp["count"] == 3 and stamp["size"] == [32, 64]
    assert stamp["fingerprint"] == renderer.FINGERPRINTS["game"]
    times = {name: os.path.getmtime(os.path.join(root, name)) for name in files}
    rendered.rendered_root(root=root, **SETTINGS)
    assert times == {name: os.path.getmtime(os.path.join(root, name)) for name in files}
    assert os.listdir(tmp_path / "a") == ["set"]


@pytest.mark.parametrize(
    "change",
    [{"style": "camera"}, {"count": 4}, {"seed": 2}, {"size": (32, 96)}, {"layout": "cityscapes"}],
)
def test_other_parameters_are_refused(tmp_path, change):
    root = str(tmp_path / "set")
    rendered.rendered_root(root=root, **SETTINGS)
    with pytest.raises(UserError, match=f"{next(iter(change))} is"):
        rendered.rendered_root(root=root, **{**SETTINGS, **change})


def test_foreign_directory_is_refused(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(UserError, match="was not rendered here"):
        rendered.rendered_root(root=str(tmp_path), **SETTINGS)
    assert os.listdir(tmp_path) == ["photo.png"]


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "set").write_bytes(b"x")
    with pytest.raises(UserError, match="is a file"):
        rendered.rendered_root(root=str(tmp_path / "set"), **SETTINGS)
    with pytest.raises(UserError, match="could not be written"):
        rendered.rendered_root(root=str(tmp_path / "set" / "below"), **SETTINGS)


def test_empty_directory_is_taken(tmp_path):
    rendered.rendered_root(root=str(tmp_path), **SETTINGS)
    assert "images" in os.listdir(tmp_path)


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def encode(scene, layout):
        calls.append(layout)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return b"x"

    monkeypatch.setattr(layouts, "encode_label", encode)
    with pytest.raises(UserError, match="No space left"):
        rendered.rendered_root(root=str(tmp_path / "set"), **SETTINGS)
    assert os.listdir(tmp_path) == []


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    def encode(scene, layout):
        raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "encode_label", encode)
    with pytest.raises(KeyboardInterrupt):
        rendered.rendered_root(root=str(tmp_path / "set"), **SETTINGS)
    assert os.listdir(tmp_path) == []


def test_a_faster_process_wins(tmp_path, monkeypatch):
    root = tmp_path / "set"
    write = rendered._write_scenes

    def write_late(folder, stamp, workers, progress):
        write(folder, stamp, workers, progress)
        if not root.exists():
            monkeypatch.setattr(rendered, "_write_scenes", write)
            rendered.render_set(str(root), stamp)

    monkeypatch.setattr(rendered, "_write_scenes", write_late)
    assert rendered.rendered_root(root=str(root), **SETTINGS) == str(root)
    assert os.listdir(tmp_path) == ["set"]


def test_files_do_not_depend_on_the_workers(tmp_path):
    stamp = rendered.make_stamp(**{**SETTINGS, "count": 10})
    for workers in (1, 2):
        rendered.render_set(str(tmp_path / str(workers)), stamp, workers=workers, progress=False)
    one, two = _read_all(tmp_path / "1"), _read_all(tmp_path / "2")
    assert len(one) == 23 and one == two


@pytest.mark.parametrize(
    "change, words",
    [
        ({"layout": "kitti"}, "layout"),
        ({"style": "film"}, "style"),
        ({"count": 0}, "count"),
        ({"val_count": -1}, "val_count"),
        ({"size": (1, 1)}, "size"),
        ({"seed": -4}, "seed"),
    ],
)
def test_bad_parameters_are_named(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        rendered.rendered_root(root=str(tmp_path / "set"), **{**SETTINGS, **change})
    assert os.listdir(tmp_path) == []
