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
from drsl_tf.config.gin_files import parse_gin
from drsl_tf.config.gin_files import read_gin_file

_HEADER = "from __gin__ import dynamic_registration"
_NAME = "EXPERIMENT"
_REQUIRED = "%gin.REQUIRED"
_HINT = "docs/configuration.md lists the names; an earlier version had others."


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
        if any(binding.value == f"%{_NAME}" for binding in self._bindings.values()):
            name = os.path.splitext(os.path.basename(gin_files[0]))[0]
            self._bindings.setdefault(_NAME, Binding("", _NAME, "", name, gin_files[0]))

    @property
    def bindings(self) -> dict[str, str]:
        """All bindings by key, values as text."""
        return {key: repr(binding.value) for key, binding in self._bindings.items()}

    @property
    def parts(self) -> list[Callable]:
        """The functions and classes that a checked configuration reaches, the root first."""
        return list(self._parts)

    def list_keys(self, argument: str) -> set[str]:
        """Lists the keys of an argument's bindings, and of macros that serve these alone.

        Args:
            argument: such as "root", of any part, or "drsl_tf.Schedule.rounds".

        Returns:
            The keys, as in `bindings`.
        """
        found = {
            key
            for key, binding in self._bindings.items()
            if binding.argument and argument in (binding.argument, key)
        }
        uses: dict[str, set[str]] = {}
        for key, binding in self._bindings.items():
            for reference in binding.list_references():
                if reference.is_macro:
                    uses.setdefault(reference.name, set()).add(key)
        while True:
            more = {name for name, users in uses.items() if users <= found} - found
            if not more:
                return found
            found |= more

    def format_text(self) -> str:
        """Formats the configuration as one gin file."""
        imports = sorted(line for line in self._imports if line != _HEADER)
        lines = [f"{key} = {value}" for key, value in self.bindings.items()]
        return "\n".join([_HEADER, *imports, "", *lines]) + "\n"

    def format_record(self) -> str:
        """Formats a checked configuration, with the defaults in force as comments."""
        lines = [
            f"#   {name}.{parameter.name} = {parameter.default!r}"
            for name, parameter in self._list_unbound()
            if parameter.default is not parameter.empty
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
            reason = " ".join(str(error).split())
            raise UserError(f"The configuration cannot be used: {reason}") from error
        return gin.get_configurable(root)

    def check(self, root: Callable) -> None:
        """Checks that every binding has an effect and that nothing is missing.

        Where a later line replaces a part, such as the network, lines of the file that had chosen
        the part are dropped if they now reach nothing. In any other file such a line is an error.

        Args:
            root: the callable that the experiment starts from.

        Raises:
            UserError: a binding or macro is unknown, unused or missing.
        """
        self._parts, used = self._walk(root)
        for binding in self._bindings.values():
            self._check_argument(binding)
        replaced = {old.origin: new for old, new in self._overridden if old.list_references()}
        unused = [binding for key, binding in self._bindings.items() if key not in used]
        for binding in unused:
            if binding.origin not in replaced:
                raise UserError(self._explain_unused(binding, used))
            del self._bindings[binding.key]
        for origin in dict.fromkeys(binding.origin for binding in unused):
            keys = ", ".join(binding.key for binding in unused if binding.origin == origin)
            new = replaced[origin].origin
            logging.info("%s replaces a part of %s, which drops %s.", new, origin, keys)
        for name, parameter in self._list_unbound():
            # The program passes positional parameters.
            is_given = parameter.kind is not parameter.KEYWORD_ONLY
            if parameter.default is parameter.empty and not is_given:
                raise UserError(
                    f"The configuration does not bind {name}.{parameter.name}. Start from one of "
                    "the files in gin_configs/."
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

    def _resolve(self, selector: str, origin: str) -> Any:
        """Returns the Python object that a selector names."""
        first, *rest = selector.split(".")
        imports = [s for s in self._imports.values() if not s.module.startswith("__gin__")]
        modules = {s.bound_name(): s for s in imports}
        if first not in modules:
            raise UserError(
                f"{origin} names {selector!r}, but nothing called {first!r} is imported"
                f"{_suggest(first, modules)}. Add an import line, or correct the name. {_HINT}"
            )
        statement = modules[first]
        found: Any = None
        try:
            # A gin file is code, as docs/security.md says: what it names is imported.
            found = importlib.import_module(  # noqa: TID251
                statement.module if statement.is_from or statement.alias else first
            )
            for name in rest:
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            missing = getattr(error, "name", None) or rest[-1]
            raise UserError(
                f"{origin} names {selector!r}, which cannot be found"
                f"{_suggest(missing, dir(found))} ({error}). {_HINT}"
            ) from error
        return found

    def _walk(self, root) -> tuple[dict[Any, str], set[str]]:
        """Follows references from the root; returns the parts reached and the bindings used."""
        bound: dict[Any, list[Binding]] = {}
        for binding in sorted(self._bindings.values(), key=lambda b: len(b.scope)):
            if binding.argument:
                target = self._resolve(binding.selector, binding.origin)
                bound.setdefault(target, []).append(binding)
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
                for reference in binding.list_references():
                    if reference.is_macro:
                        macro = self._find_macro(reference, binding)
                        if macro.key not in used:
                            followed.append((macro, reference.name))
                    else:
                        inner, _, name = reference.name.rpartition("/")
                        found = self._resolve(name, binding.origin)
                        waiting.append((found, name, inner or scope))
        return parts, used

    def _find_macro(self, reference, binding) -> Binding:
        if reference == _REQUIRED:
            raise UserError(
                f"{binding.origin} requires {binding.key}, which nothing gives. Add a line "
                f'"{binding.key} = ..." to your gin file, or --gin_param="{binding.key} = ...".'
            )
        if reference.name not in self._bindings:
            raise UserError(
                f"{binding.origin} binds {binding.key} to {reference}, which no file defines"
                f"{_suggest(reference.name, self._bindings)}."
            )
        return self._bindings[reference.name]

    def _check_argument(self, binding):
        if binding.argument:
            target = self._resolve(binding.selector, binding.origin)
            kinds = {p.name: p.kind for p in _list_parameters(target)}
            if (
                binding.argument not in kinds
                and inspect.Parameter.VAR_KEYWORD not in kinds.values()
            ):
                raise UserError(
                    f"{binding.origin} binds {binding.key}, but {binding.selector} has no "
                    f"parameter {binding.argument!r}{_suggest(binding.argument, kinds)}. It has: "
                    f"{', '.join(kinds)}."
                )

    def _explain_unused(self, binding, used) -> str:
        names = binding.key, f"{binding.scope}/{binding.selector}".strip("/"), binding.selector
        why = next(
            (
                f" ({new.origin} binds {new.key} to {new.value!r})"
                for old, new in self._overridden
                if any(reference.name in names for reference in old.list_references())
            ),
            "",
        )
        if not binding.argument:
            return (
                f"{binding.origin} defines {binding.key}, which nothing uses{why}"
                f"{_suggest(binding.key, used)}. Correct or remove it."
            )
        return (
            f"{binding.origin} binds {binding.key}, but nothing that the experiment uses refers to "
            f"it{why}. Remove the line, or bind what refers to it."
        )

    def _list_unbound(self) -> list[tuple[str, inspect.Parameter]]:
        """Lists the parameters of the parts that nothing binds, with the parts' names."""
        bound = {
            (self._resolve(b.selector, b.origin), b.argument)
            for b in self._bindings.values()
            if b.argument
        }
        return [
            (name, parameter)
            for target, name in self._parts.items()
            for parameter in _list_parameters(target)
            if (target, parameter.name) not in bound
        ]


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
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # Some built-in callables have none.
        return []


def _suggest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
