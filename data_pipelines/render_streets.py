r"""Renders a data set of street scenes in the layout of SYNTHIA, GTA5 or Cityscapes.

A labelled source domain in the style "game":

    python -m data_pipelines.render_streets --layout=synthia --style=game \
        --count=300 --size=256x128 --seed=1 --out=/tmp/streets_game

A target domain in the style "camera", with 60 scenes in its split "val":

    python -m data_pipelines.render_streets --layout=cityscapes --style=camera \
        --count=300 --val_count=60 --size=256x128 --seed=2 --out=/tmp/streets_camera

Scenes are a function of (seed, index): training scenes have the indices 0 to count - 1, validation
scenes those from count on. In the layouts synthia and gta5, which have no splits, the validation
scenes are the last by name. Labels do not depend on the style.
"""

from __future__ import annotations

import re

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError

flags.DEFINE_string("layout", None, "synthia, gta5 or cityscapes.")
flags.DEFINE_string("out", None, "Directory to make; it must be absent or empty.")
_COUNT = flags.DEFINE_integer("count", None, "Training scenes.")
_VAL_COUNT = flags.DEFINE_integer(
    "val_count",
    None,
    "Validation scenes. Default: for cityscapes a fifth of count, at least 1; "
    "for synthia and gta5 none.",
)
_SIZE = flags.DEFINE_string("size", "256x128", "WIDTHxHEIGHT in pixels.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the set; not negative.")
flags.DEFINE_string("style", None, "game or camera.")


def _parse_size(text):
    """Parses WIDTHxHEIGHT; returns (height, width)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise UserError(f"--size={text}: write WIDTHxHEIGHT in pixels, such as 256x128.")
    return int(match.group(2)), int(match.group(1))


def main() -> None:
    """Renders what the flags ask for."""
    layout, style, out = cli.require_flags("layout", "style", "out")
    if _COUNT.value is None:
        raise UserError("The flag --count is missing: how many training scenes.")
    # NumPy and the renderer come only now, so that --help answers at once.
    from data_pipelines.streets import layouts
    from data_pipelines.streets import rendered

    val_count = _VAL_COUNT.value
    if val_count is None:
        val_count = layouts.default_val_count(layout, _COUNT.value)
    stamp = rendered.make_stamp(
        layout=layout,
        style=style,
        count=_COUNT.value,
        size=_parse_size(_SIZE.value),
        seed=_SEED.value,
        val_count=val_count,
    )
    rendered.render_set(out, stamp)


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
