"""The speed benchmark's arithmetic, its servers and its record; its numbers are not tested."""

import json
import sys

import pytest

from benchmarks.steps import step_server
from benchmarks.timing import ratios
from benchmarks.timing import speed_data
from benchmarks.timing import speed_report
from benchmarks.timing import speed_scoring
from benchmarks.timing import speed_steps
from data_pipelines.errors import UserError
from tests.support import calls

_SERVER = """
import sys
print("a greeting")
print(17)
sys.stdout.flush()
for line in sys.stdin:
    print(int(line) / 10, flush=True)
print(12345)
"""


def test_ratios_pair_by_repetition():
    found = ratios.summarise([2.0, 30.0, 3.0], [1.0, 10.0, 2.0])
    assert found == {"value": 2.0, "low": 1.5, "high": 3.0, "repetitions": 3}
    for pair in (([1.0], []), ([], [])):
        with pytest.raises(ValueError, match="pair"):
            ratios.summarise(*pair)


def test_things_are_measured_in_turn():
    done = []
    measures = {name: lambda name=name: done.append(name) or len(done) for name in "ab"}
    found = ratios.measure_in_turn(measures, 3, "t")
    assert "".join(done) == "abbaab"
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_server_answers_and_says_its_peak():
    server = step_server.StepServer([sys.executable, "-c", _SERVER])
    try:
        assert server.num_parameters == 17
        assert [server.time_steps(5), server.time_steps(7)] == [0.5, 0.7]
        assert server.close() == 12345
    finally:
        server.kill()


def test_a_server_that_fails_is_a_clear_error():
    with pytest.raises(UserError, match="ended early: ValueError: no luck"):
        step_server.StepServer([sys.executable, "-c", "raise ValueError('no luck')"])


def test_thresholds_equal_exact_sorting_within_a_bin():
    assert speed_data.compare_thresholds(pixels=20_000) <= 1


def test_scoring_gives_the_same_numbers():
    found = speed_scoring.measure_scoring(quick=True)
    assert found["checks"]["iou_off_cityscapesscripts"] < 1e-12
    assert found["ratios"]["scoring_rate_over_cityscapesscripts"]["repetitions"] == 5


def test_the_record_keeps_the_parts_that_are_not_measured_again(tmp_path):
    path = str(tmp_path / "new" / "speed.json")
    entry = ratios.summarise([1.2], [1.0])
    report = speed_report.SpeedReport(path, quick=False)
    report.add("steps", {"ratios": {"step_time_drsl_over_cbst": entry}})
    report.add("labels", {"ratios": {"x": entry}, "checks": {"y": 0}, "notes": ["a note"]})
    again = speed_report.SpeedReport(path, quick=False)
    again.add("labels", {"ratios": {"x": ratios.summarise([3.0], [1.0])}})
    with open(path) as file:
        content = json.load(file)
    assert content == again.as_dict()
    assert content["ratios"]["step_time_drsl_over_cbst"] == entry
    assert content["ratios"]["x"]["value"] == 3.0
    assert "| step_time_drsl_over_cbst | 1.200 |" in again.format_markdown()
    # Numbers of the reduced size never mix with those of the full one.
    assert speed_report.SpeedReport(path, quick=True).as_dict()["ratios"] == {}


def test_no_environment_is_made_unasked(tmp_path):
    assert speed_steps.find_torch(str(tmp_path / "none"), install=False) is None
    assert not (tmp_path / "none").exists()


def test_unknown_parts_are_one_paragraph():
    result = calls.call_python("-m", "benchmarks.speed", "--only=step")
    calls.assert_refused(result, "pipeline")
