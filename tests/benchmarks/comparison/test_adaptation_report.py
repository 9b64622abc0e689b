"""Records and reports: kills, reruns, and what the tables say."""

import json
import types

import numpy as np
import pytest

from benchmarks.comparison import adaptation_chart
from benchmarks.comparison import adaptation_report
from benchmarks.comparison import tables
from benchmarks.comparison.adaptation_runs import RecordFile
from benchmarks.comparison.adaptation_runs import run_missing
from benchmarks.comparison.adaptation_runs import select_newest


def _make_record(arm, seed, miou, accuracy=0.8, usage=None, fingerprint="f"):
    return {
        "setup": "streets",
        "arm": arm,
        "seed": seed,
        "fingerprint": fingerprint,
        "steps": 10,
        "miou": miou,
        "iou": {"road": miou + 1, "car": None},
        "stages": [
            {
                "round": r,
                "miou": miou,
                "fraction": None if not r else 0.5,
                "accuracy": None if not r else 0.9,
            }
            for r in (0, 1)
        ],
        "pseudo_label": {
            "portion": 0.5,
            "fraction": 0.5,
            "accuracy": accuracy,
            "accuracies": {},
            "mode_usage": usage,
        },
        "wall_seconds": 3.0,
        "finished": "now",
        "code": "abc",
        "commands": ["python -m x"],
    }


def _make_plan(setup_name="streets", fingerprint="f"):
    return types.SimpleNamespace(setup_name=setup_name, fingerprint=fingerprint)


def _make_records():
    scores = {"source_only": (20, 22), "cbst": (30, 32), "drsl": (33, 37), "oracle": (60, 62)}
    records = {
        arm: [_make_record(arm, seed, float(score)) for seed, score in enumerate(pair)]
        for arm, pair in scores.items()
    }
    for record in records["drsl"]:
        record["pseudo_label"]["accuracy"] = 0.85
        record["pseudo_label"]["mode_usage"] = {"road": [50, 50, 0], "car": [0, 0, 0]}
    records["dml"] = [_make_record("dml", 0, 31.0)]
    return records


def test_a_record_cut_off_by_a_kill_is_left_out_and_harms_no_other(tmp_path):
    records = RecordFile(str(tmp_path / "new" / "r.jsonl"))
    assert records.read() == []
    records.append(_make_record("cbst", 0, 1.0))
    with open(records.path, "a") as file:
        file.write('{"arm": "cb')
    assert len(records.read()) == 1
    records.append(_make_record("cbst", 1, 2.0))
    records.append(_make_record("cbst", 1, 3.0))
    assert [r["miou"] for r in records.read()] == [1.0, 2.0, 3.0]
    newest = select_newest(records.read(), "cbst", _make_plan())
    assert {seed: record["miou"] for seed, record in newest.items()} == {0: 1.0, 1: 3.0}
    for arm, plan in (
        ("cbst", _make_plan(setup_name="streets7")),
        ("drsl", _make_plan()),
        ("cbst", _make_plan(fingerprint="g")),
    ):
        assert select_newest(records.read(), arm, plan) == {}


def test_a_record_without_the_counts_of_images_is_repeated(tmp_path):
    records = RecordFile(str(tmp_path / "r.jsonl"))
    records.append(_make_record("cbst", 0, 1.0))
    records.append({**_make_record("cbst", 1, 1.0), "images": {}})
    plans = {"cbst": _make_plan()}
    asked = []

    def run(name, _, seed):
        asked.append((name, seed))
        return {**_make_record(name, seed, 2.0), "images": {}}

    assert run_missing([(0, "cbst"), (1, "cbst")], plans, records, run, lambda: None) == []
    assert asked == [("cbst", 0)]
    newest = select_newest(records.read(), "cbst", plans["cbst"])
    assert [record["miou"] for record in newest.values()] == [2.0, 1.0]


def test_the_json_file_has_one_number_a_seed(tmp_path):
    content = adaptation_report.AdaptationReport("streets", _make_records()).as_dict()
    assert content["arms"]["drsl"] == {
        "seeds": [0, 1],
        "miou": [33.0, 37.0],
        "source_stage_miou": [33.0, 37.0],
        "pseudo_label_accuracy": [0.85, 0.85],
    }
    assert content["arms"]["oracle"]["pseudo_label_accuracy"] is None
    assert content["arms"]["dml"]["seeds"] == [0] and content["arms"]["dml"]["miou"] == [31.0]
    tables.write_compact_json(str(tmp_path / "r.json"), content)
    with open(tmp_path / "r.json") as file:
        assert json.load(file) == content


def test_claims_are_made_where_the_images_were_counted():
    records = _make_records()
    assert adaptation_report.AdaptationReport("streets", records).as_dict()["claims"] == []
    for arm, hits in {"source_only": 3, "cbst": 5, "drsl": 8}.items():
        for record in records[arm]:
            record["images"] = {
                f"{place}": {"0": [10 * hits, 100, 100], **({"1": [1, 4, 4]} if place < 2 else {})}
                for place in range(6)
            }
    report = adaptation_report.AdaptationReport("streets", records)
    claims = {(c["better"], c["than"]): c for c in report.as_dict()["claims"]}
    assert claims.keys() == {("cbst", "source_only"), ("drsl", "source_only"), ("drsl", "cbst")}
    # Hits of 80 and 50 in unions of 120 and 150; the second class, in two images, is the same.
    difference = 100 * (80 / 120 - 50 / 150)
    claim = claims["drsl", "cbst"]
    assert claim["without_rarest"]["mean"] == pytest.approx(difference)
    assert claim["mean"] == pytest.approx(difference / 2)
    assert (
        claim["seeds"] == [0, 1]
        and claim["low"] > 0
        and claim["p"] <= claim["p_holm"] <= 3 * claim["p"]
    )
    text = report.format_markdown()
    assert (
        "| drsl to cbst | 0, 1 | +16.67 [" in text
        and "| road (6) |" in text
        and "| car (2) |" in text
    )


