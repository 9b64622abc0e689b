r"""Scores a run, an exported model, or label maps on disk, on a labelled split.

  python -m drsl_tf.evaluate --run_dir=runs/demo
  python -m drsl_tf.evaluate --run_dir=runs/demo --scales=0.9,1.0,1.2 --flip --checkpoint=best
  python -m drsl_tf.evaluate --run_dir=runs/gta2cs --gin_file=gta2cs.gin \
      --gin_file=data/acdc_target.gin
  python -m drsl_tf.evaluate --model=models/demo --gin_file=demo.gin --output=scores
  python -m drsl_tf.evaluate --predictions=labelled/ids --gin_file=demo.gin --output=scores

The target and its split are those of the run's config.gin, or of --gin_file. The
outputs are evaluation.json, confusion.csv and confusion.png.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

from absl import flags

from data_pipelines import cli
from data_pipelines.errors import UserError
from drsl_tf.runs.run_directory import EvaluationDirectory
from drsl_tf.runs.run_directory import RunDirectory

flags.DEFINE_string("run_dir", None, "The run to score.")
flags.DEFINE_string("model", None, "The SavedModel, .tflite or .onnx file to score.")
flags.DEFINE_string("predictions", None, "The folder of label maps to score.")
_GIN_FILE = flags.DEFINE_multi_string(
    "gin_file", [], "Configuration of the target to score on; default: the run's."
)
_GIN_PARAM = flags.DEFINE_multi_string("gin_param", [], "Additional binding of that configuration.")
_SPLIT = flags.DEFINE_string("split", None, "The target's split; default: its eval_split.")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Output folder; default: one in RUN_DIR/evaluation, named after the other flags.",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "last",
    "'last'; 'source', before adaptation; 'best', which was chosen with target labels; 'selected', "
    "without them; or a name such as ckpt-12.",
)
_SCALES = flags.DEFINE_list("scales", ["1.0"], "Scale factors of multi-scale testing.")
_FLIP = flags.DEFINE_bool("flip", False, "Average with the mirrored image.")
_WINDOW = flags.DEFINE_string("window", "none", "Size of sliding windows, HEIGHTxWIDTH, or 'none'.")
_STRIDE = flags.DEFINE_string(
    "stride", "none", "Stride of sliding windows, DOWNxRIGHT; 'none' is two thirds of a window."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Images per batch; default: the experiment's inference batch size."
)
# A file's name has at most 255 bytes.
_LONGEST_BINDINGS = 100
# By what is scored, flags that it does not read.
_WITHOUT_EFFECT = {
    "run_dir": (),
    "model": ("checkpoint",),
    "predictions": ("checkpoint", "scales", "flip", "window", "stride", "batch_size"),
}


def main() -> None:
    """Evaluates and writes the report."""
    given = [name for name in ("run_dir", "model", "predictions") if flags.FLAGS[name].value]
    if len(given) != 1:
        raise UserError("Give one of --run_dir, --model and --predictions to score.")
    (kind,) = given
    (path,) = cli.require_flags(kind)
    if kind != "run_dir":
        cli.require_flags("gin_file", "output")
    for name in _WITHOUT_EFFECT[kind]:
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect with --{kind}: leave it out.")
    if _BATCH_SIZE.value is not None and _BATCH_SIZE.value < 1:
        raise UserError(f"--batch_size={_BATCH_SIZE.value} must be at least 1.")
    from drsl_tf.evaluation.multi_scale import TestProtocol
    from drsl_tf.experiments import run_evaluation  # Imported late to keep --help fast.

    try:
        scales = tuple(float(scale) for scale in _SCALES.value)
    except ValueError as error:
        raise UserError(f"--scales={','.join(_SCALES.value)} must be numbers.") from error
    protocol = TestProtocol(
        scales=scales,
        flip=_FLIP.value,
        window=cli.parse_size(_WINDOW.value, otherwise="none"),
        stride=cli.parse_size(_STRIDE.value, otherwise="none"),
    )
    target = (_GIN_FILE.value, _GIN_PARAM.value)
    options: dict[str, Any] = {
        "split": _SPLIT.value,
        "protocol": protocol,
        "batch_size": _BATCH_SIZE.value,
    }
    if kind == "run_dir":
        report = run_evaluation.evaluate_run(path, *target, checkpoint=_CHECKPOINT.value, **options)
    elif kind == "model":
        report = run_evaluation.evaluate_model(path, *target, **options)
    else:
        report = run_evaluation.evaluate_predictions(path, *target, split=_SPLIT.value)
    output = EvaluationDirectory(_OUTPUT.value or _name_output(path, protocol))
    paths = (output.scores, output.confusion, output.picture)
    report.write(*paths)
    print(report.format_table())
    print("\n" + "\n".join(paths))


def _name_output(run_dir, protocol):
    """Returns a folder of the run, named after the options of the test."""
    targets = [os.path.splitext(os.path.basename(path))[0] for path in _GIN_FILE.value]
    bindings = " ".join(_GIN_PARAM.value)
    if len(bindings) > _LONGEST_BINDINGS:
        digest = hashlib.sha256(bindings.encode()).hexdigest()[:8]
        bindings = f"{bindings[:_LONGEST_BINDINGS]} {digest}"
    parts = [_CHECKPOINT.value, *targets, bindings, _SPLIT.value or "", protocol.name]
    name = re.sub(r"[^\w.+-]+", "_", " ".join(filter(None, parts))).strip("_")
    return RunDirectory(run_dir).locate_evaluation(name)


def run() -> None:
    """Runs the command from an installed script."""
    cli.run_command(main)


if __name__ == "__main__":
    run()
