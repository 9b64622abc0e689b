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
    assert len(blocks) == 6
    namespace = {}
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("quickstart"))
    try:
        histories = []
        for block in blocks:
            exec(compile(block, "quickstart.md", "exec"), namespace)
            histories.append(namespace.get("history"))
        namespace["histories"] = [h.history for h in histories[2:4]]
        namespace["files"] = sorted(os.listdir("runs/quickstart"))
    finally:
        os.chdir(before)
    return namespace


def test_fit_trains_on_the_source_and_then_on_pseudo_labels(names):
    first, second = names["histories"]
    assert len(first["loss"]) == 2 and first["loss"][1] < first["loss"][0]
    assert first["ce_target"][-1] == 0 and second["ce_target"][-1] > 0
    assert {"loss", "ce_source", "dml_source", "dml_target", "sma"} <= set(second)
    prediction, confidence = names["prediction"].numpy(), names["confidence"].numpy()
    expected = np.where(confidence >= names["thresholds"][prediction], prediction, 255)
    assert np.mean(names["selected"] == expected) > 0.999
    assert (names["selected"] != 255).mean() >= 0.5


def test_the_exported_model_labels_whole_images(names):
    assert names["outputs"]["label"].shape == (8, 64, 64)
    assert names["outputs"]["confidence"].numpy().max() <= 1


def test_the_trainer_leaves_a_run_behind(names):
    stages = names["results"].stages
    assert [stage.round for stage in stages] == [0, 1]
    assert stages[1].pseudo_label.fraction > 0
    assert {"results.json", "checkpoints", "pseudo_labels"} <= set(names["files"])
