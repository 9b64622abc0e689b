r"""Writes a split of a data set as sharded TFRecord files with an index.

    python -m data_pipelines.write_records --domain=gta5 --root=data/gta5 --split=train \
        --output=gs://bucket/gta5 --shards=64

The reader `records` takes them in the loose files' place, in the audit and in training:

    records.Records.root = "gs://bucket/gta5"

Images are kept as they are; labels become 8-bit PNGs of ids of --label_space. The split is audited
first: exit code 2 where files are bad, 3 where --bad_files=skip left them out. Nothing is ever
overwritten.
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
        Exit code: 0, or 3 where bad files were left out.
    """
    (output,) = cli.require_flags("output")
    if _SHARDS.value is not None and _SHARDS.value < 1:
        raise UserError(f"--shards={_SHARDS.value}: write at least 1.")
    domain = domain_flags.make_domain()
    from data_pipelines import record_writer  # Pillow and NumPy come late, --help must not.

    report = record_writer.write_split(
        domain,
        flags.FLAGS.split,
        output,
        num_shards=_SHARDS.value,
        bad_files=flags.FLAGS.bad_files,
    )
    print(
        f"{domain.name} {flags.FLAGS.split}: {len(report.pairs)} images written to "
        f"{output}, {len(report.skipped)} bad files skipped"
    )
    return cli.EXIT_SKIPPED if report.skipped else 0


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
