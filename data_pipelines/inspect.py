"""The former location of `drsl_tf.inspect`."""

from __future__ import annotations

import sys

from data_pipelines import cli


def run() -> None:
    """Prints the command that replaces this one."""
    print(
        "error: data_pipelines.inspect is now drsl_tf.inspect: "
        "python -m drsl_tf.inspect GIN_FILE ...",
        file=sys.stderr,
    )
    sys.exit(cli.EXIT_BAD_INPUT)


if __name__ == "__main__":
    run()
