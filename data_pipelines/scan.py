"""Looks at your folders and writes the configuration that reads them.

    python -m data_pipelines.scan photos/drawn photos/real --output=mine.gin

The first folder has the labelled images, the source; the second one the unlabelled images, the
target. It finds images and masks, how they pair, what the masks hold, sizes and splits, asks
nothing, and says what it could not tell. The files are only read.
"""

from __future__ import annotations

import os
import shlex

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_OUTPUT = flags.DEFINE_string("output", "mine.gin", "The gin file to write; must not exist.")


def main(folders: list[str]) -> int:
    """Writes the configuration of one or two folders.

    Args:
        folders: the source, and the target.

    Returns:
        Exit code.

    Raises:
        UserError: there is nothing to read, or the output exists.
    """
    if not 1 <= len(folders) <= 2:
        raise UserError(
            "Name one or two folders: python -m data_pipelines.scan SOURCE [TARGET] "
            "[--output=mine.gin]"
        )
    path = _OUTPUT.value
    if os.path.exists(path):
        raise UserError(f"{path} exists; remove it, or choose another --output.")
    from data_pipelines.scanning import configuration  # Imported late, so that --help is fast.

    draft = configuration.draft_configuration(folders[0], folders[1] if folders[1:] else None)
    command = " ".join(shlex.quote(folder) for folder in folders)
    text = draft.write(f"python -m data_pipelines.scan {command}")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}); choose another --output.") from error
    print("\n".join(draft.facts))
    for question in draft.questions:
        print(f"TO DO: {question}")
    print(f"\nWritten: {path}. Next: python -m drsl_tf.inspect {shlex.quote(path)}")
    return 0


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main, takes_arguments=True)


if __name__ == "__main__":
    run()
