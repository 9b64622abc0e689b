"""Reads gin files and parameters to statements, without evaluating them."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from collections.abc import Sequence
from tokenize import TokenError
from typing import Any
from typing import NamedTuple

from gin import config_parser

from data_pipelines.errors import UserError

_CONFIG_PACKAGE = "gin_configs"
_MOST_CHARACTERS = 1_000_000
_BACKSLASHES = (
    'A backslash starts an escape in a text: write a path with /, as in "C:/data/mine", or with '
    'an r before it, as in r"C:\\data\\mine".'
)
# What is left of "\train", or of "\new" in a path with a drive: no path or name holds these.
_ESCAPED = re.compile(r"[\a\b\t\v\f\r]|^[A-Za-z]:.*\n")


class Reference(str):
    """A reference in a bound value, as its text: `@scope/name`, `@name()`, or a macro `%NAME`."""

    __repr__ = str.__str__

    @property
    def is_macro(self) -> bool:
        """Whether it refers to a macro."""
        return self.startswith("%")

    @property
    def name(self) -> str:
        """What it refers to, with its scope."""
        return self.strip("@%()")


class Binding(NamedTuple):
    """One line of a configuration; a macro's definition has no argument."""

    scope: str
    selector: str
    argument: str
    value: Any
    origin: str

    @property
    def key(self) -> str:
        """The text to the left of the equals sign."""
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.selector}" + (f".{self.argument}" if self.argument else "")

    def list_references(self) -> list[Reference]:
        """Lists the references in the value, also those in tuples, lists and dicts."""
        return [text for text in _list_texts(self.value) if isinstance(text, Reference)]


def _list_texts(bound: Any) -> list[str]:
    """Lists the texts and references in a bound value."""
    found, waiting = [], [bound]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
    return found


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(f"@{scoped_configurable_name}{'()' if evaluate else ''}")

    def macro(self, macro_name):
        return Reference(f"%{macro_name}")


def read_gin_file(gin_file: str, folder: str, including: Sequence[str] = ()) -> Iterator[Any]:
    """Reads a gin file and the files that it includes.

    Args:
        gin_file: a path relative to `folder`, or the name of a file in `gin_configs`.
        folder: the working directory, or the folder of the file that includes this one.
        including: the chain of including files.

    Yields:
        gin's import statements, and a `Binding` for each other line.

    Raises:
        UserError: a file is missing, cannot be read, is not valid gin, or includes itself.
    """
    spec = importlib.util.find_spec(_CONFIG_PACKAGE)
    roots = [] if spec is None else list(spec.submodule_search_locations or ())
    places = [os.path.abspath(os.path.join(root, gin_file)) for root in (folder, *roots)]
    path = next((place for place in places if os.path.isfile(place)), None)
    if path is None:
        asked = f", which {including[-1]} includes," if including else ""
        known = sorted(n for root in roots for n in os.listdir(root) if n.endswith(".gin"))
        raise UserError(
            f"The gin file {gin_file!r}{asked} does not exist; looked for {' and '.join(places)}. "
            f"Known by name are {', '.join(known)}."
        )
    if path in including:
        raise UserError(f"The config files {' -> '.join([*including, path])} form a circle.")
    try:
        # Windows' editors begin a file with a byte-order mark, which utf-8-sig skips.
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The gin file {path} cannot be read: {error}.") from error
    if len(text) > _MOST_CHARACTERS:
        raise UserError(f"{path} is longer than {_MOST_CHARACTERS} characters: no gin file is.")
    yield from parse_gin(text, path, os.path.dirname(path), (*including, path))


def parse_gin(text: str, origin: str, folder: str, including: Sequence[str] = ()) -> Iterator[Any]:
    """Parses gin text from a file or parameter `origin`; see `read_gin_file`."""
    try:
        statements = list(config_parser.ConfigParser(text, _Delegate()))
    except (SyntaxError, ValueError, TokenError, RecursionError, MemoryError) as error:
        # Python's parser raises MemoryError for an expression nested too deeply.
        reason = " ".join(str(error).split())
        lines = text.splitlines()
        numbers = [int(number) for number in re.findall(r"\bline (\d+)", reason)]
        at_backslash = numbers and "\\" in "".join(lines[numbers[-1] - 1 : numbers[-1]])
        hint = f" {_BACKSLASHES}" if at_backslash else ""
        raise UserError(f"{origin} is not valid gin: {reason}{hint}") from error
    for statement in statements:
        if isinstance(statement, config_parser.IncludeStatement):
            yield from read_gin_file(statement.filename, folder, including)
        elif isinstance(statement, config_parser.BindingStatement):
            binding = Binding(*statement._replace(location=origin))
            for value in filter(_ESCAPED.search, _list_texts(binding.value)):
                if value.isspace():
                    continue  # A separator, such as a tab.
                raise UserError(
                    f"{origin} binds {binding.key} to {value!r}, in which a backslash and a letter "
                    f"became one character. {_BACKSLASHES}"
                )
            yield binding
        else:
            yield statement
