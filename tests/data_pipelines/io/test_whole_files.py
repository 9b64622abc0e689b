"""Files are whole or absent."""

import os

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.auditing import audit_stamp
from data_pipelines.batches import class_statistics
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from data_pipelines.streets import rendered
from tests.support.disk_log import DiskLog


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = str(tmp_path / "file")
    whole_files.write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        whole_files.write_whole(path, fail)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "folder"
    with pytest.raises(KeyboardInterrupt):
        with whole_files.write_folder(str(path)) as partial:
            (tmp_path / partial / "half").write_text("half")
            raise KeyboardInterrupt
    assert os.listdir(tmp_path / "deep") == []
    with DiskLog() as log, whole_files.write_folder(str(path)) as partial:
        (tmp_path / partial / "file").write_text("whole")
        assert not path.exists()
    assert os.listdir(tmp_path / "deep") == ["folder"] and os.listdir(path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o755
    assert log.list_unsafe(tmp_path) == []


def test_failures_are_explained_and_nothing_else_is(tmp_path):
    path = str(tmp_path / "file")
    full = tf.errors.ResourceExhaustedError(None, None, f"{path}.tmp; No space left on device")
    for error in (OSError(28, "No space left on device"), full):
        with pytest.raises(UserError, match="file cannot be written: .*No space left.*same com"):
            with whole_files.explain_failures(path):
                raise error
    graph = tf.errors.InvalidArgumentError(None, None, f"{path}: shapes differ")
    for error in (graph, KeyError("file"), UserError("as it is")):
        with pytest.raises(type(error)) as caught:
            with whole_files.explain_failures(path):
                raise error
        assert caught.value is error


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = str(tmp_path / "file")

    def write_while_another_writes(file):
        file.write(b"first, ")
        whole_files.write_whole(path, lambda other: other.write(b"second"), shared=True)
        assert (tmp_path / "file").read_bytes() == b"second"
        file.write(b"and on")

    whole_files.write_whole(path, write_while_another_writes, shared=True)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"first, and on"


def test_every_name_of_a_new_folder_is_on_the_disk(tmp_path):
    synced = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_files, "sync", synced.append)
        whole_files.make_folder(str(tmp_path / "a" / "b"))
        whole_files.make_folder(str(tmp_path / "a" / "b"))
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]


def test_stamps_statistics_and_renderings_outlive_a_power_cut(tmp_path):
    with DiskLog() as log:
        root = rendered.rendered_root(
            root=str(tmp_path / "game"), layout="gta5", style="game", count=2, size=(32, 64), seed=0
        )
        domain = Gta5(root=root)
        pairs = domain.list_pairs("train")
        audit_stamp.write_stamp(str(tmp_path / "audit"), domain, "train", "fingerprint", [], [])
        class_statistics.count_pixels(
            pairs,
            lambda path: np.zeros((2, 2), np.uint8),
            ["road"],
            path=str(tmp_path / "audit" / "classes.json"),
        )
    written = [name for _, _, names in os.walk(tmp_path) for name in names]
    assert len(written) >= 7
    assert log.list_unsafe(tmp_path) == []


def test_the_log_of_the_disk_tells_careless_writers(tmp_path):
    with DiskLog() as log:
        for name in ("in_place", "unsynced", "unnamed", "good"):
            with open(tmp_path / f"{name}.partial", "wb") as file:
                if name != "unsynced":
                    os.fsync(file.fileno())
            if name == "in_place":
                os.link(tmp_path / f"{name}.partial", tmp_path / name)
                os.unlink(tmp_path / f"{name}.partial")
            elif name != "unnamed":
                whole_files.rename_whole(str(tmp_path / f"{name}.partial"), str(tmp_path / name))
        os.replace(tmp_path / "unnamed.partial", tmp_path / "unnamed")
    unsafe = [os.path.basename(path) for path in log.list_unsafe(tmp_path)]
    assert sorted(unsafe) == ["in_place", "unnamed", "unsynced"]
