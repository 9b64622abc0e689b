"""The lock of a run directory."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from data_pipelines.errors import UserError
from drsl_tf.experiments import launcher
from drsl_tf.runs import run_lock
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.schedule import Schedule
from tests.support import streets
from tests.support import training

_HOLD = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
file.write("process 7 on elsewhere")
file.flush()
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture()
def other_process(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    command = [sys.executable, "-c", _HOLD, RunDirectory(str(tmp_path)).lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(other_process, tmp_path):
    with pytest.raises(UserError, match=f"trains in {tmp_path}: process 7 on elsewhere. .*resume"):
        with run_lock.lock_run(str(tmp_path)):
            pass
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    with run_lock.lock_run(str(tmp_path)):
        pass


def test_the_lock_names_its_holder_serves_its_process_twice_and_leaves_no_file(tmp_path):
    run_dir = str(tmp_path / "new" / "run")
    for _ in range(2):
        with run_lock.lock_run(run_dir):
            with run_lock.lock_run(f"{run_dir}/"):
                pass
            path = RunDirectory(run_dir).lock
            with open(path, encoding="utf-8") as file, pytest.raises(BlockingIOError):
                assert file.read().startswith(f"process {os.getpid()} on ")
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.listdir(run_dir) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_again(tmp_path, monkeypatch):
    path = RunDirectory(str(tmp_path)).lock
    lock = fcntl.flock
    calls_made = []

    def remove_then_lock(descriptor, flags):
        calls_made.append(flags)
        if len(calls_made) == 1:
            os.unlink(path)
        lock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", remove_then_lock)
    with run_lock.lock_run(str(tmp_path)):
        assert len(calls_made) == 2 and os.path.exists(path)


def test_without_locks_in_the_file_system_a_warning_is_logged(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level("WARNING"), run_lock.lock_run(str(tmp_path)):
        assert os.listdir(tmp_path) == []
    assert "cannot be locked (Operation not supported)" in caplog.text


@pytest.mark.parametrize("fresh", [False, True])
def test_a_directory_in_use_is_neither_resumed_nor_moved(other_process, tmp_path, fresh):
    with pytest.raises(UserError, match="Another process trains"):
        launcher.launch(["demo.gin"], run_dir=str(tmp_path), fresh=fresh)
    assert os.listdir(tmp_path) == ["lock"]


def test_a_program_of_the_users_is_refused_before_it_reads_data(other_process, tmp_path):
    data = streets.make_data((str(tmp_path / "absent"), str(tmp_path / "absent")))
    with pytest.raises(UserError, match="Another process trains"):
        training.train(
            tmp_path, data=data, schedule=Schedule(source_steps=1, rounds=0, steps_per_round=0),
            build_model=None, optimizer=None,
        )  # fmt: skip
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_fresh_moves_what_is_no_directory(tmp_path, kind):
    run_dir = tmp_path / "run"
    if kind == "link":
        run_dir.symlink_to(tmp_path / "absent")
    else:
        run_dir.touch()
    with pytest.raises(UserError, match="SOURCE_STEPS|source_steps"):
        launcher.launch(["demo.gin"], ["SOURCE_STEPS = -1"], run_dir=str(run_dir), fresh=True)
    assert os.path.lexists(tmp_path / "run.old-1") and run_dir.is_dir()
    assert not (tmp_path / "absent").exists()


def test_a_remote_run_directory_is_refused():
    with pytest.raises(UserError, match="gs://bucket/run is remote"):
        with run_lock.lock_run("gs://bucket/run"):
            pass
