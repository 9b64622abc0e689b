"""Reads, checks and records gin configurations.

All files and parameters are merged before gin parses them: gin itself would reject a parameter on a
name that only a file imports, and ignore unused bindings.

A file may replace a part that an earlier file chose, such as the network. The earlier bindings of
the replaced part are then dropped.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin
from gin import config_parser

from data_pipelines.errors import UserError
from drsl_tf.config.gin_files import find_gin_file
from drsl_tf.config.gin_files import read_gin_file
from drsl_tf.config.gin_statements import Binding
from drsl_tf.config.gin_statements import Macro
from drsl_tf.config.gin_statements import Reference
from drsl_tf.config.gin_statements import iterate_references
from drsl_tf.config.gin_statements import join_lines
from drsl_tf.config.gin_statements import parse_statements

_HEADER = "from __gin__ import dynamic_registration"
_NAMES = "docs/configuration.md lists the names; an earlier version had others."


class Configuration:
    """The bindings of an experiment.

    Args:
        gin_files: paths, or names of files in the package `gin_configs`; later ones override.
        gin_params: single bindings, which override all files.

    Raises:
        UserError: a file is missing, a line cannot be parsed or a name is unknown.
    """

    def __init__(self, gin_files: Sequence[str], gin_params: Sequence[str] = ()):
        self._imports: dict[str, config_parser.ImportStatement] = {}
        self._bindings: dict[str, Binding] = {}
        self._overridden: list[Binding] = []
        for gin_file in gin_files:
            self._read_file(gin_file, [], os.getcwd())
        for param in gin_params:
            self._read_text(param, f"--gin_param={param}", [], os.getcwd())

    @property
    def bindings(self) -> dict[str, str]:
        """All bindings by key, values as text."""
        return {key: repr(binding.value) for key, binding in self._bindings.items()}

    def list_bindings(self) -> list[Binding]:
        """Lists all bindings, with the file or parameter that each comes from."""
        return list(self._bindings.values())

    def format_text(self) -> str:
        """Formats the configuration as one gin file."""
        lines = [_HEADER]
        lines += sorted(line for line in self._imports if line != _HEADER)
        lines.append("")
        lines += [f"{key} = {value}" for key, value in self.bindings.items()]
        return "\n".join(lines) + "\n"

    def format_record(self, root: Callable) -> str:
        """Formats the configuration, including defaults in force.

        Args:
            root: the callable that the experiment starts from.

        Returns:
            A gin file with the defaults as comments.
        """
        lines = [self.format_text(), "# Defaults in force:"]
        bound = {
            (self._resolve(b.selector, b.origin), b.argument)
            for b in self._bindings.values()
            if b.argument
        }
        for target, name in self._walk(root)[0].items():
            for parameter in _list_parameters(target):
                has_default = parameter.default is not parameter.empty
                if has_default and (target, parameter.name) not in bound:
                    lines.append(f"#   {name}.{parameter.name} = {parameter.default!r}")
        return "\n".join(lines) + "\n"

    def list_parts(self, root: Callable) -> list[Callable]:
        """Lists the callables that are reachable by references.

        Args:
            root: the callable that the experiment starts from; it is the first one.

        Returns:
            Functions and classes.
        """
        return list(self._walk(root)[0])

    def apply(self, root: Callable) -> Callable:
        """Checks the configuration and passes it to gin.

        Bindings of parts that a later file replaced are dropped.

        Args:
            root: the callable that the experiment starts from; all bindings must be
                reachable from it.

        Returns:
            `root` with its bindings applied.

        Raises:
            UserError: a binding or macro is unknown, unused or missing.
        """
        self._drop_replaced(root)
        self._check(root)
        gin.clear_config()
        try:
            gin.parse_config(self.format_text())
        except (ValueError, TypeError, AttributeError, ImportError, SyntaxError) as error:
            raise UserError(f"The configuration cannot be used: {join_lines(error)}") from error
        return gin.get_configurable(root)

    def _read_file(self, gin_file, including, folder):
        path = find_gin_file(gin_file, folder, including)
        if path in including:
            raise UserError(f"The config files {' -> '.join([*including, path])} form a circle.")
        text = read_gin_file(path)
        self._read_text(text, path, [*including, path], os.path.dirname(path))

    def _read_text(self, text, origin, including, folder):
        for statement in parse_statements(text, origin):
            if isinstance(statement, config_parser.ImportStatement):
                self._imports[statement.format()] = statement
            elif isinstance(statement, config_parser.IncludeStatement):
                self._read_file(statement.filename, including, folder)
            elif isinstance(statement, config_parser.BindingStatement):
                scope, selector, argument, value, _ = statement
                position = len(self._bindings) + len(self._overridden)
                binding = Binding(scope, selector, argument, value, origin, position)
                if binding.key in self._bindings:
                    self._overridden.append(self._bindings[binding.key])
                self._bindings[binding.key] = binding

    def _resolve(self, selector: str, origin: str) -> Any:
        """Returns the Python object that a selector names."""
        first, *rest = selector.split(".")
        for statement in self._imports.values():
            if statement.module.startswith("__gin__") or statement.bound_name() != first:
                continue
            found: Any = None
            try:
                # A gin file is code, as docs/security.md says: what it names is imported.
                found = importlib.import_module(  # noqa: TID251
                    statement.module if statement.is_from or statement.alias else first
                )
                for name in rest:
                    found = getattr(found, name)
                return found
            except (ImportError, AttributeError) as error:
                missing = getattr(error, "name", None) or rest[-1]
                raise UserError(
                    f"{origin} names {selector!r}, which cannot be found"
                    f"{_suggest(missing, dir(found))} ({error}). {_NAMES}"
                ) from error
        names = sorted({s.bound_name() for s in self._imports.values()} - {"dynamic_registration"})
        raise UserError(
            f"{origin} names {selector!r}, but nothing called {first!r} is imported"
            f"{_suggest(first, names)}. Add an import line, or correct the name. {_NAMES}"
        )

    def _walk(self, root, overridden: Sequence[Binding] = ()) -> tuple[dict[Any, str], set, set]:
        """Follows references from the root; returns the reached objects, scopes and macros.

        `overridden` are bindings to follow in addition to those in force.
        """
        by_object: dict[Any, list[Binding]] = {}
        macros: dict[str, list[Binding]] = {}
        for binding in [*self._bindings.values(), *overridden]:
            if binding.argument:
                target = self._resolve(binding.selector, binding.origin)
                by_object.setdefault(target, []).append(binding)
            else:
                macros.setdefault(binding.key, []).append(binding)
        reached = {root: _name_public(root)}
        scopes, used_macros, waiting = set(), set(), list(by_object.get(root, []))
        while waiting:
            binding = waiting.pop()
            for value in iterate_references(binding.value):
                if isinstance(value, Macro):
                    if value.name not in macros:
                        raise UserError(
                            f"{binding.origin} binds {binding.key} to %{value.name}, which no "
                            f"file defines{_suggest(value.name, macros)}."
                        )
                    if value.name not in used_macros:
                        used_macros.add(value.name)
                        waiting += macros[value.name]
                elif isinstance(value, Reference):
                    *outer, name = value.name.split("/")
                    scopes.update(outer)
                    target = self._resolve(name, binding.origin)
                    if target not in reached:
                        reached[target] = name
                        waiting += by_object.get(target, [])
        return reached, scopes, used_macros

    def _is_used(self, binding, reached, scopes, used_macros) -> bool:
        """Returns whether a binding was reached by a walk with the given results."""
        if not binding.argument:
            return binding.key in used_macros
        target = self._resolve(binding.selector, binding.origin)
        return target in reached and set(binding.scope.split("/")) - {""} <= scopes

    def _drop_replaced(self, root):
        """Drops bindings of parts that were replaced later.

        Bindings after the replacement, such as parameters, refer to the parts in force and are
        kept; they are rejected if unused.
        """
        replaced = [
            self._bindings[binding.key].position
            for binding in self._overridden
            if any(isinstance(value, Reference) for value in iterate_references(binding.value))
        ]
        if not replaced:
            return
        in_force = self._walk(root)
        ever = self._walk(root, self._overridden)
        self._bindings = {
            key: binding
            for key, binding in self._bindings.items()
            if self._is_used(binding, *in_force)
            or not self._is_used(binding, *ever)
            or binding.position > max(replaced)
        }
        self._overridden = []

    def _check(self, root):
        reached, scopes, used_macros = self._walk(root)
        for binding in self._bindings.values():
            is_used = self._is_used(binding, reached, scopes, used_macros)
            if not binding.argument:
                if not is_used:
                    raise UserError(
                        f"{binding.origin} defines {binding.key}, which nothing uses"
                        f"{_suggest(binding.key, used_macros)}. Correct or remove it."
                    )
                continue
            target = self._resolve(binding.selector, binding.origin)
            names = [p.name for p in _list_parameters(target)]
            if names and binding.argument not in names and not _takes_any(target):
                raise UserError(
                    f"{binding.origin} binds {binding.key}, but {binding.selector} has no "
                    f"parameter {binding.argument!r}{_suggest(binding.argument, names)}. It has: "
                    f"{', '.join(names)}."
                )
            if not is_used:
                raise UserError(
                    f"{binding.origin} binds {binding.key}, but nothing that the experiment uses "
                    f"refers to it. Refer to it by @ from {reached[root]}, or remove the line."
                )

    def check_required(self, root: Callable, given: Sequence[str]) -> None:
        """Checks that every parameter without a default is bound.

        Args:
            root: the callable that the experiment starts from.
            given: parameters that the program passes.

        Raises:
            UserError: names the missing parameter.
        """
        bound = {
            b.argument
            for b in self._bindings.values()
            if b.argument and self._resolve(b.selector, b.origin) is root
        }
        for parameter in _list_parameters(root):
            required = parameter.default is parameter.empty
            if required and parameter.name not in bound and parameter.name not in given:
                raise UserError(
                    f"The configuration does not bind {_name_public(root)}.{parameter.name}. "
                    "Start from one of the files in gin_configs/."
                )


def _name_public(target: Callable) -> str:
    """Returns the name that a gin file uses for a callable."""
    package, *_, module = target.__module__.split(".")
    is_public = target.__name__ in getattr(sys.modules[package], "__all__", ())
    return f"{package if is_public else module}.{target.__name__}"


def _list_parameters(target):
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _takes_any(target):
    parameters = inspect.signature(target).parameters.values()
    return any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)


def _suggest(name, names):
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
