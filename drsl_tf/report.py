"""Writes an HTML report of finished runs: curves, classes, confusion, images, seeds.

  python -m drsl_tf.report runs/demo
  python -m drsl_tf.report runs/demo_statistics runs/demo --output=comparison.html \
      --figure=comparison.png

Prints the IoU of every class: of the source stage of the first experiment, and of the last round of
each. Runs of the same experiment are its seeds. The page needs no network connection.
"""

from __future__ import annotations

import os

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

_OUTPUT = flags.DEFINE_string("output", "report.html", "The HTML file to write.")

_FIGURE = flags.DEFINE_string(
    "figure", None, "A PNG to write: frames of the target with the predictions side by side."
)


def main(run_dirs: list[str]) -> None:
    """Writes the report."""
    if not run_dirs:
        raise UserError("Name one run directory or several: python -m drsl_tf.report RUN_DIR ...")
    cli.require_flags("output")
    from drsl_tf.reporting import page  # Imported late to keep --help fast.

    print(page.write_report(run_dirs, _OUTPUT.value, _FIGURE.value))
    if _FIGURE.value:
        print(f"Figure: {os.path.abspath(_FIGURE.value)}")
    print(f"Report: {os.path.abspath(_OUTPUT.value)}")


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main, takes_arguments=True)


if __name__ == "__main__":
    run()