def test_methods_are_compared_over_the_seeds_that_both_have():
    scores = {
        "source_only": {0: 20, 1: 22, 2: 24, 3: 90},
        "cbst": {0: 30, 1: 30, 2: 30, 3: 30},
        "drsl": {1: 33, 2: 35, 4: 99},
        "oracle": {2: 44},
    }
    records = {
        arm: [_make_record(arm, seed, float(miou)) for seed, miou in by_seed.items()]
        for arm, by_seed in scores.items()
    }
    for record in records["drsl"][:2]:
        record["pseudo_label"]["accuracy"] = 0.9
    records["drsl"][2]["pseudo_label"]["accuracy"] = 0.1
    for found in records.values():
        for record in found:
            record["images"] = {"0": {"0": [int(record["miou"]), 100, 100]}}
    report = adaptation_report.AdaptationReport("streets", records)
    claims = {(c["better"], c["than"]): c for c in report.as_dict()["claims"]}
    assert {pair: claim["seeds"] for pair, claim in claims.items()} == {
        ("cbst", "source_only"): [0, 1, 2, 3],
        ("drsl", "source_only"): [1, 2],
        ("drsl", "cbst"): [1, 2],
    }
    text = report.format_markdown()
    row = next(line for line in text.splitlines() if "DRSL" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == ["1, 2, 4", f"{(33 + 35 + 99) / 3:.2f}"]
    # Seeds 1 and 2: 3 and 5 above CBST, errors 0.1 against 0.2. Seed 2: 11 of 20 points.
    assert cells[4].startswith("+4.00 [") and cells[5] == "55%" and cells[7] == "+50%"
    oracle = next(line for line in text.splitlines() if "target labels" in line)
    assert "| 2 | 44.00 | - | +14.00 | - |" in oracle


def test_the_tables_say_what_the_records_say():
    text = adaptation_report.AdaptationReport("streets", _make_records()).format_markdown()
    row = next(line for line in text.splitlines() if "DRSL" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # 35 lies 14 of 40 above source only; 3 and 5 above CBST; errors 0.15 against 0.20.
    assert cells[1:4] == ["0, 1", "35.00", f"{np.sqrt(8):.2f}"]
    assert cells[4].startswith("+4.00 [-8.71, +16.71]")
    assert cells[5:] == ["35%", "85.00", "+25%"]
    assert "| drsl | 2.0 of 6 | 2.00 |" in text
    assert "| car | - | - | - | - | - |" in text and "python -m x" in text


def test_the_regret_of_a_choice_is_reported_by_seed():
    records = _make_records()
    records["selected"] = [_make_record("selected", seed, 31.0 + seed) for seed in (0, 1)]
    models = [
        {"name": "the source stage", "score": 0.5, "miou": 30.0},
        {"name": "round 1", "score": 0.6, "miou": 32.5},
        {"name": "round 2", "score": 0.7, "miou": 31.0},
    ]
    choices = ({"chosen": 2, "best": 1, "regret": 1.5}, {"chosen": 1, "best": 1, "regret": 0.0})
    for record, choice in zip(records["selected"], choices):
        record["choice"] = {"candidates": models, **choice}
    report = adaptation_report.AdaptationReport("streets", records)
    arms = report.as_dict()["arms"]
    assert arms["selected"]["miou"] == [31.0, 32.0] and arms["selected"]["regret"] == [1.5, 0.0]
    assert not any("regret" in arms[arm] for arm in arms.keys() - {"selected"})
    text = report.format_markdown()
    assert "| selected | 0 | round 2 | 31.00 | round 1 | 32.50 | 1.50 |" in text
    assert "| selected | 1 | round 1 | 32.50 | round 1 | 32.50 | 0.00 |" in text


def test_a_report_without_runs_says_so():
    report = adaptation_report.AdaptationReport("streets", {"cbst": []})
    assert "No run" in report.format_markdown() and report.as_dict()["arms"] == {}


@pytest.mark.parametrize(
    "counts, expected", [([5, 5, 5, 5], (4, 4.0)), ([7, 0], (1, 1.0)), ([995, 5], (1, None))]
)
def test_mode_usage(counts, expected):
    used, effective = adaptation_report.describe_usage({"a": counts, "never": [0] * len(counts)})
    assert used == expected[0]
    assert expected[1] is None or effective == pytest.approx(expected[1])


def test_bars_are_as_long_as_the_means():
    (axes,) = adaptation_chart.draw_scores("t", {"a": [10.0, 30.0], "b": [40.0]}).axes
    assert [bar.get_width() for bar in axes.patches] == [20.0, 40.0]
    assert [list(dots.get_xdata()) for dots in axes.lines] == [[10.0, 30.0], [40.0]]
    assert [text.get_text() for text in axes.texts] == ["20.0", "40.0"]
