"""Prints docs/configuration.md: everything that a configuration can bind, from the code.

python -m drsl_tf.describe_bindings > docs/configuration.md
"""

from __future__ import annotations

from data_pipelines import cli


def main() -> None:
    """Prints the page."""
    from drsl_tf.config import bindings_page  # Imported late to keep --help fast.

    print(bindings_page.format_page(), end="")


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
