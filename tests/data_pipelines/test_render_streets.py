"""The command: its files, its help, its exit codes."""

from __future__ import annotations

import os

from tests.support import calls
from tests.support.processes import command_driver


def _run(*arguments):
    return calls.call_python("-m", "data_pipelines.render_streets", *arguments)


def _flags(tmp_path, **changes):
    values = dict(
        layout="cityscapes",
        style="camera",
        count=4,
        size="64x32",
        seed=1,
        out=str(tmp_path / "set"),
    )
    values.update(changes)
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def test_renders_with_a_default_split(tmp_path):
    done = _run(*_flags(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "5/5" in done.stderr
    train = tmp_path / "set" / "leftImg8bit" / "train"
    assert sorted(os.listdir(train)) == ["ashbourne", "brackley", "corsham"]
    assert os.listdir(tmp_path / "set" / "gtFine" / "val" / "dunster") == [
        "dunster_000000_000019_gtFine_labelIds.png"
    ]
    again = _run(*_flags(tmp_path))
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_help_needs_neither_numpy_nor_the_renderer():
    code = (
        "import sys; import data_pipelines.render_streets\n"
        "print([name for name in ('numpy', 'tensorflow', 'PIL') if name in sys.modules])"
    )
    assert calls.read_output("-c", code).strip() == "[]"
    done = _run("--help")
    assert done.returncode == 0
    assert "--layout=synthia --style=game" in done.stdout + done.stderr


def test_bad_flags_end_with_one_paragraph(tmp_path):
    rows = [
        ({"size": "64"}, "WIDTHxHEIGHT"),
        ({"layout": "kitti"}, "synthia, gta5, cityscapes"),
        ({"style": "film"}, "game, camera"),
        ({"count": 0}, "at least one"),
        ({"count": "many"}, "count"),
        ({"count": None}, "--count"),
        ({"out": None}, "--out"),
        ({"seeed": 3}, "seeed"),
    ]
    command_driver.assert_all_refused(
        "data_pipelines.render_streets",
        [(_flags(tmp_path, **change), words) for change, words in rows],
        tmp_path,
    )
    assert os.listdir(tmp_path) == []


def test_debug_shows_the_traceback(tmp_path):
    done = _run("--debug", *_flags(tmp_path, style="film"))
    assert done.returncode != 0
    assert "Traceback" in done.stderr
