"""Opens every file of a split and lists those that cannot be used.

    python -m data_pipelines.audit --domain=gta5 --root=data/gta5 --split=train

Images and labels are decoded, as they are before step 0 of a run.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli
from data_pipelines import domain_flags

domain_flags.define_flags()
flags.adopt_module_key_flags(domain_flags)
flags.DEFINE_string("stamp_dir", None, "Folder of the stamp that makes a second audit unnecessary.")


def main() -> int:
    """Audits the split that the flags name and prints one line about it.

    Returns:
        Exit code: 0 for a good split, 3 where files were left out.

    Raises:
        UserError: bad files, or flags that do not fit the reader.
    """
    from data_pipelines.auditing import audit  # Imported late, so that --help is fast.

    domain = domain_flags.make_domain()
    values = flags.FLAGS
    report = audit.audit_split(
        domain, values.split, bad_files=values.bad_files, stamp_dir=values.stamp_dir
    )
    labelled = "labelled pairs" if domain.has_labels(values.split) else "images without labels"
    print(
        f"{domain.name} {values.split}: {len(report.pairs)} good {labelled}, "
        f"{len(report.skipped)} bad files skipped"
        + (f", {len(report.unread)} images without a codec" if report.unread else "")
    )
    return cli.EXIT_SKIPPED if report.skipped or report.unread else 0


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
