"""Measures whether the modes of a finished run's last model distinguish hidden classes.

  python -m benchmarks.mode_measurement --run_dir=runs/mine --setup=streets7 --output=modes.json

The source is measured on its validation split if it has one, otherwise on training images, the
target on its evaluation split. `benchmarks.modes.hidden_classes.measure` describes the numbers.
"""

from __future__ import annotations

from absl import flags

from benchmarks.comparison import adaptation_arms
from data_pipelines import cli
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces

_RUN_DIR = flags.DEFINE_string("run_dir", None, "The run.")
_SETUP = flags.DEFINE_string("setup", None, "Its setup, which has hidden classes.")
_OUTPUT = flags.DEFINE_string("output", None, "Output JSON file.")
_IMAGES = flags.DEFINE_integer("images", 500, "Most images of a domain, evenly spread.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of k-means.")
_INITIAL = flags.DEFINE_bool(
    "initial", False, "Measure k-means on the features before any training, and no modes."
)

_CLUSTERS = 3  # Of k-means, beside a single mode or none.


def main() -> None:
    """Measures a run and writes the numbers."""
    cli.require_flags("run_dir", "setup", "output")
    setup = adaptation_arms.find_setup(_SETUP.value)
    if not setup.hidden_params:
        raise UserError(f"--setup={_SETUP.value} has no hidden classes.")
    if _IMAGES.value < 1:
        raise UserError(f"--images={_IMAGES.value} must be at least 1.")
    from benchmarks.modes import hidden_classes  # Imported late to keep --help fast.
    from data_pipelines.batches.whole_images import spread_evenly
    from drsl_tf import files
    from drsl_tf.experiments import loaded_run
    from drsl_tf.experiments.experiment import Experiment
    from drsl_tf.runs.run_directory import RunDirectory

    run = loaded_run.load_run(_RUN_DIR.value)
    config = RunDirectory(_RUN_DIR.value).config
    model = Experiment([config]).build_model() if _INITIAL.value else run.model
    inference = run.experiment.get("inference")
    categories = run.experiment.label_space
    # gin has one configuration in a process: from here on it is that of the hidden classes.
    experiment = Experiment([config], setup.hidden_params)
    source, target = experiment.get("data", "source"), experiment.get("data", "target")
    classes = target.label_space
    to_category = label_spaces.lookup_table(label_spaces.convert(classes, categories), 256)
    names = {
        "source": "val" if "val" in (source.splits or ()) else "train",
        "target": experiment.get("data", "eval_split"),
    }
    splits = {
        role: (domain, spread_evenly(domain.list_pairs(names[role]), _IMAGES.value))
        for role, domain in (("source", source), ("target", target))
    }
    num_modes = model.multimodal_head.modes_per_class
    content = hidden_classes.measure(
        hidden_classes.PixelReader(model, to_category, inference),
        splits,
        num_modes,
        # The baseline is one for all methods.
        num_modes if num_modes > 1 and not _INITIAL.value else _CLUSTERS,
        (categories, classes),
        _SEED.value,
    )
    if _INITIAL.value:
        content = {"kmeans": content["kmeans"]}
    images = {role: len(pairs) for role, (_, pairs) in splits.items()}
    files.write_json(_OUTPUT.value, {"splits": names, "images": images, **content})


if __name__ == "__main__":
    cli.run_command(main)
