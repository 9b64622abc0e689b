"""Reads an experiment's configuration without running it."""

from __future__ import annotations

import contextlib
import copy
import inspect
import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.config.configuration import Configuration
from drsl_tf.config.configuration import explain_bad_values
from drsl_tf.models.model import DrslModel
from drsl_tf.training.adapt import adapt


class Experiment:
    """An experiment's target, classes and model, as its configuration binds them.

    gin has one configuration per process: a later experiment replaces this one.

    Args:
        gin_files: configuration files.
        gin_params: bindings that override them.

    Raises:
        UserError: the configuration is invalid.
    """

    def __init__(self, gin_files: Sequence[str], gin_params: Sequence[str] = ()):
        Configuration(gin_files, gin_params).apply(adapt)

    def get(self, *names: str) -> Any:
        """Returns the value of a parameter of `drsl_tf.adapt`, with references resolved.

        Args:
            *names: the parameter, such as "inference", or the way to one of a part, such as
                "data", "eval_split". Only the last part is created.

        Returns:
            The value bound to it, or its default.
        """
        value, scopes = self._find(*names)
        # gin resolves references when they are copied.
        with explain_bad_values(adapt), gin.config_scope(scopes):
            return copy.deepcopy(value)

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the experiment, without access to data files."""
        return self._create_target().label_space

    @property
    def id_table(self) -> dict[int, int] | None:
        """The ids in the target's label files -> class ids, or 255; None if only its files tell."""
        target = self._create_target()
        try:
            table = target.id_table()
        except UserError:
            return None
        return {stored % target.raw_values: index for stored, index in table.items()}

    def build_model(self) -> DrslModel:
        """Builds the experiment's model with its initial weights."""
        with explain_bad_values(adapt):
            return self.get("learner").build_model(self.label_space)

    def _create_target(self) -> Domain:
        """Creates the target without access to data files."""
        target, scopes = self._find("data", "target")
        # The classes do not depend on the root, which may be a reference that renders a data set.
        scopes = [*(target.scopes or scopes), "without_root"]
        absent = os.path.join(os.devnull, "absent")
        with contextlib.suppress(ValueError):  # A reader may have none.
            gin.bind_parameter(("/".join(scopes), target.configurable.selector, "root"), absent)
        with explain_bad_values(adapt), gin.config_scope(scopes):
            with contextlib.suppress(UserError):
                return target.configurable.wrapper()
        # Records keep their classes below their root.
        return self.get("data", "target")

    def _find(self, *names: str) -> tuple[Any, list[str]]:
        """Returns a bound value with references as they are, and the scopes that it holds in."""
        *way, name = names
        part: Callable = adapt
        scopes: list[str] = []
        if way:
            holder, scopes = self._find(*way)
            if getattr(holder, "selector", "gin.macro") == "gin.macro":
                raise UserError(f"Bind {way[-1]} to a reference such as @NAME(), not to {holder}.")
            part, scopes = holder.configurable.wrapped, holder.scopes or scopes
        with gin.config_scope(scopes):
            bound = gin.get_bindings(part, resolve_references=False)
        parameter = inspect.signature(part).parameters[name]
        return bound.get(name, parameter.default), scopes
