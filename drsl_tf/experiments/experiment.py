"""Reads an experiment's configuration without running it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import gin

from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf.config.bad_values import explain_bad_values
from drsl_tf.config.configuration import Configuration
from drsl_tf.models.model import DrslModel
from drsl_tf.training.adapt import adapt

_NO_ROOT = "."


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
        configuration = Configuration(gin_files, gin_params)
        configuration.check_required(adapt, ["run_dir"])
        configuration.apply(adapt)
        self.name = " ".join(gin_files)
        self._parts = configuration.list_parts(adapt)
        self._run = _bind(adapt, gin.get_bindings(adapt, resolve_references=False))

    def get(self, parameter: str) -> Any:
        """Returns the value of a parameter of `drsl_tf.adapt`, with references resolved.

        Args:
            parameter: its name, such as "inference".

        Returns:
            The value bound to it, or its default.
        """
        return self._follow(self._run[parameter])

    @property
    def eval_split(self) -> str:
        """The target's split that the experiment is scored on."""
        return self._follow(self._data["eval_split"])

    @property
    def bad_files(self) -> str:
        """How the experiment handles files that the audit rejects: "error" or "skip"."""
        return self._follow(self._data["bad_files"])

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the experiment, without access to data files."""
        target = self._data["target"]
        if not _is_reference(target) or "root" not in _list_names(target.configurable.wrapped):
            return self._follow(target).label_space
        # The classes do not depend on the root, which may be a reference that renders a data set.
        key = f"{target.scoped_selector}.root"
        roots = gin.get_bindings(_make_key(target), resolve_references=False)
        gin.bind_parameter(key, _NO_ROOT)
        try:
            return self._follow(target).label_space
        finally:
            gin.bind_parameter(key, roots.get("root", _NO_ROOT))

    def make_target(self) -> Domain:
        """Creates the target domain.

        Returns:
            The domain; a rendered root is rendered if it is absent.
        """
        return self._follow(self._data["target"])

    def build_model(self) -> DrslModel:
        """Builds the experiment's model with its initial weights.

        Returns:
            A `DrslModel`.
        """
        with explain_bad_values(adapt, self._parts):
            return self.get("learner").build_model(self.label_space)

    def _follow(self, value: Any) -> Any:
        """Resolves a bound value; gin calls references when they are copied."""
        with explain_bad_values(adapt, self._parts):
            return copy.deepcopy(value)

    @property
    def _data(self) -> dict[str, Any]:
        data = self._run["data"]
        if not _is_reference(data):
            raise UserError(
                f"{self.name} binds drsl_tf.adapt.data to {data!r}; bind it to a reference such as "
                "@adaptation.AdaptationData()."
            )
        bindings = gin.get_bindings(_make_key(data), resolve_references=False)
        return _bind(data.configurable.wrapped, bindings)


def _is_reference(value):
    """Returns whether a value refers to a class or function, rather than to a macro."""
    configurable = getattr(value, "configurable", None)
    return configurable is not None and not configurable.selector.startswith("gin.")


def _make_key(reference):
    """Returns the name of a reference's bindings in gin, including its scopes."""
    return "/".join([*reference.scopes, reference.configurable.selector])


def _list_names(target):
    return list(inspect.signature(target).parameters)


def _bind(target, bindings):
    """Merges a callable's defaults and its bindings."""
    parameters = inspect.signature(target).parameters.items()
    return {name: bindings.get(name, parameter.default) for name, parameter in parameters}
