"""How each document's commands are run here: the one table of it.

A document that is not listed is run as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.support import streets


class Shortening(NamedTuple):
    """What is done to the commands of one document.

    Attributes:
        prepare: commands that run first, for what the reader is taken to have.
        extra: (pattern, words): the words are put at the end of every call of python that the
            pattern is found in; the first pattern counts, in `prepare` too.
        replace: (old, new): text of commands, such as the values that a loop goes over.
        impossible: pattern -> why a command that it is found in cannot run here.
    """

    prepare: Sequence[str] = ()
    extra: Sequence[tuple[str, list[str]]] = ()
    replace: Sequence[tuple[str, str]] = ()
    impossible: dict[str, str] = {}


def _params(*lines: str) -> list[str]:
    return [f"--gin_param={line}" for line in lines]


_STEPS = ("SOURCE_STEPS = 2", "ROUNDS = 1", "STEPS_PER_ROUND = 2")
_TINY_DEMO = _params(
    *_STEPS, *streets.list_demo_bindings("data/streets", source=4, target=3, val=2)
)
# The recipes' files, data and stages with a small network at a small size; what they mean with
# their own networks is tested in tests/drsl_tf/test_recipes.py.
_TINY_RECIPE = [
    "--gin_file=models/small_cnn.gin",
    *_params(
        *_STEPS,
        "CROP = (32, 64)",
        "SOURCE_SIZE = (32, 64)",
        "TARGET_SIZE = (32, 64)",
        "LABEL_SIZE = None",
    ),
]
_TINY_OWN_DATA = (
    r"(inspect|--gin_file=) ?mine.gin",
    _params(*_STEPS, "SIZE = (32, 64)", "CROP = (32, 64)", "WEIGHTS = None"),
)
_NO_SOURCE_STAGE = "--gin_param=SOURCE_STEPS = 0"
_TINY_RENDERING = ("render_streets", ["--count=3", "--size=64x32"])
_SMALL_SCENES = ["--height=64", "--width=128", "--repetitions=1"]
_STAND_INS = [
    f"python -m data_pipelines.render_streets --layout={layout} --style={style} --out=data/{layout}"
    for layout, style in (("gta5", "game"), ("synthia", "game"), ("cityscapes", "camera"))
]
# Data sets that the renderer does not write, in their true layouts.
_FIXTURES = """python -c "
from tests.support import data_sets
for name in ('acdc', 'bdd100k', 'dark_zurich', 'idd'):
    for split in ('train', 'val'):
        getattr(data_sets, 'write_' + name)('data/' + name, split)
" """
# Cityscapes' own evaluation opens these too; the renderer knows no instances.
_INSTANCES = """for file in data/cityscapes/gtFine/val/*/*_labelIds.png; do
cp $file ${file/labelIds/instanceIds}
done"""
_PHOTO_FOLDERS = """python -c "
import pathlib
from tests.support import photo_folders
photo_folders.write_photos(pathlib.Path('photos'))
" """
_TOOL_EXPORTS = """python -c "
from tests.support import tool_exports
for name in ('plain', 'carla', 'cvat', 'unity', 'replicator', 'labelme', 'coco'):
    getattr(tool_exports, 'write_' + name)('exports/' + name)
" """
_PHOTOS = ["mkdir -p photos", "cp data/streets/camera/leftImg8bit/val/*/*.png photos"]

