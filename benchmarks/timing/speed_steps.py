"""Measures training steps: DRSL against cross-entropy only, and ours against PyTorch's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benchmarks.steps.step_server import StepServer
from benchmarks.steps.step_server import make_step_command
from benchmarks.timing import ratios
from data_pipelines.errors import UserError

TORCH = "torch==2.13.0"


def measure_drsl(quick: bool) -> dict[str, Any]:
    """Measures the cost of DRSL's head and losses in a step (C = 19, d = 64, stride 8).

    Args:
        quick: whether to use reduced sizes, to check that everything runs.

    Returns:
        {"ratios": by name, "sizes": sizes used}.
    """
    if quick:
        networks = {"small_cnn": ((64, 128), 1)}
    else:
        networks = {"efficientnet_lite0": ((176, 240), 4), "resnet101": ((128, 256), 1)}
    repetitions, steps = (3, 2) if quick else (9, 3)
    found: dict[str, Any] = {"ratios": {}, "sizes": {}}
    for number, (network, (size, images)) in enumerate(networks.items()):
        variants = {f"k{modes}": (size, {"modes": modes}) for modes in (0, 3)}
        if number == 0:
            variants.update(k1=(size, {"modes": 1}), k8=(size, {"modes": 8}))
            variants["k3_double"] = ((size[0], 2 * size[1]), {"modes": 3})
            variants["k3_from_data"] = (size, {"modes": 3, "modes_from_data": True})
        commands = {
            name: make_step_command(network, its_size, images, **options)
            for name, (its_size, options) in variants.items()
        }
        seconds, peaks, _ = _run_in_turn(commands, repetitions, steps, f"steps, {network}")
        suffix = f"_{network}" if number else ""
        pairs = {f"step_time_drsl_over_cbst{suffix}": ("k3", "k0")}
        if number == 0:
            pairs["step_time_k8_over_k1"] = ("k8", "k1")
            pairs["step_time_modes_from_data_over_drsl"] = ("k3_from_data", "k3")
        for name, (above, below) in pairs.items():
            found["ratios"][name] = ratios.summarise(seconds[above], seconds[below])
        found["ratios"][f"step_memory_drsl_over_cbst{suffix}"] = ratios.summarise(
            [peaks["k3"]], [peaks["k0"]]
        )
        if number == 0:
            found["ratios"]["step_time_double_over_twice_pixels"] = ratios.summarise(
                seconds["k3_double"], [2 * value for value in seconds["k3"]]
            )
        found["sizes"][network] = _describe(size, images, seconds, peaks)
    return found


def measure_teacher(quick: bool) -> dict[str, Any]:
    """Measures the cost of masked images, and of DRSL on top, in a mean teacher's step.

    Args:
        quick: whether to use reduced sizes, to check that everything runs.

    Returns:
        {"ratios": by name, "sizes": sizes used}.
    """
    network, size, images = "efficientnet_lite0", (176, 240), 4
    if quick:
        network, size, images = "small_cnn", (64, 128), 1
    variants = {"teacher": (0, 0.0), "teacher_mic": (0, 1.0), "teacher_mic_drsl": (3, 1.0)}
    commands = {
        name: make_step_command(
            network, size, images, modes=modes, teacher=True, mask_weight=mask_weight
        )
        for name, (modes, mask_weight) in variants.items()
    }
    repetitions, steps = (3, 2) if quick else (9, 3)
    seconds, peaks, _ = _run_in_turn(commands, repetitions, steps, f"teacher, {network}")
    pairs = {
        "step_time_teacher_mic_over_teacher": ("teacher_mic", "teacher"),
        "step_time_drsl_over_teacher_mic": ("teacher_mic_drsl", "teacher_mic"),
    }
    return {
        "ratios": {
            name: ratios.summarise(seconds[above], seconds[below])
            for name, (above, below) in pairs.items()
        },
        "sizes": {f"{network}, mean teacher": _describe(size, images, seconds, peaks)},
    }


def measure_torch(quick: bool, python: str) -> dict[str, Any]:
    """Measures this project's step against PyTorch's, both with only the cross-entropy.

    Args:
        quick: whether to use reduced sizes.
        python: a Python with torch installed.

    Returns:
        {"ratios": by name, "sizes": sizes used}. The ratio is to PyTorch's default layout; the
        channels-last layout is reported too.
    """
    networks = {"efficientnet_lite0": ((64, 128), 1) if quick else ((176, 240), 4)}
    if not quick:
        networks["resnet101"] = ((128, 256), 1)
    repetitions, steps = (3, 2) if quick else (9, 3)
    found: dict[str, Any] = {"ratios": {}, "sizes": {}}
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = os.path.join(folder, "torch_step.py")
    for network, (size, images) in networks.items():
        torch_command = [python, script, network, *map(str, (*size, images))]
        commands = {
            "ours": make_step_command(network, size, images, modes=0),
            "torch": torch_command,
            "torch_channels_last": [*torch_command, "channels_last"],
        }
        seconds, _, parameters = _run_in_turn(commands, repetitions, steps, f"torch, {network}")
        if len(set(parameters.values())) != 1:
            raise UserError(f"The compared networks differ: {parameters} parameters.")
        suffix = "" if network == "efficientnet_lite0" else f"_{network}"
        name = f"step_time_ours_over_torch{suffix}"
        found["ratios"][name] = ratios.summarise(seconds["ours"], seconds["torch"])
        found["ratios"][f"{name}_channels_last"] = ratios.summarise(
            seconds["ours"], seconds["torch_channels_last"]
        )
        found["sizes"][f"{network}, cross-entropy"] = {
            "images": [images, images],
            "size": list(size),
            "seconds_a_step": {name: round(min(values), 4) for name, values in seconds.items()},
            "parameters": parameters["ours"],
        }
    return found


def find_torch(folder: str, install: bool) -> str | None:
    """Finds or creates the environment with PyTorch.

    Args:
        folder: folder of the virtual environment.
        install: whether to create it if it is absent.

    Returns:
        Its Python; None if it is absent and not created.

    Raises:
        UserError: it cannot be created.
    """
    python = os.path.join(folder, "bin", "python")
    done = os.path.join(folder, "installed")
    if os.path.exists(done):
        return python
    if not install:
        return None
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", TORCH], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"The environment for PyTorch in {folder} cannot be created ({error}). Give a Python "
            "with torch by --torch_python, or omit the part by --only."
        ) from error
    with open(done, "w", encoding="utf-8"):
        pass
    return python


def _describe(size, images, seconds, peaks):
    return {
        "images": [images, images],
        "size": list(size),
        "seconds_a_step": {name: round(min(values), 4) for name, values in seconds.items()},
        "peak_megabytes": {name: round(peak / 2**20) for name, peak in peaks.items()},
    }


def _run_in_turn(commands, repetitions, steps, title):
    """Returns seconds per repetition, peak memory and parameters, each by name."""
    servers: dict[str, StepServer] = {}
    try:
        for name, command in commands.items():
            servers[name] = StepServer(command)
        measures = {
            name: lambda server=server: server.time_steps(steps) for name, server in servers.items()
        }
        seconds = ratios.measure_in_turn(measures, repetitions, title)
        parameters = {name: server.num_parameters for name, server in servers.items()}
        peaks = {name: server.close() for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.kill()
    return seconds, peaks, parameters
