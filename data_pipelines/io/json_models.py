"""JSON files read back as pydantic models; errors name the file and the field."""

from __future__ import annotations

from typing import TypeVar

import pydantic

from data_pipelines.errors import UserError
from data_pipelines.io import files

_MAX_BYTES = 1_000_000_000
_MAX_SHOWN = 3
_VERSION = ("schema",)

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


class VersionedModel(pydantic.BaseModel):
    """A file's content: immutable, and with no other fields than those declared.

    Subclasses declare the version of the file as a field with the alias `schema`, a name that
    pydantic itself uses:

        version: Literal[1] = pydantic.Field(alias="schema")
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def read_model(path: str, model: type[ModelT]) -> ModelT:
    """Reads a JSON file as a model.

    Args:
        path: the file, local or on any file system that TensorFlow reads.
        model: class of the content.

    Returns:
        The content.

    Raises:
        UserError: the file is missing, cannot be read, is no UTF-8 or no JSON, or does not fit the
            model; names the file and the fields.
    """
    try:
        text = _read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{files.describe_path(path)} cannot be read: {error}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{files.describe_path(path)} cannot be read: {reason}.") from error
    except UserError as error:
        raise UserError(f"{files.describe_path(path)} {error}.") from error
    return parse_model(text, model, path)


def parse_model(text: str, model: type[ModelT], path: str) -> ModelT:
    """Parses JSON as a model; no value is converted to another type.

    Args:
        text: the JSON.
        model: class of the content.
        path: the file that the text was read from, for messages.

    Returns:
        The content.

    Raises:
        UserError: it is no JSON, or does not fit the model; names the file and the fields.
    """
    try:
        return model.model_validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise UserError(f"{files.describe_path(path)} {_describe(error)}.") from error


def _read_bytes(path):
    # Not by TensorFlow where Python can: the report is written without importing it.
    if "://" in path:
        return files.read_bytes(path, _MAX_BYTES)
    with open(path, "rb") as file:
        return file.read()


def _describe(error: pydantic.ValidationError) -> str:
    """Describes the first failures; of a file of another version, that alone."""
    found = error.errors(include_url=False)
    for failure in found:
        if failure["loc"] == _VERSION and failure["type"] == "literal_error":
            expected = failure["ctx"]["expected"]
            return f"has the schema {failure['input']!r}, and this program reads {expected}"
    lines = [_describe_failure(failure) for failure in found[:_MAX_SHOWN]]
    if len(found) > _MAX_SHOWN:
        lines.append(f"and {len(found) - _MAX_SHOWN} more")
    return f"is invalid: {'; '.join(lines)}"


def _describe_failure(failure):
    field = ""
    for part in failure["loc"]:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    message = failure["msg"].removeprefix("Value error, ").rstrip(".")
    if not field:
        return message
    value = failure["input"]
    # Long or nested values would bury the message.
    if failure["type"] != "missing" and (value is None or isinstance(value, (bool, int, float))):
        message += f" (it is {value!r})"
    elif isinstance(value, str):
        message += f" (it is {value[:60]!r})"
    return f"field {field!r}: {message}"
