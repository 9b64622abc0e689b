"""Reads an experiment's configuration without running it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
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
        configuration.apply(adapt)
        self.name = " ".join(gin_files)
        self._parts = configuration.parts

    def get(self, *names: str) -> Any:
        """Returns the value of a parameter of `drsl_tf.adapt`, with references resolved.

        Args:
            *names: the parameter, such as "inference", or the way to one of a part, such as
                "data", "eval_split". Only the last part is created.

        Returns:
            The value bound to it, or its default.
        """
        return self._resolve(self._find(*names))

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
        with explain_bad_values(adapt, self._parts):
            return self.get("learner").build_model(self.label_space)

    def _create_target(self) -> Domain:
        """Creates the target without access to data files."""
        target = self._find("data", "target")
        if not _is_reference(target) or "root" not in _list_parameters(target.configurable.wrapped):
            return self._resolve(target)
        # The classes do not depend on the root, which may be a reference that renders a data set.
        key = _make_key(target)
        root = gin.get_bindings(key, resolve_references=False).get("root", _NO_ROOT)
        gin.bind_parameter(f"{key}.root", _NO_ROOT)
        try:
            return self._resolve(target)
        finally:
            gin.bind_parameter(f"{key}.root", root)

    def _find(self, *names: str) -> Any:
        """Returns a bound value with references as they are."""
        target: Callable = adapt
        key: Callable | str = adapt
        for name in names[:-1]:
            value = _find_bound(target, key, name)
            if not _is_reference(value):
                raise UserError(
                    f"{self.name} binds {target.__name__}.{name} to {value!r}; bind it to a "
                    "reference, such as @adaptation.AdaptationData()."
                )
            target, key = value.configurable.wrapped, _make_key(value)
        return _find_bound(target, key, names[-1])

    def _resolve(self, value: Any) -> Any:
        """Resolves a bound value; gin calls references when they are copied."""
        with explain_bad_values(adapt, self._parts):
            return copy.deepcopy(value)


def _is_reference(value) -> bool:
    """Returns whether a value refers to a class or function, rather than to a macro."""
    configurable = getattr(value, "configurable", None)
    return configurable is not None and not configurable.selector.startswith("gin.")


def _make_key(reference) -> str:
    """Returns the name of a reference's bindings in gin, including its scopes."""
    return "/".join([*reference.scopes, reference.configurable.selector])


def _list_parameters(target):
    return inspect.signature(target).parameters


def _find_bound(target, key, name):
    bindings = gin.get_bindings(key, resolve_references=False)
    return bindings.get(name, _list_parameters(target)[name].default)
