"""The quickstart in Python, run as it stands in the docs."""

import os
import re

import numpy as np
import pytest

pytestmark = pytest.mark.slow

_DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs")


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Runs every block in one namespace; gives the namespace."""
    with open(os.path.join(_DOCS, "quickstart.md"), encoding="utf-8") as file:
        blocks = re.findall(r"```python\n(.*?)```", file.read(), flags=re.DOTALL)
    assert len(blocks) == 5
    namespace = {}
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("quickstart"))
    try:
        histories = []
        for block in blocks:
            exec(compile(block, "quickstart.md", "exec"), namespace)
            histories.append(namespace.get("history"))
        namespace["histories"] = [h.history for h in histories[1:3]]
        namespace["files"] = sorted(os.listdir("runs/quickstart"))
    finally:
        os.chdir(before)
    return namespace


def test_fit_trains_on_the_source_and_then_on_pseudo_labels(names):
    first, second = names["histories"]
    assert len(first["loss"]) == 4 and first["loss"][-1] < first["loss"][0]
    assert not any(first["ce_target"]) and all(value > 0 for value in second["ce_target"])
    assert {"loss", "ce_source", "dml_source", "dml_target", "sma"} <= set(second)
    assert all(0 < value <= 1 for value in first["val_miou"])
    reports = names["rounds"].reports
    assert [report.round for report in reports] == [1, 2]
    assert reports[1].portion > reports[0].portion and reports[0].fraction > 0
    assert names["predicted"].shape == (8, 64, 64) and names["predicted"].dtype == np.uint8


def test_the_exported_model_labels_whole_images(names):
    assert names["outputs"]["label"].shape == (8, 64, 64)
    assert names["outputs"]["confidence"].numpy().max() <= 1


def test_the_trainer_leaves_a_run_behind(names):
    stages = names["results"].stages
    assert [stage.round for stage in stages] == [0, 1]
    assert stages[1].pseudo_label.fraction > 0
    assert {"results.json", "checkpoints", "pseudo_labels"} <= set(names["files"])
