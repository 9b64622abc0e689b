"""The record of the files and classes of a run."""

import pytest

from data_pipelines.errors import UserError
from drsl_tf.runs import data_record


def _list(root, digest="a"):
    return data_record.FileList(root=root, split="train", images=3, digest=digest)


_LISTS = {"source": _list("/old/s"), "target": _list("/old/t"), "eval": _list("/old/t")}
_MOVED = {role: _list(entry.root.replace("old", "new")) for role, entry in _LISTS.items()}


def _resume(run_dir, lists, class_names=("sky", "ground")):
    data_record.record_data(run_dir, ["sky", "ground"], _LISTS, resumed=False)
    data_record.record_data(run_dir, class_names, lists, resumed=True)


def test_a_list_that_vanished_is_a_warning_below_an_unchanged_root_alone(tmp_path, caplog):
    lists = {role: entry for role, entry in _MOVED.items() if role != "eval"}
    with pytest.raises(UserError, match="had a list 'eval' of files.*unchanged copy.*--fresh"):
        _resume(str(tmp_path), lists)
    with pytest.raises(UserError, match="had no list 'source_2' of files"):
        _resume(str(tmp_path), {**_MOVED, "source_2": _list("/new/s")})
    _resume(str(tmp_path), _MOVED)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    _resume(str(tmp_path), {"source": _LISTS["source"], "target": _LISTS["target"]})
    assert "changed: the run had a list 'eval' of files" in caplog.text


def test_other_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match="other classes: sky, ground; they are ground, sky"):
        _resume(str(tmp_path), _LISTS, ["ground", "sky"])
