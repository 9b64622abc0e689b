"""Reads, checks and records gin configurations.

All files and parameters are merged before gin parses them: gin itself would reject a parameter on a
name that only a file imports, and ignore unused bindings.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import os
import re
import sys
import types
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import gin
from absl import logging
from gin.config_parser import ImportStatement

from data_pipelines.errors import UserError
from drsl_tf.config.gin_files import Line
from drsl_tf.config.gin_files import parse_gin
from drsl_tf.config.gin_files import read_gin_file

_HEADER = "from __gin__ import dynamic_registration"
_NAME = "EXPERIMENT"
_REQUIRED = "%gin.REQUIRED"
_ERRORS = (AttributeError, ImportError, NameError, SyntaxError, TypeError, ValueError)


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
        self._imports: dict[str, Line] = {}
        self._bindings: dict[str, Line] = {}
        self._overridden: list[tuple[Line, Line]] = []
        self._unbound: dict[str, inspect.Parameter] = {}
        read = [*parse_gin(_HEADER, "The configuration")]
        for path in gin_files:
            read += read_gin_file(path)
        for param in gin_params:
            read += parse_gin(param, f"--gin_param={param}")
        for line in read:
            lines = self._imports if isinstance(line.value, ImportStatement) else self._bindings
            old = lines.get(line.key)
            if old and line.references == [_REQUIRED]:
                continue
            if old:
                self._overridden.append((old, line))
            lines[line.key] = line
        if any(line.references == [f"%{_NAME}"] for line in self._bindings.values()):
            name = os.path.splitext(os.path.basename(gin_files[0]))[0]
            self._bindings.setdefault(_NAME, Line(_NAME, name, gin_files[0]))

    @property
    def bindings(self) -> dict[str, str]:
        """All bindings by key, values as text."""
        return {key: repr(line.value) for key, line in self._bindings.items()}

    def serves_only(self, key: str, arguments: Sequence[str]) -> bool:
        """Returns whether a binding, if there is one, has no effect on other arguments.

        Args:
            key: as in `bindings`.
            arguments: such as "root", of any part, or "drsl_tf.Schedule.rounds".

        Returns:
            True for bindings of these arguments, and for macros that serve these alone.
        """
        if "." in key:
            return key in arguments or key.rpartition(".")[2] in arguments
        users = [line.key for line in self._bindings.values() if f"%{key}" in line.references]
        return all(self.serves_only(user, arguments) for user in users)

    def format_text(self) -> str:
        """Formats the configuration as one gin file."""
        header, *imports = self._imports
        lines = [f"{key} = {value}" for key, value in self.bindings.items()]
        return "\n".join([header, *sorted(imports), "", *lines]) + "\n"

    def format_record(self) -> str:
        """Formats an applied configuration, with the defaults in force as comments."""
        lines = [
            f"#   {key} = {parameter.default!r}"
            for key, parameter in self._unbound.items()
            if parameter.default is not parameter.empty
        ]
        return "\n".join([self.format_text(), "# Defaults in force:", *lines]) + "\n"

    def apply(self, root: Callable) -> Callable:
        """Passes the configuration to gin, and checks that every binding has an effect.

        Where a later line replaces a part, such as the network, lines of the file that had chosen
        the part are dropped if they now reach nothing. In any other file such a line is an error.

        Args:
            root: the callable that the experiment starts from.

        Returns:
            `root` with its bindings applied.

        Raises:
            UserError: a binding or macro is unknown, unused or missing.
        """
        try:
            used = self._walk(root)
        finally:
            gin.clear_config()  # The walk binds keys, which are no values.
        replaced = {old.origin: new.origin for old, new in self._overridden if old.references}
        dropped: dict[str, list[str]] = {}
        for line in [line for key, line in self._bindings.items() if key not in used]:
            if line.origin not in replaced:
                raise UserError(self._explain_unused(line, used))
            dropped.setdefault(line.origin, []).append(self._bindings.pop(line.key).key)
        for origin, keys in dropped.items():
            by, listed = replaced[origin], ", ".join(keys)
            logging.info("%s replaces a part of %s, which drops %s.", by, origin, listed)
        for key, parameter in self._unbound.items():
            # The program passes positional parameters.
            if parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY:
                raise UserError(
                    f"The configuration does not bind {key}. Start from one of the files in "
                    "gin_configs/."
                )
        self._pass_to_gin(self.bindings)
        return gin.get_configurable(root)

    def _walk(self, root: Callable) -> set[str]:
        """Follows references from the root; returns the keys used, and lists what is not bound.

        In place of its value, gin binds each argument to its key and its references.
        """
        pairs = {key: f"({key!r}, {line.references!r})" for key, line in self._bindings.items()}
        self._pass_to_gin(pairs)
        names = (key.rpartition(".")[0] for key in self._bindings if f".{root.__name__}." in key)
        places: list[tuple[Callable, str, list[str]]] = [(root, next(names, root.__name__), [])]
        used: set[str] = set()
        for part, name, scopes in places:  # Grows by what is referred to.
            bound: dict[str, Any] = {}
            # gin does not know a root that nothing binds.
            with gin.config_scope(scopes), contextlib.suppress(ValueError):
                bound = gin.get_bindings(part, resolve_references=False)
            unbound = (p for p in _list_parameters(part).values() if p.name not in bound)
            self._unbound |= {"/".join([*scopes, f"{name}.{p.name}"]): p for p in unbound}
            for key, references in bound.values():
                used.add(key)
                for reference in references:
                    self._check_macro(self._bindings[key], repr(reference))
                    found = reference.configurable.wrapped
                    place = (found, reference.selector, reference.scopes or scopes)
                    if place not in places:
                        places.append(place)
        return used

    def _pass_to_gin(self, values: dict[str, str]) -> None:
        """Binds values, as text by key, in gin, which resolves and checks all names."""
        gin.clear_config()
        try:
            gin.parse_config([*self._imports, *(f"{key} = {text}" for key, text in values.items())])
        except _ERRORS as error:
            gin.clear_config()
            reason = " ".join(str(error).split())
            number = re.search(r"In bindings string line (\d+)|\(line (\d+)\)$", reason)
            lines = [*self._imports.values(), *self._bindings.values()]
            line = lines[int(number[1] or number[2]) - 1 if number else 0]
            hint = "".join(map(self._suggest_part, (line.key, *line.references)))
            raise UserError(
                f"{line.origin}: {line.key!r} cannot be used{hint}: "
                f"{reason.partition(' In bindings string')[0].rstrip('.')}. docs/configuration.md "
                "lists the names; an earlier version had others."
            ) from error

    def _suggest_part(self, name: str) -> str:
        """Suggests a name in place of the first part of a dotted name that does not exist."""
        if not re.match(r"@?[\w/]+\.", name):
            return ""  # A macro or an import.
        _, *statements = (line.value for line in self._imports.values())
        modules = {s.bound_name(): s.module if s.alias else s.partial_path() for s in statements}
        found: Any = types.SimpleNamespace(**{k: sys.modules.get(v) for k, v in modules.items()})
        for part in name.strip("@()").rpartition("/")[2].split("."):
            if not hasattr(found, part):
                near = _suggest(part, dir(found))
                is_module = not isinstance(found, types.SimpleNamespace)
                return near if near or is_module else f" (known are {', '.join(vars(found))})"
            found = getattr(found, part)
            if callable(found):
                found = types.SimpleNamespace(**_list_parameters(found))
        return ""

    def _check_macro(self, line: Line, text: str) -> None:
        """Checks that a macro that a line refers to is bound."""
        if text.startswith("%") and text[1:] not in self._bindings:
            name = line.key if text == _REQUIRED else text[1:]
            raise UserError(
                f"{line.origin} requires {name}{_suggest(text[1:], self._bindings)}, which nothing "
                f"defines, as it binds {line.key} to {text}. Add a line "
                f'"{name} = ..." to your gin file, or --gin_param="{name} = ...".'
            )

    def _explain_unused(self, line: Line, used: set[str]) -> str:
        why = [
            f" ({new.origin} binds {new.key} to {new.value!r})"
            for old, new in self._overridden
            if any(f"/{each.strip('@%()')}." in f"/{line.key}." for each in old.references)
        ]
        why.append("" if "." in line.key else _suggest(line.key, used))
        return (
            f"{line.origin} binds {line.key}, but nothing uses it{why[0]}. Correct or remove the "
            "line, or bind what refers to it."
        )


def _list_parameters(part):
    try:
        return inspect.signature(part).parameters
    except (TypeError, ValueError):  # Some built-in callables have none.
        return {}


def _suggest(name, names):
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
