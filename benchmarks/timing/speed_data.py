"""Measures pseudo-labelling and the input pipeline in worker processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.timing import ratios
from data_pipelines.errors import UserError

_NUM_CLASSES = 19


def measure_labelling(quick: bool, folder: str) -> dict[str, Any]:
    """Measures pseudo-labelling against bare inference, and its memory over images.

    Args:
        quick: whether to use reduced sizes.
        folder: folder for rendered street scenes.

    Returns:
        {"ratios": by name, "sizes": sizes used, "checks": thresholds against exact sorting}.
    """
    size = (64, 128) if quick else (128, 256)
    repetitions = 3 if quick else 7
    root = os.path.join(folder, f"label_{size[0]}x{size[1]}")
    arguments = [f"--root={root}", f"--height={size[0]}", f"--width={size[1]}"]
    timed = _run_worker(
        "label_worker",
        *arguments,
        f"--images={24 if quick else 200}",
        f"--repetitions={repetitions}",
        f"--network={'small_cnn' if quick else 'efficientnet_lite0'}",
    )
    peaks: dict[int, list] = {100: [], 1000: []}
    for _ in range(1 if quick else 3):
        for images, found in peaks.items():
            worker = _run_worker("label_worker", *arguments, f"--images={images}")
            found.append(worker["peak_bytes"])
    pixels = size[0] * size[1] * 1000
    from drsl_tf.self_training.thresholds import ConfidenceHistogram

    kept = ConfidenceHistogram(_NUM_CLASSES).counts.nbytes
    return {
        "ratios": {
            "pseudo_label_over_inference": ratios.summarise(
                timed["label_seconds"], timed["bare_seconds"]
            ),
            "pseudo_label_memory_1000_over_100": ratios.summarise(peaks[1000], peaks[100]),
        },
        "sizes": {
            "pseudo-labelling": {
                "size": list(size),
                "peak_megabytes": {str(n): round(min(found) / 2**20) for n, found in peaks.items()},
                "host_milliseconds_an_image": {
                    name: round(statistics.median(values), 2)
                    for name, values in timed["host_milliseconds"].items()
                },
                "every_confidence_over_histogram_1000_images": round(4 * pixels / kept, 1),
                "every_confidence_over_histogram_cityscapes": round(
                    4 * 2975 * 1024 * 512 / kept, 1
                ),
            }
        },
        "checks": {"threshold_bins_off_exact_sorting": compare_thresholds()},
    }


def measure_prediction(quick: bool, folder: str) -> dict[str, Any]:
    """Measures the prediction of a folder of photos against the bare model.

    Args:
        quick: whether to use reduced sizes.
        folder: folder for rendered street scenes.

    Returns:
        {"ratios": by name, "sizes": sizes used}.
    """
    images, side, network = (24, 128, "small_cnn") if quick else (500, 640, "efficientnet_lite0")
    rates = _run_worker(
        "predict_worker",
        f"--root={os.path.join(folder, f'predict_{side}')}",
        f"--images={images}",
        f"--long_side={side}",
        f"--repetitions={3 if quick else 5}",
        f"--network={network}",
    )
    return {
        "ratios": {
            "predict_over_bare_model": ratios.summarise(rates["folder_rates"], rates["bare_rates"])
        },
        "sizes": {
            "prediction": {
                "images": images,
                "long_side": side,
                "network": network,
                "images_a_second": {
                    name: round(max(found), 2) for name, found in sorted(rates.items())
                },
            }
        },
    }


def measure_pipeline(quick: bool, folder: str) -> dict[str, Any]:
    """Measures training batches against decoding, and waiting in a training run.

    Args:
        quick: whether to use reduced sizes.
        folder: folder for rendered street scenes.

    Returns:
        {"ratios": by name, "sizes": sizes used}.
    """
    size = (128, 256) if quick else (512, 1024)
    network = "small_cnn" if quick else "efficientnet_lite0"
    found = _run_worker(
        "pipeline_worker",
        f"--root={os.path.join(folder, f'pipeline_{size[0]}x{size[1]}')}",
        f"--height={size[0]}",
        f"--width={size[1]}",
        f"--scenes={64 if quick else 48}",
        f"--repetitions={3 if quick else 7}",
        f"--steps={10 if quick else 20}",
        f"--network={network}",
    )
    return {
        "ratios": {
            "pipeline_over_decode": ratios.summarise(
                found["pipeline_rates"], found["decode_rates"]
            ),
            "data_wait_over_step": ratios.summarise([found["wait_share"]], [1.0]),
        },
        "sizes": {
            "pipeline": {
                "size": list(size),
                "network": network,
                "images_a_second": {
                    "pipeline": round(max(found["pipeline_rates"]), 1),
                    "decode": round(max(found["decode_rates"]), 1),
                },
                "processor_milliseconds_an_image": {
                    name: round(statistics.median(found[f"{name}_milliseconds"]), 1)
                    for name in ("pipeline", "decode")
                },
                "seconds_a_step": round(found["seconds_a_step"], 4),
            }
        },
    }


def compare_thresholds(pixels: int = 200_000, portion: float = 0.2) -> int:
    """Compares the histogram's thresholds with those of exact sorting.

    Args:
        pixels: number of random confidences, from uncertain to saturated.
        portion: the portion that the thresholds select.

    Returns:
        The largest difference over the classes, in bins.
    """
    from drsl_tf.self_training.thresholds import ConfidenceHistogram

    generator = np.random.default_rng(0)
    # Certainties -log(1 - p) from 0 to where p rounds to 1 in float64.
    confidence = -np.expm1(-generator.gamma(2.0, 6.0, pixels))
    prediction = generator.integers(0, _NUM_CLASSES, pixels)
    histogram = ConfidenceHistogram(_NUM_CLASSES)
    histogram.update(confidence, prediction)
    num_bins = histogram.counts.shape[1]

    def find_bin(value):
        alone = ConfidenceHistogram(1, num_bins)
        alone.update(np.array([value]), np.array([0]))
        return int(np.argmax(alone.counts[0]))

    worst = 0
    for number, threshold in enumerate(histogram.thresholds(portion)):
        own = np.sort(confidence[prediction == number])[::-1]
        exact = own[min(int(np.floor(len(own) * portion)), len(own) - 1)]
        worst = max(worst, abs(find_bin(threshold) - find_bin(exact)))
    return worst


def _run_worker(module, *arguments):
    command = [sys.executable, "-m", f"benchmarks.timing.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise UserError(f"{' '.join(command)} ended with {done.returncode}: {lines[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
