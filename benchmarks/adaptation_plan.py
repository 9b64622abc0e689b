"""From an arm and a seed to the commands that a user would type."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
from collections.abc import Sequence

from benchmarks import adaptation_arms
from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration

_STEP_MACROS = ("SOURCE_STEPS", "STEPS_PER_ROUND")
_SEED = "drsl_tf.RunSettings.seed"
# What a source stage does not read: it has no target, no round and no pseudo-labels.
_AFTER_SOURCE = re.compile(
    r"EXPERIMENT|ROUNDS|STEPS_PER_ROUND|ADAPTATION_RATE|drsl_tf\.SelfTraining\..*"
    r"|drsl_tf\.PseudoLabeler\..*|.*\.samples_per_mode"
    r"|.*\.freeze_statistics"
)
# Of these a source stage reads only whether they are 0: then the loss has one term less.
_WEIGHTS_AFTER_SOURCE = re.compile(r".*\.(sma_weight|target_weight)")


class Plan:
    """How one arm of a setup is trained.

    Args:
        setup_name: name of the setup.
        arm_name: name of the arm.
        steps_scale: factor on the steps of every stage.
        gin_params: bindings for every arm, on top of the setup's files.
        oracle_folder: where the configuration that trains on target labels is written.

    Raises:
        UserError: the setup or arm is not known, or its configuration cannot be read.
    """

    def __init__(
        self,
        setup_name: str,
        arm_name: str,
        *,
        steps_scale: float = 1.0,
        gin_params: Sequence[str] = (),
        oracle_folder: str,
    ):
        setup = adaptation_arms.find_setup(setup_name)
        arm = adaptation_arms.ARMS[arm_name]
        self.adapts = arm.adapts
        self.gin_files = [
            setup.drsl_file if arm.base == "drsl" else setup.cbst_file,
            *arm.gin_files,
        ]
        self.gin_params = [*gin_params, *arm.gin_params]
        self.gin_params.append(f'EXPERIMENT = "{setup_name}_{arm_name}"')
        macros = _read_macros(Configuration(self.gin_files, self.gin_params))
        scaled = {name: max(1, round(macros[name] * steps_scale)) for name in _STEP_MACROS}
        if not arm.adapts:
            scaled["SOURCE_STEPS"] += macros["ROUNDS"] * scaled["STEPS_PER_ROUND"]
            scaled["ROUNDS"] = 0
            if arm.takes_statistics:  # A round without a step.
                scaled.update(ROUNDS=1, STEPS_PER_ROUND=0)
        self.gin_params += [
            f"{name} = {value}" for name, value in scaled.items() if value != macros[name]
        ]
        self.steps = scaled["SOURCE_STEPS"]
        if arm.adapts:
            self.steps += macros["ROUNDS"] * scaled["STEPS_PER_ROUND"]
        if arm.on_target:
            path = os.path.join(oracle_folder, f"{setup_name}_{arm_name}.gin")
            _write_on_target(path, setup, Configuration(self.gin_files, self.gin_params))
            self.gin_files, self.gin_params = [path], []
        self._bindings = Configuration(self.gin_files, self.gin_params).bindings

    @property
    def fingerprint(self) -> str:
        """Tells configurations apart, the seed left out."""
        return _hash({k: v for k, v in self._bindings.items() if k != "EXPERIMENT"})

    @property
    def source_fingerprint(self) -> str:
        """Tells source stages apart: arms that differ in their rounds alone have the same."""
        kept = {}
        for key, value in self._bindings.items():
            if _WEIGHTS_AFTER_SOURCE.fullmatch(key):
                kept[key] = "0" if value in ("0", "0.0") else "not 0"
            elif not _AFTER_SOURCE.fullmatch(key):
                kept[key] = value
        return _hash(kept)

    def make_arguments(self, seed: int, run_dir: str, *, rounds: bool = True) -> list[str]:
        """Makes the arguments of `python -m drsl_tf.train`.

        Args:
            seed: the run's seed.
            run_dir: the run's directory.
            rounds: False ends after the source stage.

        Returns:
            Flags.
        """
        params = [*self.gin_params, f"{_SEED} = {seed}"] + ([] if rounds else ["ROUNDS = 0"])
        return [
            *(f"--gin_file={path}" for path in self.gin_files),
            *(f"--gin_param={param}" for param in params),
            f"--run_dir={run_dir}",
        ]


def _hash(bindings: dict[str, str]) -> str:
    kept = {key: value for key, value in bindings.items() if key != _SEED}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def _read_macros(configuration):
    found = {}
    for name in (*_STEP_MACROS, "ROUNDS"):
        if name not in configuration.bindings:
            raise UserError(f"The setup's configuration defines no {name}; it must, to be scaled.")
        found[name] = ast.literal_eval(configuration.bindings[name])
    return found


def _write_on_target(path, setup, configuration):
    """Writes the configuration with the labelled target in the source's place."""
    source, target = (f"adaptation.AdaptationData.{role}" for role in ("source", "target"))
    bindings = configuration.bindings
    lines = []
    for line in configuration.format_text().splitlines():
        key = line.split(" = ")[0]
        if f"{key}.".startswith(tuple(f"{name}." for name in setup.source_names)):
            continue
        if key == source:
            line = f"{source} = {bindings[target]}"
        elif key == f"{source}_augmenter":
            line = f"{source}_augmenter = {bindings[f'{target}_augmenter']}"
        lines.append(line)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
