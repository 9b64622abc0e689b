"""The benchmark of modes: its results file, and its command at a tiny size."""

import json

import pytest

from benchmarks.comparison import adaptation_arms
from benchmarks.comparison.adaptation_plan import Plan
from benchmarks.modes import mode_runs
from tests.support import calls
from tests.support import repository
from tests.support import streets
from tests.support.processes import command_driver

_TINY = ["SOURCE_STEPS = 2", "ROUNDS = 1", "STEPS_PER_ROUND = 1", "gta5.Gta5.val_count = 2"]


_NAMES = ("nmi", "ami", "shuffled", "recall", "effective_modes")


def _describe(nmi, part):
    """Numbers that tell domains and names apart."""
    return {name: nmi + part + 10 * place for place, name in enumerate(_NAMES)}


def _make_record(arm, seed, plan, nmi, hits=5):
    names = ("target", "source", "right", "kmeans")
    parts = {name: _describe(nmi, 1000 * part) for part, name in enumerate(names)}
    return {
        "setup": "streets7",
        "arm": arm,
        "seed": seed,
        "fingerprint": plan.fingerprint,
        "miou": 50.0 + seed,
        "iou": {"flat": 1.0, "sky": 1.0},
        "images": {name: {"0": [hits, 10, 10], "1": [4, 4, 4]} for name in "abc"},
        "modes": parts,
    }


def test_every_method_is_known_on_every_pair():
    for setup in adaptation_arms.SETUPS.values():
        if setup.hidden_params:
            assert setup.arms == tuple(adaptation_arms.MODE_ARMS.values())
    assert set(adaptation_arms.MODE_ARMS.values()) <= adaptation_arms.ARMS.keys()


def test_results_have_one_number_a_seed():
    plan, other = Plan("streets7", "drsl"), Plan("streets7", "drsl_k1")
    plans = {"streets7": {mode_runs.KMEANS: plan, "k3_shipped": plan, "k1": other}}
    records = [
        _make_record("k3_shipped", 1, plan, 0.3),
        _make_record("k3_shipped", 0, plan, 0.1),
        _make_record("k3_shipped", 0, plan, 0.2),  # Measured again.
        _make_record("k1", 0, plan, 0.9),  # Of another configuration.
        _make_record(mode_runs.KMEANS, 0, plan, 0.14),
    ]
    content = mode_runs.make_report(plans, records)
    arms = content["pairs"]["streets7"]
    assert arms.keys() == {"kmeans_features", "k3_shipped"}
    assert arms["kmeans_features"]["nmi_target"] == 3000.14
    found = arms["k3_shipped"]
    assert found["seeds"] == [0, 1] and found["miou"] == [50.0, 51.0]
    firsts = {key: value[0] for key, value in found.items() if key[:5] not in ("seeds", "miou")}
    assert firsts == {
        "nmi_target": 0.2,
        "ami_target": 10.2,
        "shuffled_target": 20.2,
        "recall_target": 30.2,
        "effective_modes": 40.2,
        "nmi_source": 1000.2,
        "effective_modes_source": 1040.2,
        "nmi_right": 2000.2,
        "kmeans_target": 3000.2,
        "kmeans_recall": 3030.2,
    }
    assert found["nmi_target"] == [0.2, 0.3]
    assert "| streets7 | k3_shipped | 2 | 50.500 |" in mode_runs.format_table(content)


def test_scores_are_compared_with_those_of_one_mode():
    plans = {"streets7": {name: Plan("streets7", "drsl") for name in ("k1", "p1", "k6")}}
    plan = plans["streets7"]["k1"]
    records = [_make_record(name, 0, plan, 0.1, hits) for name, hits in (("k1", 5), ("p1", 10))]
    records.append(_make_record("k6", 1, plan, 0.1))  # Of another seed.
    arms = mode_runs.make_report(plans, records)["pairs"]["streets7"]
    difference = arms["p1"]["miou_difference_to_k1"]
    # The IoU of one class of two rises from 1/3 to 1, in every image.
    assert difference["seeds"] == [0]
    for key in ("mean", "low", "high"):
        assert difference[key] == pytest.approx(100 / 3)
    for name in ("k1", "k6"):
        assert "miou_difference_to_k1" not in arms[name]


def test_bad_flags_are_one_paragraph():
    rows = [
        (["--pair=streets"], "simtown7_kitti7"),
        (["--pair=streets7", "--arms=k9"], "k3_shipped"),
    ]
    command_driver.assert_all_refused("benchmarks.mode_quality", rows, repository.ROOT)


@pytest.mark.slow
def test_runs_a_method_and_does_nothing_twice(tmp_path):
    bindings = [
        *_TINY,
        *streets.list_demo_bindings(tmp_path, source=4, val=2),
        "game/rendered.rendered_root.val_count = 2",
    ]
    arguments = [
        "-m",
        "benchmarks.mode_quality",
        "--pair=streets7",
        "--seeds=1",
        "--arms=k3_shipped",
        f"--output={tmp_path}/results",
        f"--work={tmp_path}/work",
        *(f"--gin_param={line}" for line in bindings),
    ]
    calls.read_output(*arguments)
    stem = tmp_path / "results" / "mode_quality_trial"
    arms = json.loads(stem.with_suffix(".json").read_text())["pairs"]["streets7"]
    assert arms.keys() == {"kmeans_features", "k3_shipped"}
    assert 0 <= arms["kmeans_features"]["nmi_target"] <= 1
    assert 0 <= arms["k3_shipped"]["nmi_source"][0] <= 1
    assert 1 <= arms["k3_shipped"]["effective_modes"][0] <= 3
    records = stem.with_suffix(".jsonl").read_text()
    rows = [json.loads(line) for line in records.splitlines()]
    assert [row["arm"] for row in rows] == ["kmeans_features", "k3_shipped"]
    assert rows[1]["modes"]["splits"] == {"source": "val", "target": "val"}
    assert calls.read_output(*arguments).count("already done") == 1
    assert stem.with_suffix(".jsonl").read_text() == records
