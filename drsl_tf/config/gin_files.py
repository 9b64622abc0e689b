"""Reads gin files and parameters to statements, without evaluating them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from gin import config_parser

import gin_configs
from data_pipelines.errors import UserError

_BACKSLASHES = (
    'A backslash starts an escape in a text: write a path with /, as in "C:/data/mine", or with '
    'an r before it, as in r"C:\\data\\mine".'
)


class Reference(str):
    """A reference in a bound value, as its text: `@scope/name`, `@name()`, or a macro `%NAME`."""

    __repr__ = str.__str__


class Line(NamedTuple):
    """A binding, a macro's definition or an import.

    Attributes:
        key: `scope/name.argument`, the name of a macro, or the whole import.
        value: what is bound to it, or gin's statement of the import.
        origin: the file or flag that holds the line.
    """

    key: str
    value: Any
    origin: str

    @property
    def references(self) -> list[Reference]:
        """The references in the value, also those in tuples, lists and dicts."""
        return [text for text in _list_texts(self.value) if isinstance(text, Reference)]


def _list_texts(value: Any) -> list[str]:
    """Lists the texts and references in a bound value."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else value
        return [text for item in items for text in _list_texts(item)]
    return [value] if isinstance(value, str) else []


class _Delegate(config_parser.ParserDelegate):
    def configurable_reference(self, scoped_configurable_name, evaluate):
        return Reference(f"@{scoped_configurable_name}{'()' if evaluate else ''}")

    def macro(self, macro_name):
        return Reference(f"%{macro_name}")


def is_part_of_project(origin: str) -> bool:
    """Returns whether lines come from a file of `gin_configs`, and not from a user's.

    Args:
        origin: as in `Line`.

    Returns:
        True for a file in that package.
    """
    (root,) = gin_configs.__path__
    return origin.startswith(os.path.join(os.path.abspath(root), ""))


def read_gin_file(gin_file: str, including: Sequence[str] = ()) -> Iterator[Line]:
    """Reads a gin file and the files that it includes.

    Args:
        gin_file: a path relative to the including file or the working directory, or the name of a
            file in `gin_configs`.
        including: the chain of including files.

    Yields:
        The lines.

    Raises:
        UserError: a file is missing, cannot be read, is not valid gin, or includes itself.
    """
    folder = os.path.dirname(including[-1]) if including else os.getcwd()
    (root,) = gin_configs.__path__
    places = [os.path.abspath(os.path.join(each, gin_file)) for each in (folder, root)]
    path = next(filter(os.path.isfile, places), None)
    if path is None:
        asked = f", which {including[-1]} includes," if including else ""
        known = ", ".join(sorted(name for name in os.listdir(root) if name.endswith(".gin")))
        raise UserError(
            f"The gin file {gin_file!r}{asked} does not exist; looked for {' and '.join(places)}. "
            f"Known by name are {known}."
        )
    if path in including:
        raise UserError(f"The config files {' -> '.join([*including, path])} form a circle.")
    try:
        # Windows' editors begin a file with a byte-order mark, which utf-8-sig skips.
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeError) as error:
        raise UserError(f"The gin file {path} cannot be read: {error}.") from error
    yield from parse_gin(text, path, (*including, path))


def parse_gin(text: str, origin: str, including: Sequence[str] = ()) -> Iterator[Line]:
    """Parses gin text from a file or parameter `origin`; see `read_gin_file`."""
    try:
        statements = list(config_parser.ConfigParser(text, _Delegate()))
    except Exception as error:  # Of gin's, or of Python's tokenizer and parser.
        # Only some errors have the line; a text of one line, such as a parameter, is that line.
        line = getattr(error, "text", None) or (text if "\n" not in text.strip() else "")
        hint = f" {_BACKSLASHES}" if "\\" in line else ""
        reason = " ".join(str(error).split())
        raise UserError(f"{origin} is not valid gin: {reason}{hint}") from error
    for statement in statements:
        if isinstance(statement, config_parser.IncludeStatement):
            yield from read_gin_file(statement.filename, including)
        elif isinstance(statement, config_parser.ImportStatement):
            yield Line(statement.format(), statement, origin)
        elif isinstance(statement, config_parser.BindingStatement):
            key = "{}/{}.{}".format(*statement).strip("/.")
            if statement.arg_name and "." not in statement.selector:
                raise UserError(f"{origin} binds {key}: write MODULE.NAME.ARGUMENT or MACRO.")
            for written in _list_texts(statement.value):
                # A separator, such as a tab alone, is no path.
                if re.search(r"[\0-\x1f]", written) and not written.isspace():
                    raise UserError(
                        f"{origin} binds {key} to {written!r}, in which a backslash and a letter "
                        f"became one character. {_BACKSLASHES}"
                    )
            yield Line(key, statement.value, origin)
