"""What the command of `data_pipelines.audit` does with its flags."""

from __future__ import annotations

from typing import Callable

from absl import flags

from data_pipelines import cli
from data_pipelines import domain_flags


def audit_by_flags(audit_split: Callable) -> int:
    """Audits the split that the flags name and prints one line about it.

    Args:
        audit_split: `audit.audit_split`.

    Returns:
        Exit code: 0 for a good split, 3 where bad files were skipped.

    Raises:
        UserError: bad files, or flags that do not fit the reader.
    """
    domain = domain_flags.make_domain()
    values = flags.FLAGS
    report = audit_split(
        domain, values.split, bad_files=values.bad_files, stamp_dir=values.stamp_dir
    )
    labelled = "labelled pairs" if domain.has_labels(values.split) else "images without labels"
    print(
        f"{domain.name} {values.split}: {len(report.pairs)} good {labelled}, "
        f"{len(report.skipped)} bad files skipped"
    )
    return cli.EXIT_SKIPPED if report.skipped else 0
