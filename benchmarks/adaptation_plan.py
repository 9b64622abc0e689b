"""Creates the training commands of a method and a seed."""

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
# Not read by a source stage, which has no target, rounds or pseudo-labels.
_AFTER_SOURCE = re.compile(
    r"EXPERIMENT|ROUNDS|STEPS_PER_ROUND|ADAPTATION_RATE|drsl_tf\.SelfTraining\..*"
    r"|drsl_tf\.PseudoLabeler\..*|.*\.samples_per_mode"
    r"|.*\.freeze_statistics"
)
# A source stage reads only whether these are 0, which removes a term of the loss.
_WEIGHTS_AFTER_SOURCE = re.compile(r".*\.(sma_weight|target_weight)")


class Plan:
    """Training plan of one method on a setup.

    Args:
        setup_name: name of the setup.
        arm_name: name of the method.
        steps_scale: factor on the steps of every stage.
        gin_params: additional bindings for every method.
        oracle_folder: folder for the configuration that trains on target labels.

    Raises:
        UserError: the setup or method is unknown, or its configuration cannot be read.
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
            if arm.takes_statistics:  # Add a round without steps.
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
        """Identifies the configuration without the seed."""
        return _hash({k: v for k, v in self._bindings.items() if k != "EXPERIMENT"})

    @property
    def source_fingerprint(self) -> str:
        """Identifies the source stage; the same for methods that differ only in their rounds."""
        kept = {}
        for key, value in self._bindings.items():
            if _WEIGHTS_AFTER_SOURCE.fullmatch(key):
                kept[key] = "0" if value in ("0", "0.0") else "not 0"
            elif not _AFTER_SOURCE.fullmatch(key):
                kept[key] = value
        return _hash(kept)

    def make_arguments(self, seed: int, run_dir: str, *, rounds: bool = True) -> list[str]:
        """Creates the arguments of `python -m drsl_tf.train`.

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
            raise UserError(f"The setup's configuration must define {name} to scale the steps.")
        found[name] = ast.literal_eval(configuration.bindings[name])
    return found


def _write_on_target(path, setup, configuration):
    """Writes the configuration with the labelled target as the source."""
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
