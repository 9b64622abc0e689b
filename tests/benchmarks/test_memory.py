"""The memory benchmark: its plan, its guard, its record and tables; its numbers are not tested."""

import json
import pathlib
import sys

import pytest

from benchmarks.steps import memory_plan
from benchmarks.steps import memory_record
from benchmarks.steps import networks
from benchmarks.steps import step_server
from data_pipelines.errors import UserError
from tests.support import calls

_ROOT = pathlib.Path(__file__).parents[2]
# Touches 100 MB every time it is asked for steps, and answers.
_GROWING = """
import sys, time
print(1, flush=True)
held = []
for line in sys.stdin:
    for _ in range(int(line)):
        held.append(bytearray(b"1") * 100_000_000)
        time.sleep(0.05)
    print(0.5, flush=True)
print(99, flush=True)
"""
_MEASUREMENT = memory_plan.Measurement("fcn8s_vgg16", "train", 256, 512)


def _found(gigabytes, seconds=(3.0, 1.0, 2.0)):
    return {
        "peak_bytes": None if gigabytes is None else int(gigabytes * 2**30),
        "limit_bytes": 16 * 2**30,
        "seconds": list(seconds),
        "parameters": 10,
        "machine": {},
    }


def test_the_plan_holds_four_networks_at_three_sizes():
    plan = memory_plan.list_measurements()
    assert len(set(plan)) == len(plan)
    places = {(m.network, m.height, m.width, m.step) for m in plan if m.images == 1}
    assert len(places) == 4 * 3 * 2
    assert {m.network for m in plan} <= set(networks.NAMES)
    assert {(m.micro_batches, m.policy) for m in plan if m.images == 2} == {
        (1, "float32"),
        (2, "float32"),
        (1, "mixed_bfloat16"),
    }
    assert memory_plan.list_measurements(network="segformer_b0", size=(64, 96)) == [
        memory_plan.Measurement("segformer_b0", step, 64, 96) for step in ("train", "evaluate")
    ]


def test_a_process_that_outgrows_its_limit_is_ended():
    command = [sys.executable, "-c", _GROWING]
    server = step_server.StepServer(command, limit_bytes=600 * 2**20)
    try:
        assert server.time_steps(1) == 0.5
        with pytest.raises(step_server.MemoryLimitError, match="needed more memory"):
            server.time_steps(100)
    finally:
        server.kill()
    server = step_server.StepServer(command, limit_bytes=2**40)
    assert server.time_steps(1) == 0.5 and server.close() == 99
    server.kill()


def test_a_machine_without_memory_left_is_no_verdict(monkeypatch):
    monkeypatch.setattr("benchmarks.steps.memory_guard.read_available_bytes", lambda: 0)
    with pytest.raises(UserError, match="other programs.*same command again") as error:
        step_server.StepServer([sys.executable, "-c", "input()"], limit_bytes=2**40)
    assert not isinstance(error.value, step_server.MemoryLimitError)


def test_rows_are_added_and_found_again(tmp_path):
    path = str(tmp_path / "new" / "memory.json")
    record = memory_record.MemoryRecord(path)
    record.add(_MEASUREMENT, _found(2.5))
    record.add(_MEASUREMENT._replace(step="evaluate"), _found(1.25, [0.5]))
    again = memory_record.MemoryRecord(path)
    again.add(_MEASUREMENT._replace(height=512, width=1024), _found(None, []))
    again.add(_MEASUREMENT._replace(images=2, micro_batches=2), _found(7))
    again.add(_MEASUREMENT._replace(images=2, micro_batches=2), _found(3))
    rows = json.loads((tmp_path / "new" / "memory.json").read_text())["rows"]
    assert rows == again.rows and rows[:2] == record.rows
    assert again.find(_MEASUREMENT, 2**34)["peak_bytes"] == 2.5 * 2**30
    assert again.find(_MEASUREMENT._replace(policy="mixed_float16"), 2**34) is None
    large = _MEASUREMENT._replace(height=512, width=1024)
    assert again.find(large, 2**34)["peak_bytes"] is None and again.find(large, 2**35) is None
    lines = again.format_markdown().splitlines()
    assert "| FCN-8s, VGG-16 | 256x512 | 2.50 | 2.0 | 1.25 | 0.5 |" in lines
    assert "| FCN-8s, VGG-16 | 512x1024 | did not fit in 16 | - | - | - |" in lines
    assert "| FCN-8s, VGG-16, 256x512 | 2 + 2 | float32 | 2 | 3.00 | 2.0 |" in lines


def test_tables_take_their_place_in_a_document(tmp_path):
    path = tmp_path / "memory.md"
    path.write_text(f"before\n{memory_record.BEGIN}\nold\n{memory_record.END}\nafter\n")
    memory_record.replace_tables(str(path), "| new |\n")
    assert path.read_text() == (
        f"before\n{memory_record.BEGIN}\n| new |\n{memory_record.END}\nafter\n"
    )
    path.write_text("no place")
    with pytest.raises(UserError, match="memory.md has no place for the tables"):
        memory_record.replace_tables(str(path), "| new |\n")


def test_the_document_shows_the_record():
    record = memory_record.MemoryRecord(str(_ROOT / "benchmarks" / "results" / "memory.json"))
    text = (_ROOT / "docs" / "performance.md").read_text()
    shown = text.split(memory_record.BEGIN)[1].split(memory_record.END)[0]
    assert record.rows and shown == "\n" + record.format_markdown()


@pytest.mark.slow
def test_quick_run_is_resumed(tmp_path):
    command = ["-m", "benchmarks.memory", f"--output={tmp_path}"]
    command += ["--network=segformer_b0", "--size=33x50"]
    assert calls.read_output(*command).count("running.") == 2
    rows = json.loads((tmp_path / "memory.json").read_text())["rows"]
    assert [row["step"] for row in rows] == ["train", "evaluate"]
    for row in rows:
        assert 2**28 < row["peak_bytes"] < 2**32
        assert len(row["seconds"]) > 1
    again = calls.read_output(*command)
    assert again.count("running.") == 0
    assert "peak memory" in again and "| SegFormer, MiT-B0 | 33x50 |" in again
    unfit = [*command[:-1], "--size=32x64", "--limit_gigabytes=0.1"]
    assert "did not fit in 0.1 GB" in calls.read_output(*unfit)


def test_a_size_that_is_none_is_one_paragraph():
    result = calls.call_python("-m", "benchmarks.memory", "--size=512")
    calls.assert_refused(result, "HEIGHTxWIDTH")
