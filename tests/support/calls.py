"""Calls of Python in processes of their own, and what their errors look like."""

import os
import subprocess
import sys

from data_pipelines import cli
from tests.support import repository


def call_python(*arguments, cwd=None, timeout=300, **variables):
    """Runs Python with this repository's packages.

    Args:
        *arguments: of the interpreter, such as "-m", "drsl_tf.train", "--help".
        cwd: the working directory; this process's own if None.
        timeout: seconds after which the test fails.
        **variables: further environment variables.

    Returns:
        A `subprocess.CompletedProcess` with text.
    """
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": repository.ROOT,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **variables,
        },
        timeout=timeout,
    )


def read_output(*arguments, **options):
    """Runs Python as `call_python` does and checks that it succeeds; returns standard output."""
    result = call_python(*arguments, **options)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout


def assert_refused(result, *words):
    """Checks that a command refused its input in one paragraph that holds these words."""
    assert result.returncode == cli.EXIT_BAD_INPUT, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    error = result.stderr[result.stderr.index("error: ") :]
    assert "\n\n" not in error.strip(), "an error is one paragraph"
    for word in words:
        assert word in error, error
