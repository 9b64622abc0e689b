"""Measures scoring against cityscapesscripts, and the time of imports and --help."""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import time
import types
from typing import Any

import numpy as np

from benchmarks.timing import ratios
from data_pipelines.errors import UserError

_LABEL_IDS = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
_COMMANDS = (
    "drsl_tf.train",
    "drsl_tf.evaluate",
    "drsl_tf.predict",
    "drsl_tf.export",
    "drsl_tf.report",
    "drsl_tf.inspect",
    "data_pipelines.audit",
    "data_pipelines.prepare",
    "data_pipelines.render_streets",
    "data_pipelines.scan",
    "data_pipelines.write_records",
    "benchmarks.adaptation",
)


def measure_scoring(quick: bool) -> dict[str, Any]:
    """Measures scored pixels per second, both sides on arrays in memory.

    Args:
        quick: whether to use reduced sizes.

    Returns:
        {"ratios": by name, "sizes": sizes used, "checks": the largest difference of an IoU};
        no ratio if cityscapesscripts is not installed.
    """
    from drsl_tf.evaluation.confusion import ConfusionMatrix

    try:
        scripts = importlib.import_module(
            "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
        )
    except ImportError:
        return {"notes": ["cityscapesscripts is not installed: scoring was left out."]}
    from PIL import Image

    size = (256, 512) if quick else (1024, 2048)
    truth, guess = _draw_maps(size)
    table = np.full(256, 255, np.uint8)
    table[_LABEL_IDS] = np.arange(len(_LABEL_IDS))
    ours = ConfusionMatrix(len(_LABEL_IDS))
    own_maps = table[truth], table[guess]
    scripts.args.evalInstLevelScore = False
    matrix = scripts.generateMatrix(scripts.args)
    images = Image.fromarray(guess), Image.fromarray(truth)

    def measure(function):
        began = time.perf_counter()
        function()
        return truth.size / (time.perf_counter() - began)

    opener, scripts.Image = scripts.Image, types.SimpleNamespace(open=lambda image: image)
    try:
        rates = ratios.measure_in_turn(
            {
                "ours": lambda: measure(lambda: ours.update(*own_maps)),
                "theirs": lambda: measure(
                    lambda: scripts.evaluatePair(*images, matrix, {}, {}, scripts.args)
                ),
            },
            5 if quick else 11,
            "scoring",
        )
    finally:
        scripts.Image = opener
    theirs = [scripts.getIouScoreForLabel(i, matrix, scripts.args) for i in _LABEL_IDS]
    return {
        "ratios": {
            "scoring_rate_over_cityscapesscripts": ratios.summarise(rates["ours"], rates["theirs"])
        },
        "sizes": {
            "scoring": {
                "size": list(size),
                "megapixels_a_second": {
                    name: round(max(found) / 1e6, 1) for name, found in rates.items()
                },
                "cityscapesscripts_compiled": bool(scripts.CSUPPORT),
            }
        },
        "checks": {"iou_off_cityscapesscripts": float(np.max(np.abs(ours.iou() - theirs)))},
    }


def measure_commands(quick: bool) -> dict[str, Any]:
    """Measures the time of an import and of every command's --help.

    Args:
        quick: whether to use fewer repetitions.

    Returns:
        {"seconds": medians by name}.

    Raises:
        UserError: one of them fails.
    """
    calls = {"import drsl_tf": ["-c", "import drsl_tf"]}
    calls.update({f"{name} --help": ["-m", name, "--help"] for name in _COMMANDS})

    def measure(arguments):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        if done.returncode:
            raise UserError(f"python {' '.join(arguments)} ended with {done.returncode}.")
        return time.perf_counter() - began

    seconds = ratios.measure_in_turn(
        {name: lambda arguments=arguments: measure(arguments) for name, arguments in calls.items()},
        1 if quick else 5,
        "commands",
    )
    return {"seconds": {n: round(statistics.median(found), 3) for n, found in seconds.items()}}


def _draw_maps(size):
    """Draws labels in blocks, similar to street scenes, and a mostly correct prediction."""
    generator = np.random.default_rng(0)
    truth, noise = (
        generator.choice(_LABEL_IDS, (size[0] // 16, size[1] // 16))
        .astype(np.uint8)
        .repeat(16, axis=0)
        .repeat(16, axis=1)
        for _ in range(2)
    )
    guess = np.where(generator.random(size) < 0.8, truth, noise)
    truth = truth.copy()
    truth[generator.random(size) < 0.05] = 0
    return truth, guess
