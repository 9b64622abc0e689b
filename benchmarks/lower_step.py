"""Lowers training steps for a machine with an accelerator and without TensorFlow.

  python -m benchmarks.lower_step --output=runs/benchmark/lowered
  python -m benchmarks.lower_step --output=/tmp/lowered --networks=small_cnn --size=64x128

Needs the newer dependency line. Each step, a network with DRSL's modes or without, becomes a folder
of a few megabytes: the step in XLA's format (step.hlo.gz), how to create its arguments (step.json,
arguments.npz), and what TensorFlow computes from them on this machine (expected.npz).
`accelerator_step.py` runs it.
"""

from __future__ import annotations

import os
import shutil

from absl import flags

from benchmarks.steps import networks
from data_pipelines import cli
from data_pipelines.errors import UserError

_SIZES = {"resnet101": (512, 1024), "segformer_b5": (512, 512)}
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.")
_NETWORKS = flags.DEFINE_list("networks", list(_SIZES), "Networks to lower.")
_SIZE = flags.DEFINE_string(
    "size", "recipe", "HEIGHTxWIDTH, or that of the network's recipe, 512x512 for other networks."
)
_MODES = flags.DEFINE_multi_integer("modes", [0, 3], "Modes per class; 0 is cross-entropy only.")
_POLICIES = flags.DEFINE_list("policies", ["float32"], "Keras's precision policies.")
_IMAGES = flags.DEFINE_integer("images", 1, "Images of each domain in a batch.")


def main() -> int:
    """Lowers the steps one after the other."""
    cli.require_flags("output")
    import keras

    from benchmarks.steps import lowering
    from drsl_tf import compat

    if not compat.KERAS_3:
        raise UserError("Steps are lowered on the newer dependency line (docs/reproduce.md).")
    size = cli.parse_size(_SIZE.value, "recipe")
    for network in _NETWORKS.value:
        if network not in networks.NAMES:
            raise UserError(f"--networks names {network!r}; there are {', '.join(networks.NAMES)}.")
        height, width = size or _SIZES.get(network, (512, 512))
        for policy in _POLICIES.value:
            for modes in _MODES.value:
                name = f"{network}_{height}x{width}_k{modes}_{policy}"
                folder = os.path.join(_OUTPUT.value, name)
                print(f"{name}: running.", flush=True)
                keras.mixed_precision.set_global_policy(policy)
                shutil.rmtree(folder, ignore_errors=True)
                os.makedirs(folder)
                found = lowering.lower_step(folder, network, modes, (_IMAGES.value, height, width))
                print(f"{name}: {found}", flush=True)
    return 0


if __name__ == "__main__":
    cli.run_command(main)
