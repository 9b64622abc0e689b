"""Runs one command many times in one process, so that TensorFlow starts once.

python -m tests.support.processes.command_driver MODULE < LISTS_OF_ARGUMENTS.json
"""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys

from data_pipelines import cli
from tests.support import repository
from tests.support.calls import assert_refused


def call_command(module, calls, cwd):
    """Calls a command in a process of its own.

    Args:
        module: name of the command's module.
        calls: lists of arguments.
        cwd: the folder to stand in.

    Returns:
        For every call a `subprocess.CompletedProcess` with text.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.processes.command_driver", module],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=dict(os.environ, PYTHONPATH=repository.ROOT, TF_CPP_MIN_LOG_LEVEL="3"),
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        subprocess.CompletedProcess(arguments, *result)
        for arguments, result in zip(calls, json.loads(done.stdout.splitlines()[-1]), strict=True)
    ]


def assert_all_refused(module, rows, cwd):
    """Checks that a command refuses each list of arguments in one paragraph with these words.

    Args:
        module: name of the command's module.
        rows: (arguments, words) each.
        cwd: the folder to stand in.
    """
    results = call_command(module, [list(arguments) for arguments, _ in rows], cwd)
    for (_, words), result in zip(rows, results, strict=True):
        assert_refused(result, words)


def _run(module, arguments):
    from absl import flags

    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS.unparse_flags()
    sys.argv = [module.__name__, *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            if hasattr(module, "run"):
                module.run()
            else:  # A benchmark is no installed script.
                cli.run_command(module.main)
            code = 0
        except SystemExit as error:
            code = error.code or 0
        except BaseException as error:
            code = 1
            err.write(f"Traceback: {error!r}")
    return code, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    _MODULE = importlib.import_module(sys.argv[1])
    _RESULTS = [_run(_MODULE, arguments) for arguments in json.load(sys.stdin)]
    print(json.dumps(_RESULTS))
