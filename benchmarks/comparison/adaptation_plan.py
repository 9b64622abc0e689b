"""Creates the training commands of a method and a seed."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Sequence

from benchmarks.comparison import adaptation_arms
from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration
from drsl_tf.self_training.schedule import count_all_steps

_STEP_MACROS = ("SOURCE_STEPS", "STEPS_PER_ROUND")
_SEED = "SEED"
_SEEDS = (_SEED, "drsl_tf.RunSettings.seed", "drsl_tf.build_model.seed")
# Scores models and changes no weight.
_SELECTION = "drsl_tf.SelfTraining.selection"
_SIBLING_WEIGHT = "drsl_tf.DrslModel.sibling_weight"
# Modes compete more and more over the first 30 % of the source stage.
_SIBLING_STEPS = "drsl_tf.DrslModel.sibling_steps"
# Not read by a source stage, which has no target, rounds or pseudo-labels.
_AFTER_SOURCE = re.compile(
    r"EXPERIMENT|ROUNDS|STEPS_PER_ROUND|ADAPTATION_RATE|FREEZE_STATISTICS"
    r"|drsl_tf\.SelfTraining\.(?!selection).*|drsl_tf\.PseudoLabeler\..*|.*\.samples_per_mode"
    r"|drsl_tf\.TargetStatistics\..*"
    r"|.*\.(threshold|mix_classes|jitter|jitter_chance|blur_chance|mask_ratio|mask_block)"
)
# Bound directly where the source stage takes the steps of all stages.
_SCHEDULE_AFTER_SOURCE = ("drsl_tf.Schedule.rounds", "drsl_tf.Schedule.steps_per_round")
# A source stage reads only whether these are 0, which removes a term of the loss, or variables of
# the teacher.
_WEIGHTS_AFTER_SOURCE = re.compile(r"SMA_WEIGHT|.*\.(target_weight|mask_weight|mode_label_weight)")


class Plan:
    """Training plan of one method on a setup.

    Attributes:
        setup_name: name of the setup.
        scores_selected: whether the model that a run selects without labels is scored, not the
            last.

    Args:
        setup_name: name of the setup.
        arm_name: name of the method.
        steps_scale: factor on the steps of every stage.
        gin_params: additional bindings for every method.

    Raises:
        UserError: the setup or method is unknown, an additional binding is one of the method's, or
            the configuration cannot be read.
    """

    def __init__(
        self,
        setup_name: str,
        arm_name: str,
        *,
        steps_scale: float = 1.0,
        gin_params: Sequence[str] = (),
    ):
        self.setup_name = setup_name
        setup = adaptation_arms.find_setup(setup_name)
        arm = adaptation_arms.ARMS[arm_name]
        self.scores_selected = bool(arm.selected_from)
        if self.scores_selected:
            arm_name = arm.selected_from
            arm = adaptation_arms.ARMS[arm_name]
        self._trained_arm = arm_name
        self._adapts = arm.adapts
        self.initial = None
        if arm.starts_from:
            self.initial = Plan(
                setup_name, arm.starts_from, steps_scale=steps_scale, gin_params=gin_params
            )
        own = {_read_name(param) for param in arm.gin_params}
        for param in gin_params:
            if _read_name(param) in own:
                raise UserError(
                    f"--gin_param={param!r} has no effect on {arm_name}, which binds it itself: "
                    "leave that method out of --arms."
                )
        self.gin_files = [setup.gin_file, *arm.gin_files]
        self.gin_params = [*gin_params, *arm.gin_params]
        if arm.on_target:
            unread = setup.source_scopes
            self.gin_params = [p for p in self.gin_params if not p.startswith(unread)]
            self.gin_params += setup.oracle_params
        if arm.takes_statistics:  # Add a round without steps.
            self.gin_params += [
                "drsl_tf.Schedule.rounds = 1",
                "drsl_tf.Schedule.steps_per_round = 0",
            ]
        self.gin_params.append(f'EXPERIMENT = "{setup_name}_{arm_name}"')
        macros = _read_macros(Configuration(self.gin_files, self.gin_params))
        scaled = {
            name: max(min(1, macros[name]), round(macros[name] * steps_scale))
            for name in _STEP_MACROS
        }
        if self.initial:  # One round has the steps of the other method's rounds.
            scaled["STEPS_PER_ROUND"] = self.initial.steps - self.initial.source_steps
        self.gin_params += [
            f"{name} = {value}" for name, value in scaled.items() if value != macros[name]
        ]
        self.source_steps = scaled["SOURCE_STEPS"]
        if any(param.startswith(_SIBLING_WEIGHT) for param in arm.gin_params):
            self.gin_params.append(f"{_SIBLING_STEPS} = {round(0.3 * self.source_steps)}")
        self.steps = (self.initial.source_steps if self.initial else 0) + count_all_steps(
            source_steps=scaled["SOURCE_STEPS"],
            rounds=macros["ROUNDS"],
            steps_per_round=scaled["STEPS_PER_ROUND"],
        )
        self._bindings = Configuration(self.gin_files, self.gin_params).bindings

    @property
    def fingerprint(self) -> str:
        """Identifies what the weights that are scored depend on, without the seed.

        `SelfTraining.selection` is left out: it changes no weight, and of the method whose selected
        model is scored it has one value.
        """
        bindings = self._list_bindings()
        bindings.pop(_SELECTION, None)
        if self.scores_selected:
            bindings["CHECKPOINT"] = "selected"
        return _hash(bindings)

    @property
    def run_name(self) -> str:
        """Names the folder of its runs: one for methods that score different models of a run."""
        return f"{self._trained_arm}_{_hash(self._list_bindings())}"

    def _list_bindings(self):
        bindings = {k: v for k, v in self._bindings.items() if k != "EXPERIMENT"}
        if self.initial:
            bindings["INITIAL_RUN"] = self.initial.source_fingerprint
        return bindings

    @property
    def source_fingerprint(self) -> str:
        """Identifies the source stage; the same for methods that differ only after it."""
        kept = {}
        for key, value in self._bindings.items():
            if _WEIGHTS_AFTER_SOURCE.fullmatch(key):
                kept[key] = "0" if value in ("0", "0.0") else "not 0"
            elif not _AFTER_SOURCE.fullmatch(key):
                kept[key] = value
        if not self._adapts:
            kept = {k: v for k, v in kept.items() if k not in _SCHEDULE_AFTER_SOURCE}
            kept["steps"] = str(self.steps)
        return _hash(kept)

    def make_arguments(
        self, seed: int, run_dir: str, *, rounds: bool = True, initial_run: str | None = None
    ) -> list[str]:
        """Creates the arguments of `python -m drsl_tf.train`.

        Args:
            seed: the run's seed.
            run_dir: the run's directory.
            rounds: False ends after the source stage.
            initial_run: directory of the source stage of `initial`, where there is one.

        Returns:
            Flags.
        """
        params = [*self.gin_params, f"{_SEED} = {seed}"]
        if not rounds:
            # Without adaptation ROUNDS counts towards the steps of the source stage.
            params.append("ROUNDS = 0" if self._adapts else "drsl_tf.Schedule.rounds = 0")
        params += [f"INITIAL_RUN = {initial_run!r}"] if initial_run else []
        return [
            *(f"--gin_file={path}" for path in self.gin_files),
            *(f"--gin_param={param}" for param in params),
            f"--run_dir={run_dir}",
        ]


def _read_name(param):
    return param.split("=")[0].strip()


def _hash(bindings: dict[str, str]) -> str:
    kept = {key: value for key, value in bindings.items() if key not in _SEEDS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def _read_macros(configuration):
    found = {}
    for name in (*_STEP_MACROS, "ROUNDS"):
        if name not in configuration.bindings:
            raise UserError(f"The setup's configuration must define {name} to scale the steps.")
        found[name] = ast.literal_eval(configuration.bindings[name])
    return found
