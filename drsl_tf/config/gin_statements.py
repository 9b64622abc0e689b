"""Parses gin text to statements without evaluating it."""

from __future__ import annotations

from collections.abc import Iterator
from tokenize import TokenError
from typing import Any
from typing import NamedTuple

from gin import config_parser

from data_pipelines.errors import UserError


class Reference(NamedTuple):
    """`@scope/name` or, evaluated, `@scope/name()`."""

    name: str
    evaluate: bool

    def __repr__(self):
        return f"@{self.name}()" if self.evaluate else f"@{self.name}"


class Macro(NamedTuple):
    """`%name`."""

    name: str

    def __repr__(self):
        return f"%{self.name}"


class Binding(NamedTuple):
    """One line of a configuration; a macro's definition has no argument."""

    scope: str
    selector: str
    argument: str
    value: Any
    origin: str
    position: int

    @property
    def key(self) -> str:
        """The text to the left of the equals sign."""
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.selector}" + (f".{self.argument}" if self.argument else "")


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(scoped_configurable_name, evaluate)

    def macro(self, macro_name):
        return Macro(macro_name)


def parse_statements(text: str, origin: str) -> list[Any]:
    """Parses gin text.

    Args:
        text: imports, includes and bindings.
        origin: the file or parameter that it comes from.

    Returns:
        gin's statements; references and macros in values are `Reference` and `Macro`.

    Raises:
        UserError: it is not valid gin.
    """
    try:
        return list(config_parser.ConfigParser(text, _Delegate()))
    except (SyntaxError, ValueError, TokenError, RecursionError, MemoryError) as error:
        # Python's parser raises MemoryError for an expression nested too deeply.
        raise UserError(f"{origin} is not valid gin: {join_lines(error)}") from error


def iterate_references(value: Any) -> Iterator[Any]:
    """Iterates over the references and macros in a bound value.

    Args:
        value: a bound value, which may nest them in tuples, lists and dicts.

    Yields:
        Each `Reference` and `Macro`.
    """
    if isinstance(value, (Reference, Macro)):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            for item in pair:
                yield from iterate_references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from iterate_references(item)


def join_lines(error: BaseException) -> str:
    """Returns an error's text as one line."""
    return " ".join(str(error).split())
