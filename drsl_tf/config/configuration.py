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
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import gin
from absl import logging
from gin.config_parser import ImportStatement

from data_pipelines.errors import UserError
from drsl_tf.config.gin_files import Line
from drsl_tf.config.gin_files import is_part_of_project
from drsl_tf.config.gin_files import parse_gin
from drsl_tf.config.gin_files import read_gin_file

_REQUIRED = "%gin.REQUIRED"


@contextlib.contextmanager
def explain_bad_values(entry: Callable) -> Iterator[None]:
    """Converts the error of a part with an invalid value to a `UserError` that names the part.

    Args:
        entry: entry point such as `drsl_tf.adapt`; its own errors are not converted.

    Raises:
        UserError: names the part. Errors raised outside the parts are not converted.
    """
    try:
        yield
    except (AttributeError, TypeError, ValueError) as error:
        # gin appends what it called, the innermost first.
        name, *_ = re.findall(r"\n  In call to configurable '(\w+)'", str(error)) or ["a part"]
        if isinstance(error, UserError) or name == entry.__name__:
            raise  # An error of the run itself is a bug.
        raise UserError(
            f"The configuration gives {name} a value that it cannot take: "
            f"{str(error).strip().splitlines()[0]}. Fix its binding; --debug shows the traceback."
        ) from error


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
        self._places: dict[str, int] = {}
        self._unbound: dict[str, inspect.Parameter] = {}
        read = [*parse_gin("from __gin__ import dynamic_registration", "The configuration")]
        read += [line for path in gin_files for line in read_gin_file(path)]
        read += [line for text in gin_params for line in parse_gin(text, f"--gin_param={text}")]
        for place, line in enumerate(read):
            lines = self._imports if isinstance(line.value, ImportStatement) else self._bindings
            old = lines.get(line.key)
            if not old or line.references != [_REQUIRED]:
                self._overridden += [(old, line)] if old else []
                lines[line.key] = line
                self._places[line.key] = place
        if any(line.references == ["%EXPERIMENT"] for line in self._bindings.values()):
            name = os.path.splitext(os.path.basename(gin_files[0]))[0]
            self._bindings.setdefault("EXPERIMENT", Line("EXPERIMENT", name, gin_files[0]))

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
        defaults = {k: p.default for k, p in self._unbound.items() if p.default is not p.empty}
        lines = [f"#   {key} = {default!r}" for key, default in defaults.items()]
        return "\n".join([self.format_text(), "# Defaults in force:", *lines]) + "\n"

    def apply(self, root: Callable) -> Callable:
        """Passes the configuration to gin, and checks that every binding has an effect.

        Where a later line replaces a part, such as the network, lines of the file that had chosen
        the part are dropped if they now reach nothing. So are, in other files of `gin_configs`,
        earlier lines for that part and macros that only it used. In any other file such a line is
        an error.

        Args:
            root: the callable that the experiment starts from.

        Returns:
            `root` with its bindings applied.

        Raises:
            UserError: a binding or macro is unknown, unused or missing.
        """
        used = self._walk(root)
        self._check_macros(used)
        self._drop_unused(used)
        for key, each in self._unbound.items():
            # The program passes positional parameters.
            if each.default is each.empty and each.kind is each.KEYWORD_ONLY:
                raise UserError(f"Nothing binds {key}. Start from one of the files of gin_configs.")
        gin.parse_config(self.format_text())
        return gin.get_configurable(root)

    def _walk(self, root: Callable) -> dict[str, Line]:
        """Follows references from the root; returns the lines used, and lists what is not bound."""
        self._bind_keys()
        names = (key.rpartition(".")[0] for key in self._bindings if f".{root.__name__}." in key)
        places: list[tuple[Callable, str, list[str]]] = [(root, next(names, root.__name__), [])]
        used: dict[str, Line] = {}
        for part, name, scopes in places:  # Grows by what is referred to.
            bound: dict[str, Any] = {}
            # gin does not know a root that nothing binds.
            with gin.config_scope(scopes), contextlib.suppress(ValueError):
                bound = gin.get_bindings(part, resolve_references=False)
            unbound = (p for p in _list_parameters(part).values() if p.name not in bound)
            self._unbound |= {"/".join([*scopes, f"{name}.{p.name}"]): p for p in unbound}
            for key, found, _ in bound.values():
                used[key] = self._bindings[key]
                new = [(r.configurable.wrapped, r.selector, r.scopes or scopes) for r in found]
                places += [place for place in new if place not in places]
        gin.clear_config()
        return used

    def _check_macros(self, used: dict[str, Line]) -> None:
        for line in used.values():
            for text in line.references:
                macro = self._bindings.get(text[1:])
                if text[0] == "%" and (not macro or line.key in self._follow(text[1:])):
                    name = line.key if text == _REQUIRED else text[1:]
                    why = "refers to it" if macro else "nothing defines"
                    hint = "" if macro else _suggest(text[1:], self._bindings)
                    raise UserError(
                        f"{line.origin} requires {name}{hint}, which {why}, as it binds {line.key} "
                        f'to {text}. Add a line "{name} = ..." to your gin file, or '
                        f'--gin_param="{name} = ...".'
                    )

    def _follow(self, name: str) -> list[str]:
        """Lists a macro and those that it refers to, directly or not."""
        found = [name]
        for each in found:  # Grows by what is referred to.
            texts = self._bindings[each].references if each in self._bindings else ()
            found += [text[1:] for text in texts if text[0] == "%" and text[1:] not in found]
        return found

    def _drop_unused(self, used: dict[str, Line]) -> None:
        replaced = {old.origin: new.origin for old, new in self._overridden if old.references}
        by = {each.strip("@%()"): new for old, new in self._overridden for each in old.references}
        unused = [line for key, line in self._bindings.items() if key not in used]
        dropped: dict[tuple[str, str], list[str]] = {}
        for line in unused:
            # A macro is replaced with the lines that refer to it.
            users = [each.key for each in unused if f"%{line.key}" in each.references]
            found = (by.get(key.rpartition(".")[0] or key) for key in (line.key, *users))
            new = next(filter(None, found), None)
            if line.origin in replaced:
                new_origin = replaced[line.origin]
            elif new and is_part_of_project(line.origin) and self._may_drop(line, new):
                new_origin = new.origin
            else:
                why = "" if "." in line.key else _suggest(line.key, used)
                why = f" ({new.origin} binds {new.key} to {new.value!r})" if new else why
                raise UserError(
                    f"{line.origin} binds {line.key}, but nothing uses it{why}. Correct or remove "
                    "the line, or bind what refers to it."
                )
            del self._bindings[line.key]
            dropped.setdefault((line.origin, new_origin), []).append(line.key)
        for (origin, new_origin), keys in dropped.items():
            logging.info(
                "%s replaces a part of %s, which drops %s.", new_origin, origin, ", ".join(keys)
            )

    def _may_drop(self, line: Line, new: Line) -> bool:
        """Returns whether a line is a macro, or comes before the one that replaced its part."""
        return "." not in line.key or self._places[line.key] < self._places[new.key]

    def _bind_keys(self) -> None:
        """Binds each argument to its key, references and value in gin, which checks all names."""
        lines = [*self._imports.values(), *self._bindings.values()]
        pairs = [f"{k} = ({k!r}, {v.references}, {v.value!r})" for k, v in self._bindings.items()]
        gin.clear_config()
        try:
            gin.parse_config([*self._imports, *pairs])
        except Exception as error:  # Imports run code, which may raise anything.
            gin.clear_config()
            reason, _, place = " ".join(str(error).split()).partition(" In bindings string line ")
            number = re.match(r"\d+", place) or re.search(r"(?<=\(line )\d+(?=\)$)", reason)
            line = lines[int(number[0]) - 1 if number else 0]
            hint = "".join(map(self._suggest_part, (line.key, *line.references)))
            raise UserError(
                f"{line.origin}: {line.key!r} cannot be used{hint}: {reason.rstrip('.')}. "
                "docs/configuration.md lists the names; an earlier version had others."
            ) from error

    def _suggest_part(self, name: str) -> str:
        """Suggests a name in place of the first part of a dotted name that does not exist."""
        if not re.match(r"@?[\w/]+\.", name):
            return ""  # A macro or an import.
        _, *statements = (line.value for line in self._imports.values())
        modules = {s.bound_name(): s.module if s.alias else s.partial_path() for s in statements}
        found: Any = types.SimpleNamespace(**{k: sys.modules.get(v) for k, v in modules.items()})
        for part in name.strip("@()").rpartition("/")[2].split("."):
            names = _list_parameters(found) if callable(found) else dir(found)
            if part not in names:
                known = [each for each in names if each[0] != "_"]
                listed = f" (known are {', '.join(known)})" if 0 < len(known) < 20 else ""
                return _suggest(part, known) or listed
            found = getattr(found, part, None)
        return ""


def _list_parameters(part):
    with contextlib.suppress(TypeError, ValueError):  # Some built-in callables have none.
        return inspect.signature(part).parameters
    return {}


def _suggest(name, names):
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
