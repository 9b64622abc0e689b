"""Patterns of relative paths, which pair the files of two folders by what the wildcards match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Sequence

from data_pipelines.errors import UserError

_WILDCARD = re.compile(r"\{[^{}]*\}|\*")
_NAMES = {"*": "([^/]*)", "{name}": "(.+)"}
_ANY_ENDING = ".*"

ANY_KEY = "any"
"""A key of patterns: matches any text without "/", which is no part of the name."""


def is_pattern(place: str) -> bool:
    """Returns whether a place below a root has wildcards, and is not a plain folder or file."""
    return bool(_WILDCARD.search(place))


class Pattern:
    """A pattern such as "*/rgb/*.png" or "{name}_RGB.tif".

    `*` matches any text without "/", `{name}` any text; a final ".*" matches every accepted ending.
    What they match, joined by "/", is the name of a file: with "*/rgb/*.png" and
    "*/semantic/*.png" the image and the mask of frame 1 in folder "scene3" are named "scene3/1".

    Args:
        text: the pattern, relative to a root, POSIX.
        option: what it is the value of, for errors.
        keys: words that may stand in braces; they match any text without "/", which is no part of
            the name.
        values: word -> text that replaces it, in braces, before anything else.

    Attributes:
        text: the pattern, with the values in place.
        fixed: whether a value is in it.

    Raises:
        UserError: it has an unknown word in braces, or neither `*` nor `{name}`.
    """

    def __init__(
        self,
        text: str,
        option: str,
        *,
        keys: Sequence[str] = (),
        values: Mapping[str, str] | None = None,
    ):
        self.fixed = any("{" + key + "}" in text for key in values or {})
        for key, value in (values or {}).items():
            text = re.sub("/+", "/", text.replace("{" + key + "}", value)).strip("/")
        self.text = text
        self._body = text.removesuffix(_ANY_ENDING)
        wildcards = {**_NAMES, **{"{" + key + "}": "" for key in keys}}
        pieces: list[str] = []
        start = count = 0
        for found in _WILDCARD.finditer(self._body):
            if found.group() not in wildcards:
                known = ", ".join((*wildcards, *("{" + key + "}" for key in values or {})))
                raise UserError(f"{option} is {text!r}; {found.group()} is none of {known}.")
            pieces.append(re.escape(self._body[start : found.start()]))
            # A key may be in the pattern several times, a group of a regular expression only once.
            key = found.group()[1:-1]
            count += found.group() not in _NAMES
            pieces.append(wildcards[found.group()] or f"(?P<{key}_{count}>[^/]+)")
            start = found.end()
        pieces.append(re.escape(self._body[start:]))
        # "*.png" means "1.PNG" too, as it does in folders.
        self._regex = re.compile("".join(pieces), re.IGNORECASE)
        self._keys = self._regex.groupindex
        if self._regex.groups == len(self._keys):
            raise UserError(
                f"{option} is {text!r}; a pattern names each file by * or {{name}}, such as "
                '"{name}_RGB.tif" or "*/rgb/*.png".'
            )

    @property
    def folder(self) -> str:
        """The folder, relative to the root, that contains every match; "" for the root."""
        return _WILDCARD.split(self.text)[0].rpartition("/")[0]

    def match(self, path: str, suffixes: Sequence[str]) -> tuple[str, dict[str, str]] | None:
        """Matches a path.

        Args:
            path: relative to the root, POSIX.
            suffixes: lower-case endings, one of which the path must have.

        Returns:
            (name, what the keys match); None where the path does not match.
        """
        suffix = next((suffix for suffix in suffixes if path.lower().endswith(suffix)), None)
        if suffix is None:
            return None
        if self._body != self.text:
            path = path[: -len(suffix)]
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        named = set(self._keys.values())
        parts = [text for index, text in enumerate(found.groups(), 1) if index not in named]
        keys = {key.rpartition("_")[0]: text for key, text in found.groupdict().items()}
        return "/".join(parts), keys

    def fill(self, name: str) -> str | None:
        """Returns the path of a name.

        Args:
            name: as `match` returns it.

        Returns:
            The relative path, with a final ".*" as it is; None where the name does not have one
            part for each wildcard.
        """
        count = self._regex.groups - len(self._keys)
        parts = [name] if count == 1 else name.split("/")
        if len(parts) != count:
            return None
        rest = iter(parts)

        def replace(found):
            return next(rest) if found.group() in _NAMES else found.group()

        return _WILDCARD.sub(replace, self._body) + self.text[len(self._body) :]
