"""What is read of a run is what a run writes."""

import json
import os

import pytest

from data_pipelines.errors import UserError
from drsl_tf import files
from drsl_tf.reporting import page
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import label_report
from drsl_tf.runs import panel_files
from drsl_tf.runs import results_schema
from drsl_tf.runs.run_directory import PseudoLabelDirectory
from drsl_tf.runs.run_directory import RunDirectory
from tests.support import run_records


@pytest.fixture
def run_dir(tmp_path):
    return run_records.make_run(tmp_path, "run")


def _change(path, *keys_and_value):
    """Sets an entry of a JSON file; `...` for its value deletes it."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    *keys, last, value = keys_and_value
    entry = content
    for key in keys:
        entry = entry[key]
    if value is ...:
        del entry[last]
    else:
        entry[last] = value
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


@pytest.mark.parametrize(
    "change",
    [
        ("schema", 2), ("experiment", 3), ("seed", "x"), ("versions", []), ("stages", {}),
        ("stages", 0, []), ("stages", 0, "round", "../../x"), ("stages", 0, "round", -1),
        ("stages", 0, "round", 10**9), ("stages", 1, "round", 0), ("stages", 0, "miou", "high"),
        ("stages", 0, "miou", float("nan")), ("stages", 0, "miou", 700.0),
        ("stages", 0, "seconds", -1.0), ("stages", 1, "pseudo_label", "fraction", 7.0),
        ("stages", 0, "miou", ...), ("stages", 0, "iou", "road", []), ("stages", 0, "iou", 3),
        ("stages", 0, "seconds", None), ("stages", 0, "warnings", "one"),
        ("stages", 0, "warnings", [1]), ("stages", 0, "protocols", "16", "miou", "x"),
        ("stages", 1, "pseudo_label", ...), ("stages", 1, "pseudo_label", []),
        ("stages", 1, "pseudo_label", "fraction", None),
        ("stages", 1, "pseudo_label", "thresholds", "road", ...),
        ("stages", 1, "pseudo_label", "mode_usage", "road", ["a"]), ("stagse", []),
    ],
)  # fmt: skip
def test_entries_that_no_run_writes_are_named(run_dir, change):
    path = os.path.join(run_dir, "results.json")
    results_schema.read_results(path)
    _change(path, *change)
    with pytest.raises(UserError, match=f"results.json .*{change[0]}"):
        results_schema.read_results(path)


def test_a_report_of_mixed_up_files_is_refused(run_dir):
    page.format_report([RunRecord(run_dir)])
    index = RunDirectory(run_dir).panels
    with open(index, encoding="utf-8") as file:
        sound = file.read()
    _change(index, "class_names", 0, "lane")
    with pytest.raises(UserError, match="different classes"):
        RunRecord(run_dir)
    for change in (("palette", 0, [1, 2]), ("palette", 0, [0, 0, 999]), ("frames", 0, 3),
                   ("modes_per_class", 10**9), ("palette", [])):  # fmt: skip
        with open(index, "w", encoding="utf-8") as file:
            file.write(sound)
        _change(index, *change)
        with pytest.raises(UserError, match="index.json is invalid: .*(palette|frames|modes)"):
            RunRecord(run_dir)


@pytest.mark.parametrize(
    "content", ["", "\0", "a,b\n", "label \\ prediction,no class\n", "x" * 200_000]
)
def test_confusions_that_are_none_are_named(run_dir, content):
    with open(RunDirectory(run_dir).locate_confusion(0), "w", encoding="utf-8") as file:
        file.write(content)
    with pytest.raises(UserError, match="round_0.csv"):
        page.format_report([RunRecord(run_dir)])


def test_runs_of_other_classes_are_no_seeds_of_each_other(run_dir, tmp_path):
    other = run_records.make_run(tmp_path / "other", "run", panels=False)
    path = os.path.join(other, "results.json")
    with open(path, encoding="utf-8") as file:
        text = file.read().replace('"road"', '"lane"')
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(UserError, match="of different classes"):
        page.format_report([RunRecord(run_dir), RunRecord(other)])


def test_what_was_written_is_read_back(run_dir):
    path = RunDirectory(run_dir).results
    with open(path, encoding="utf-8") as file:
        written = file.read()
    assert json.dumps(results_schema.read_results(path).as_json(), indent=1) + "\n" == written


def _write_label_report(folder, **changes):
    known = {"road": 0.1 + 0.2, "sky": 1 / 3}
    report = label_report.LabelReportFile(
        schema=1, round=1, portion=0.2, fraction=0.19, accuracy=None, fractions=known,
        accuracies=None, pixels={"road": 7, "sky": 9}, thresholds=known, mode_usage=None,
    )  # fmt: skip
    path = PseudoLabelDirectory(str(folder)).report
    files.write_json(path, {**report.as_json(), **changes})
    return path, report


def test_files_of_versions_that_wrote_no_schema_are_read(run_dir, tmp_path):
    path, report = _write_label_report(tmp_path)
    _change(path, "schema", ...)
    found = label_report.read_label_report(path)
    assert found.thresholds == report.thresholds and found.pixels == report.pixels
    _change(RunDirectory(run_dir).panels, "schema", ...)
    assert panel_files.read_index(run_dir).frames == ["a<b/one", "a<b/two"]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"schema": 2}, "schema 2"),
        ({"thresholds": {"road": 0.5}}, "of other classes than thresholds"),
        ({"fraction": "much"}, "field 'fraction'.*'much'"),
        ({"share": 0.5}, "field 'share'"),
    ],
)
def test_label_reports_that_no_run_writes_are_named(tmp_path, changes, words):
    path, _ = _write_label_report(tmp_path, **changes)
    with pytest.raises(UserError, match=f"report.json .*{words}.*--fresh"):
        label_report.read_label_report(path)