TABLE: dict[str, Shortening] = {
    "README.md": Shortening(
        prepare=[_PHOTO_FOLDERS, "mv photos/drawn renders", "mv photos/real/images photos/images"],
        extra=[_TINY_OWN_DATA, ("drsl_tf.train", _TINY_DEMO)],
        impossible={"^pip": "the environment is there already"},
    ),
    "docs/domains.md": Shortening(
        prepare=[
            *_STAND_INS,
            _FIXTURES,
            "python -m drsl_tf.train --gin_file=gta2cs.gin --run_dir=runs/gta2cs",
        ],
        extra=[
            ("drsl_tf.train", _TINY_RECIPE),
            _TINY_RENDERING,
            ("write_records", ["--shards=2"]),
        ],
        # A folder that can be made here.
        replace=[("/shared", "shared")],
        impossible={"data_pipelines.prepare": "needs the downloads"},
    ),
    "docs/own_data.md": Shortening(
        prepare=[_PHOTO_FOLDERS, _TOOL_EXPORTS],
        extra=[("source_free.gin", [*_TINY_OWN_DATA[1], _NO_SOURCE_STAGE]), _TINY_OWN_DATA],
        # All are read in tests/data_pipelines/test_scan.py.
        replace=[("in plain carla cvat unity replicator labelme coco", "in coco")],
    ),
    "docs/performance.md": Shortening(
        prepare=["mkdir docs", 'cp "$DRSL_TF_ROOT/docs/performance.md" docs'],
        extra=[("benchmarks.memory", ["--quick"])],
    ),
    "docs/recipes.md": Shortening(
        prepare=_STAND_INS,
        extra=[
            ("source_free.gin", [*_TINY_RECIPE, _NO_SOURCE_STAGE]),
            ("drsl_tf.train", _TINY_RECIPE),
            _TINY_RENDERING,
        ],
        impossible={
            "import numpy, torch": "needs PyTorch and a file of other people's weights",
            "import keras_hub": "downloads other people's weights",
            "^python -m data_pipelines.render_streets": "its data sets are there already",
            "WEIGHTS = None": "a true network at full size; test_recipes.py trains each",
        },
    ),
    "docs/reproduce.md": Shortening(
        prepare=[*_STAND_INS, _INSTANCES],
        extra=[("drsl_tf.train", _TINY_RECIPE), _TINY_RENDERING],
        # One of each kind; that the others resolve is tested without running them.
        replace=[
            ("for seed in 0 1 2", "for seed in 0"),
            ("in gta2cs_source_only crst_gta2cs gta2cs synthia2cs_source_only", "in gta2cs"),
            ("in daformer_gta2cs daformer_synthia2cs", "in daformer_gta2cs"),
        ],
        impossible={
            "unzip|unrar|^mv": "needs the downloads",
            "^pip": "the environment is there already",
        },
    ),
    "docs/reliability.md": Shortening(
        impossible={"^DRSL_TF_KILLS": "the suite runs it with fewer kills"},
    ),
    "docs/results.md": Shortening(
        impossible={"^python -m benchmarks.adaptation": ".ci/run runs one setup, reduced"},
    ),
    "docs/runs.md": Shortening(
        prepare=[
            "python -m drsl_tf.train --gin_file=demo_statistics.gin --run_dir=runs/demo_statistics"
        ],
        extra=[("drsl_tf.train", _TINY_DEMO)],
        impossible={"^tensorboard": "serves until it is stopped"},
    ),
    "docs/security.md": Shortening(
        impossible={
            "^pip install": "needs a network",
            "^DRSL_TF_MUTATIONS": "the suite runs it with fewer inputs",
        },
    ),
    "docs/serving.md": Shortening(
        prepare=["python -m drsl_tf.train --gin_file=demo.gin --run_dir=runs/demo", *_PHOTOS],
        extra=[("drsl_tf.train", _TINY_DEMO)],
    ),
    "docs/scaling.md": Shortening(
        prepare=_STAND_INS,
        extra=[
            ("drsl_tf.train", _TINY_RECIPE),
            _TINY_RENDERING,
            ("pipeline_worker", [*_SMALL_SCENES, "--crop_width=64", "--scenes=4"]),
            ("label_worker", _SMALL_SCENES),
        ],
        # A folder that can be made here.
        replace=[("/shared", "shared")],
        impossible={"^DRSL_TF_WORKER_FAILURES": "the suite runs it with one failure"},
    ),
}
