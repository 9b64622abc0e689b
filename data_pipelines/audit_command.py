"""The audit as a command: from flags to a reader and a verdict."""

from __future__ import annotations

import inspect

from data_pipelines import cli
from data_pipelines.errors import UserError

_OPTIONS = (
    "label_space", "max_pixels", "val_count", "images", "masks", "mask_suffix", "class_names",
    "id_table", "splits",
)  # fmt: skip


def audit_by_flags(flags) -> int:
    """Audits the split that the flags name and prints one line about it.

    Args:
        flags: the command's parsed flags.

    Returns:
        Exit code: 0 for a good split, 3 where bad files were skipped.

    Raises:
        UserError: bad files, or flags that do not fit the reader.
    """
    from data_pipelines import audit
    from data_pipelines import domains

    cli.require_flags("domain", "root", "split")
    reader = domains.find_reader(flags.domain)
    known = inspect.signature(reader.__init__).parameters
    options = {}
    for name in _OPTIONS:
        value = flags[name].value
        if value is None:
            continue
        if name not in known:
            raise UserError(f"--{name} does not apply to --domain={flags.domain}; leave it out.")
        options[name] = _parse_option(name, value)
    domain = reader(root=flags.root, **options)
    report = audit.audit_split(
        domain, flags.split, bad_files=flags.bad_files, stamp_dir=flags.stamp_dir
    )
    labelled = "labelled pairs" if domain.has_labels(flags.split) else "images without labels"
    print(
        f"{domain.name} {flags.split}: {len(report.pairs)} good {labelled}, "
        f"{len(report.skipped)} bad files skipped"
    )
    return cli.EXIT_SKIPPED if report.skipped else 0


def _parse_option(name, value):
    from data_pipelines import label_spaces

    if name == "label_space":
        if value not in label_spaces.DECLARED_SPACES:
            raise UserError(
                f"--label_space={value}: choose one of {', '.join(label_spaces.DECLARED_SPACES)}."
            )
        return label_spaces.DECLARED_SPACES[value]()
    if name == "id_table":
        return dict(_split_entry(name, entry, ":", int) for entry in value)
    if name == "splits":
        return dict(_split_entry(name, entry, "=", str) for entry in value)
    return value


def _split_entry(name, entry, separator, kind):
    left, found, right = entry.partition(separator)
    try:
        if not found:
            raise ValueError
        return kind(left.strip()), kind(right.strip())
    except ValueError:
        raise UserError(
            f"--{name} has the entry {entry!r}; write NAME{separator}VALUE, separated by commas."
        ) from None
