"""Reads, checks and records gin configurations.

All files and parameters are merged before gin parses them: gin itself would reject a parameter on a
name that only a file imports, and ignore unused bindings.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import gin
from absl import logging
from gin import config_parser

from data_pipelines.errors import UserError
from drsl_tf.config.gin_files import Binding
from drsl_tf.config.gin_files import Macro
from drsl_tf.config.gin_files import iterate_references
from drsl_tf.config.gin_files import join_lines
from drsl_tf.config.gin_files import parse_gin
from drsl_tf.config.gin_files import read_gin_file

_HEADER = "from __gin__ import dynamic_registration"
_NAME = Macro("EXPERIMENT")
_REQUIRED = Macro("gin.REQUIRED")
_NAMES = "docs/configuration.md lists the names; an earlier version had others."


class Configuration:
    """The bindings of an experiment.

    A macro `NAME = %gin.REQUIRED` must be given by another line, before or after it. `%EXPERIMENT`
    is the name of the first file unless it is bound.

    Args:
        gin_files: paths, or names of files in the package `gin_configs`; later ones override.
        gin_params: single bindings, which override all files.

    Raises:
        UserError: a file is missing or a line cannot be parsed.
    """

    def __init__(self, gin_files: Sequence[str], gin_params: Sequence[str] = ()):
        self._imports: dict[str, config_parser.ImportStatement] = {}
        self._bindings: dict[str, Binding] = {}
        self._overridden: list[tuple[Binding, Binding]] = []
        self._parts: dict[Any, str] = {}
        for gin_file in gin_files:
            self._add(read_gin_file(gin_file, os.getcwd()))
        for param in gin_params:
            self._add(parse_gin(param, f"--gin_param={param}", os.getcwd()))
        if any(binding.value == _NAME for binding in self._bindings.values()):
            name = os.path.splitext(os.path.basename(gin_files[0]))[0]
            default = Binding("", _NAME.name, "", name, gin_files[0])
            self._bindings.setdefault(_NAME.name, default)

    @property
    def bindings(self) -> dict[str, str]:
        """All bindings by key, values as text."""
        return {key: repr(binding.value) for key, binding in self._bindings.items()}

    @property
    def parts(self) -> list[Callable]:
        """The functions and classes that a checked configuration reaches, the root first."""
        return list(self._parts)

    def list_bindings(self) -> list[Binding]:
        """Lists all bindings, with the file or parameter that each comes from."""
        return list(self._bindings.values())

    def format_text(self) -> str:
        """Formats the configuration as one gin file."""
        imports = sorted(line for line in self._imports if line != _HEADER)
        lines = [f"{key} = {value}" for key, value in self.bindings.items()]
        return "\n".join([_HEADER, *imports, "", *lines]) + "\n"

    def format_record(self) -> str:
        """Formats a checked configuration, with the defaults in force as comments."""
        bound = {(self._resolve(b), b.argument) for b in self._bindings.values() if b.argument}
        lines = [
            f"#   {name}.{parameter.name} = {parameter.default!r}"
            for target, name in self._parts.items()
            for parameter in _list_parameters(target)
            if parameter.default is not parameter.empty and (target, parameter.name) not in bound
        ]
        return "\n".join([self.format_text(), "# Defaults in force:", *lines]) + "\n"

    def apply(self, root: Callable) -> Callable:
        """Checks the configuration and passes it to gin.

        Args:
            root: see `check`.

        Returns:
            `root` with its bindings applied.

        Raises:
            UserError: see `check`.
        """
        self.check(root)
        gin.clear_config()
        try:
            gin.parse_config(self.format_text())
        except (ValueError, TypeError, AttributeError, ImportError, SyntaxError) as error:
            raise UserError(f"The configuration cannot be used: {join_lines(error)}") from error
        return gin.get_configurable(root)

    def check(self, root: Callable) -> None:
        """Checks that every binding has an effect and that nothing is missing.

        Where a later line replaces a part, such as the network, lines of the file that had chosen
        the part are dropped if they now reach nothing. In any other file such a line is an error.

        Args:
            root: the callable that the experiment starts from. The program passes its positional
                parameters.

        Raises:
            UserError: a binding or macro is unknown, unused or missing.
        """
        self._parts, used = self._walk(root)
        for binding in self._bindings.values():
            self._check_argument(binding)
        replaced = [
            (old, new, reference)
            for old, new in self._overridden
            for reference in iterate_references(old.value)
        ]
        replacing = {old.origin: new.origin for old, new, _ in replaced}
        unused = [binding for key, binding in self._bindings.items() if key not in used]
        for binding in unused:
            if binding.origin not in replacing:
                raise UserError(_explain_unused(binding, used, replaced))
            del self._bindings[binding.key]
        for origin in dict.fromkeys(binding.origin for binding in unused):
            keys = ", ".join(binding.key for binding in unused if binding.origin == origin)
            logging.info("%s replaces a part of %s: dropped %s.", replacing[origin], origin, keys)
        bindings = [b for b in self._bindings.values() if b.argument]
        bound = {b.argument for b in bindings if self._resolve(b) is root}
        for parameter in _list_parameters(root):
            required = parameter.kind is parameter.KEYWORD_ONLY
            if required and parameter.default is parameter.empty and parameter.name not in bound:
                raise UserError(
                    f"The configuration does not bind {_name_public(root)}.{parameter.name}. "
                    "Start from one of the files in gin_configs/."
                )

    def _add(self, statements):
        for statement in statements:
            if not isinstance(statement, Binding):
                self._imports[statement.format()] = statement
                continue
            old = self._bindings.get(statement.key)
            if old and statement.value == _REQUIRED:
                continue
            if old:
                self._overridden.append((old, statement))
            self._bindings[statement.key] = statement

    def _resolve(self, binding: Binding, selector: str = "") -> Any:
        """Returns the Python object that a binding, or a reference in it, names."""
        selector = selector or binding.selector
        first, *rest = selector.split(".")
        imports = [s for s in self._imports.values() if not s.module.startswith("__gin__")]
        for statement in imports:
            if statement.bound_name() != first:
                continue
            module = statement.module if statement.is_from or statement.alias else first
            found: Any = None
            try:
                # A gin file is code, as docs/security.md says: what it names is imported.
                found = importlib.import_module(module)  # noqa: TID251
                for name in rest:
                    found = getattr(found, name)
                return found
            except (ImportError, AttributeError) as error:
                missing = getattr(error, "name", None) or rest[-1]
                raise UserError(
                    f"{binding.origin} names {selector!r}, which cannot be found"
                    f"{_suggest(missing, dir(found))} ({error}). {_NAMES}"
                ) from error
        names = {statement.bound_name() for statement in imports}
        raise UserError(
            f"{binding.origin} names {selector!r}, but nothing called {first!r} is imported"
            f"{_suggest(first, names)}. Add an import line, or correct the name. {_NAMES}"
        )

    def _walk(self, root) -> tuple[dict[Any, str], set[str]]:
        """Follows references from the root; returns the parts reached and the bindings used."""
        bound: dict[Any, list[Binding]] = {}
        for binding in sorted(self._bindings.values(), key=lambda b: len(b.scope)):
            if binding.argument:
                bound.setdefault(self._resolve(binding), []).append(binding)
        parts: dict[Any, str] = {}
        used: set[str] = set()
        done = set()
        waiting = [(root, _name_public(root), "")]
        while waiting:
            target, name, scope = waiting.pop()
            if (target, scope) in done:
                continue
            done.add((target, scope))
            parts.setdefault(target, name)
            # gin's rule: a binding holds in its scope and those below; the longest scope wins.
            chosen = {b.argument: b for b in bound.get(target, ()) if _holds(b.scope, scope)}
            followed = [(binding, scope) for binding in chosen.values()]
            for binding, scope in followed:  # Grows by the macros found.
                used.add(binding.key)
                for value in iterate_references(binding.value):
                    if isinstance(value, Macro):
                        macro = self._find_macro(value, binding)
                        if macro.key not in used:
                            followed.append((macro, value.name))
                    else:
                        inner, _, name = value.name.rpartition("/")
                        waiting.append((self._resolve(binding, name), name, inner or scope))
        return parts, used

    def _find_macro(self, macro, binding) -> Binding:
        if macro == _REQUIRED:
            raise UserError(
                f"{binding.origin} requires {binding.key}, which nothing gives. Add a line "
                f'"{binding.key} = ..." to your gin file, or --gin_param="{binding.key} = ...".'
            )
        if macro.name not in self._bindings:
            raise UserError(
                f"{binding.origin} binds {binding.key} to {macro}, which no file defines"
                f"{_suggest(macro.name, self._bindings)}."
            )
        return self._bindings[macro.name]

    def _check_argument(self, binding):
        if not binding.argument:
            return
        target = self._resolve(binding)
        names = [parameter.name for parameter in _list_parameters(target)]
        if names and binding.argument not in names and not _takes_any(target):
            raise UserError(
                f"{binding.origin} binds {binding.key}, but {binding.selector} has no "
                f"parameter {binding.argument!r}{_suggest(binding.argument, names)}. It has: "
                f"{', '.join(names)}."
            )


def _explain_unused(binding, used, replaced) -> str:
    names = binding.key, f"{binding.scope}/{binding.selector}", binding.selector
    news = [new for _, new, reference in replaced if reference.name in names]
    why = f" ({news[0].origin} binds {news[0].key} to {news[0].value!r})" if news else ""
    if not binding.argument:
        return (
            f"{binding.origin} defines {binding.key}, which nothing uses{why}"
            f"{_suggest(binding.key, used)}. Correct or remove it."
        )
    return (
        f"{binding.origin} binds {binding.key}, but nothing that the experiment uses refers to it"
        f"{why}. Remove the line, or bind what refers to it."
    )


def _holds(outer: str, scope: str) -> bool:
    """Returns whether a binding of the scope `outer` holds in `scope`."""
    return not outer or f"{scope}/".startswith(f"{outer}/")


def _name_public(target: Callable) -> str:
    """Returns the name that a gin file uses for a callable."""
    package, *_, module = target.__module__.split(".")
    is_public = target.__name__ in getattr(sys.modules[package], "__all__", ())
    return f"{package if is_public else module}.{target.__name__}"


def _list_parameters(target) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _takes_any(target) -> bool:
    parameters = inspect.signature(target).parameters.values()
    return any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters)


def _suggest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
