"""The command that exports a checkpoint of a run, as the last lines of its output name it."""

from __future__ import annotations

import os
import shlex


def format_export(run_dir: str, checkpoint: str) -> str:
    """Formats the command.

    Args:
        run_dir: the run's directory.
        checkpoint: "source" or "selected", which also ends the name of the output.

    Returns:
        The command, quoted for a shell.
    """
    output = f"models/{os.path.basename(os.path.abspath(run_dir))}_{checkpoint}"
    return (
        f"python -m drsl_tf.export --run_dir={shlex.quote(run_dir)} --checkpoint={checkpoint} "
        f"--output={shlex.quote(output)}"
    )
