r"""Writes a split of a data set as TFRecord files of `tf.train.Example`, with an index.

    python -m data_pipelines.write_records --domain=gta5 --root=data/gta5 --split=train \
        --output=gs://bucket/gta5 --shards=64

The reader `records` takes them in the loose files' place, in the audit and in training:

    records.Records.root = "gs://bucket/gta5"

`docs/domains.md` lists the features. Images are kept as they are; labels become 8-bit PNGs
of ids of --label_space. The split is audited first: exit code 2 where files are bad, 3 where
--bad_files=skip left them out. Nothing is ever overwritten.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli
from data_pipelines import domain_flags
from data_pipelines.errors import UserError

domain_flags.define_flags()
flags.adopt_module_key_flags(domain_flags)
flags.DEFINE_string("output", None, "Folder to write to, any path that TensorFlow takes.")
_SHARDS = flags.DEFINE_integer("shards", None, "TFRecord files. Default: one for 500 images.")


def main() -> int:
    """Writes what the flags name.

    Returns:
        Exit code: 0, or 3 where files were left out.
    """
    (output,) = cli.require_flags("output")
    if _SHARDS.value is not None and _SHARDS.value < 1:
        raise UserError(f"--shards={_SHARDS.value}: write at least 1.")
    domain = domain_flags.make_domain()
    # Pillow and NumPy come late, --help must not wait for them.
    from data_pipelines.auditing import audit
    from data_pipelines.domains.records import writer

    split = flags.FLAGS.split
    writer.check_output(output, split)
    report = audit.audit_split(domain, split, bad_files=flags.FLAGS.bad_files)
    writer.write_split(domain, split, report.pairs, output, num_shards=_SHARDS.value)
    print(
        f"{domain.name} {split}: {len(report.pairs)} images written to "
        f"{output}, {len(report.skipped)} bad files skipped"
        + (f", {len(report.unread)} images without a codec" if report.unread else "")
    )
    return cli.EXIT_SKIPPED if report.skipped or report.unread else 0


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
