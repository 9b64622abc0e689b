"""The report: one file, true to the runs, with nothing missing and nothing overlapping."""

import base64
import io
import json
import os
import re
import statistics
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from data_pipelines.errors import UserError
from drsl_tf.evaluation import confusion_files
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.reporting import page
from drsl_tf.reporting.groups import group_runs
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs.run_directory import RunDirectory
from tests.support.run_records import NAMES
from tests.support.run_records import ROUNDS
from tests.support.run_records import make_run

_VOID_TAGS = {"meta", "img", "br"}


class _Page(HTMLParser):
    """Checks the nesting of tags; keeps texts, those of charts, and what is referred to."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.sources, self.charts = [], [], [], {}
        self._chart = None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag not in ("script", "link", "iframe", "object", "base"), tag
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            if key in attrs and not attrs[key].startswith("#"):
                self.sources.append(attrs[key])
        if attrs.get("role") == "img":
            self._chart = self.charts.setdefault(attrs["aria-label"], [])
        if tag not in _VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] == "text":
            self._chart.append(data)


def _parse(text):
    parsed = _Page()
    parsed.feed(text)
    parsed.close()
    assert not parsed.open
    return parsed


@pytest.fixture(scope="module")
def report(report_path):
    text = report_path.read_text(encoding="utf-8")
    return text, _parse(text)


def test_the_page_stands_alone(report):
    text, parsed = report
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    frames, per_run = 2, 2 + 3 * (ROUNDS + 1) + ROUNDS
    assert len(parsed.sources) == 3 * frames * per_run
    for source in parsed.sources:
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size == (8, 4)


def test_every_part_is_there(report):
    _, parsed = report
    joined = "\n".join(parsed.texts)
    for title in (
        "Scores",
        "Runs",
        "Over the rounds",
        "IoU by class, before and after adaptation",
        "Pseudo-labels by class",
        "Confusion on the target",
        "Use of the modes",
        "Frames of the target",
        "a<b/one",
        "cbst & more",
        "drsl_2",
    ):
        assert title in joined, title
    assert {
        "Mean IoU on the target",
        "Target pixels with a pseudo-label",
        "drsl: IoU",
        "cbst & more: IoU",
        "drsl, source only",
        "drsl, round 3",
        "drsl_0: shares of the modes, round 3",
    } <= parsed.charts.keys()
    for title in ("drsl: IoU", "drsl, round 3"):
        assert set(NAMES) <= set(parsed.charts[title]), title


def test_modes_are_shown_of_the_first_run_of_each_experiment(tmp_path):
    runs = [make_run(tmp_path, f"run_{seed}", seed=seed, panels=False) for seed in range(2)]
    for run_dir in runs:
        for index in (0, 18):
            path = RunDirectory(run_dir).locate_mode_picture(index)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Image.new("RGB", (20 + index, 9)).save(path)
    text = page.format_report([RunRecord(run_dir) for run_dir in runs])
    parsed = _parse(text)
    assert "Pixels nearest to each mode" in parsed.texts
    assert re.findall('alt="the modes of (.*?)"', text) == ["road in run_0", "bicycle in run_0"]
    shown = [Image.open(io.BytesIO(base64.b64decode(s.split(",")[1]))) for s in parsed.sources]
    assert [picture.size for picture in shown] == [(20, 9), (38, 9)]


def test_means_and_spreads_are_those_of_the_seeds(report, run_dirs):
    _, parsed = report
    scores = [json.load(open(os.path.join(r, "results.json")))["stages"] for r in run_dirs[:3]]
    for stage in (0, ROUNDS):
        mious = [stages[stage]["miou"] for stages in scores]
        assert f"{statistics.mean(mious):.2f} ± {statistics.stdev(mious):.2f}" in parsed.texts
        roads = [stages[stage]["iou"]["road"] for stages in scores]
        expected = f"{statistics.mean(roads):.1f} ± {statistics.stdev(roads):.1f}"
        assert expected in parsed.charts["drsl: IoU"]
    gains = [stages[ROUNDS]["miou"] - stages[0]["miou"] for stages in scores]
    assert f"{statistics.mean(gains):.2f} ± {statistics.stdev(gains):.2f}" in parsed.texts


def test_confusion_is_summed_over_the_seeds(report, run_dirs):
    _, parsed = report
    (group, _) = group_runs([RunRecord(run_dir) for run_dir in run_dirs])
    matrix = group.sum_confusion(ROUNDS)
    share = matrix[0, 0] / matrix[0].sum()
    written = parsed.charts["drsl, round 3"]
    assert f"{100 * share:.0f}" in written
    assert "no class" not in written and "no labelled pixel" in written


def test_the_page_is_the_same_each_time(report, run_dirs):
    assert page.format_report([RunRecord(run_dir) for run_dir in run_dirs]) == report[0]


def test_names_are_shown_as_they_are(tmp_path):
    name = '<b>"$x_1$" & \\frac{$</b>'
    parsed = _parse(page.format_report([RunRecord(make_run(tmp_path, "run", experiment=name))]))
    assert f"{name}: IoU (%)" in parsed.charts[f"{name}: IoU"]
    assert {name, f"{name}, round 3"} <= set(parsed.texts)


def test_a_target_without_labels_is_reported_without_scores(tmp_path):
    run = RunRecord(make_run(tmp_path, "run", labelled=False, panels=False))
    parsed = _parse(page.format_report([run]))
    assert "Confusion on the target" not in parsed.texts
    assert "Mean IoU on the target" not in parsed.charts
    assert "Target pixels with a pseudo-label" in parsed.charts


def test_a_run_that_has_only_begun_is_reported(tmp_path):
    run_dir = make_run(tmp_path, "run")
    path = os.path.join(run_dir, "results.json")
    content = json.load(open(path))
    content["stages"] = content["stages"][:1]
    content["stages"][0]["warnings"] = ["a < b"]
    json.dump(content, open(path, "w"))
    parsed = _parse(page.format_report([RunRecord(run_dir)]))
    assert "drsl: IoU" in parsed.charts and "Pseudo-labels by class" not in parsed.texts
    assert "run, round 0: a < b" in "".join(parsed.texts)


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match="no results.json"):
        RunRecord(str(tmp_path))
    path = tmp_path / "results.json"
    for content, message in (
        ("{", "results.json is invalid: Invalid JSON"),
        ("{}", "field 'schema'"),
        ("[]", "should be an object"),
        (json.dumps(dict(schema=9, experiment="x", seed=0, versions={}, stages=[])), "schema 9"),
        (json.dumps(dict(schema=1, experiment="x", seed=0, versions={}, stages=[])), "no stage"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            RunRecord(str(tmp_path))
    run_dir = make_run(tmp_path, "run")
    with open(RunDirectory(run_dir).locate_confusion(0), "w", encoding="utf-8") as file:
        file.write("a,b\nc,1\n")
    with pytest.raises(UserError, match="round_0.csv"):
        page.format_report([RunRecord(run_dir)])


def test_confusion_files_read_back(tmp_path):
    matrix = np.random.default_rng(0).integers(0, 2**40, (3, 4))
    names = ["a, b", 'c "d"', "e"]
    path = str(tmp_path / "confusion" / "round_0.csv")
    confusion_files.write_confusion(path, ConfusionMatrix.from_matrix(matrix), names)
    read_names, read_matrix = confusion_files.read_confusion(path)
    assert read_names == names
    np.testing.assert_array_equal(read_matrix, matrix)


def test_the_command_takes_run_directories_before_and_after_flags(run_dirs, tmp_path):
    output = tmp_path / "page.html"

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "drsl_tf.report", *arguments], capture_output=True, text=True
        )

    done = call(run_dirs[0], f"--output={output}", run_dirs[3])
    assert done.returncode == 0, done.stderr
    *classes, last = done.stdout.splitlines()
    assert last == f"Report: {output}"
    assert classes[0].split("  ")[0] == "class" and classes[-1].startswith("mean ")
    assert "cbst" in "".join(_parse(output.read_text(encoding="utf-8")).texts)
    for arguments, message in (((), "Name one run"), ((str(tmp_path),), "no results.json")):
        failed = call(*arguments)
        assert failed.returncode == 2 and message in failed.stderr
        assert "Traceback" not in failed.stderr
