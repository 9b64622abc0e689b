"""The description of an exported model: classes, colours, stored ids, input size, checksums.

Some damaged models crash TensorFlow's process, so a model's files are compared with the checksums
of its export before TensorFlow loads them. The checksums detect damaged and mixed files, not
manipulation: whoever can change a model can change its checksums.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Annotated
from typing import Literal
from typing import NamedTuple

import pydantic
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.io.json_models import VersionedModel
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import __version__
from drsl_tf import files

NAME = "segmentation.json"
"""The asset of a SavedModel that holds its description."""

TFLITE_SUFFIX = ".tflite"
ONNX_SUFFIX = ".onnx"
FILE_SUFFIXES = (TFLITE_SUFFIX, ONNX_SUFFIX)
"""Endings of models that are one file, with the description in another."""

_CHUNK = 1 << 20
_FIX = "Make one by: python -m drsl_tf.export --run_dir=RUN --output=MODEL"

_Side = Annotated[int, pydantic.Field(ge=1)]


class ModelDescription(NamedTuple):
    """Properties of an exported model that are known without loading it.

    Attributes:
        label_space: its classes.
        network_size: (height, width) of the network's input, or None.
        id_table: id in the label files of the run's target -> class id, or 255; None if it is not
            known.
    """

    label_space: LabelSpace
    network_size: tuple[int, int] | None = None
    id_table: Mapping[int, int] | None = None


class DescriptionFile(files.Entry, VersionedModel):
    """The content of the description file, in or beside an exported model.

    Attributes:
        version: of this format.
        label_space: name of the classes.
        class_names: names of the classes, in the order of their ids.
        palette: their colours as RGB.
        ignore_id: the id of pixels that have no class.
        network_size: (height, width) of the network's input, or None.
        id_table: (id in the label files of the run's target, class id or 255), or None. Version 1
            has none.
        drsl_tf: version of this package that exported the model.
        tensorflow: version of TensorFlow that exported it.
        sha256: checksums of the model's files, by their names below it.
    """

    version: Literal[1, 2] = pydantic.Field(alias="schema")
    label_space: str
    class_names: list[str]
    palette: list[tuple[files.Channel, files.Channel, files.Channel]]
    ignore_id: int
    network_size: tuple[_Side, _Side] | None
    id_table: list[tuple[int, int]] | None = None
    drsl_tf: str
    tensorflow: str
    sha256: Annotated[dict[str, str], pydantic.Field(min_length=1)]


def write_description(path: str, model: str, description: ModelDescription) -> None:
    """Writes the description of an exported model.

    Args:
        path: the JSON file to write.
        model: the SavedModel's directory, or the model's file, written already.
        description: its properties.

    Raises:
        UserError: it cannot be written.
    """
    label_space, size, id_table = description
    content = DescriptionFile(
        schema=2,
        label_space=label_space.name,
        class_names=list(label_space.class_names),
        palette=list(label_space.palette),
        ignore_id=IGNORE_ID,
        network_size=size,
        id_table=None if id_table is None else sorted(id_table.items()),
        drsl_tf=__version__,
        tensorflow=tf.__version__,
        sha256=_hash_files(model),
    )
    files.write_json(path, content.as_json())


def locate_description(model: str) -> str:
    """Returns the path of a model's description.

    Args:
        model: a SavedModel's directory, or a file with one of `FILE_SUFFIXES`.

    Returns:
        The path.
    """
    if model.endswith(FILE_SUFFIXES):
        return model + ".json"
    return os.path.join(model, "assets", NAME)


def read_description(path: str) -> ModelDescription:
    """Reads the description of an exported model, and checks its files against it.

    Args:
        path: a SavedModel's directory, or a model's file.

    Returns:
        The description.

    Raises:
        UserError: it was not exported by this package, or is damaged.
    """
    place = locate_description(path)
    try:
        content = files.read_model(place, DescriptionFile, _FIX)
    except UserError as error:
        raise UserError(f"{path} is no exported model that this version reads: {error}") from error
    try:
        label_space = LabelSpace(
            content.label_space, tuple(content.class_names), tuple(content.palette)
        )
    except UserError as error:
        raise UserError(f"{place} is invalid: {error} {_FIX}") from error
    found = _hash_files(path)
    differing = sorted(name for name, noted in content.sha256.items() if found.get(name) != noted)
    if differing:
        raise UserError(
            f"The model {path} is damaged, or its files come from several exports: "
            f"{', '.join(differing)} differ(s) from what was exported. Copy it again. {_FIX}"
        )
    id_table = None if content.id_table is None else dict(content.id_table)
    return ModelDescription(label_space, content.network_size, id_table)


def _hash_files(model: str) -> dict[str, str]:
    """Hashes the files of a model, except its description, by their names below it."""
    if os.path.isfile(model):
        return {f"model{os.path.splitext(model)[1]}": _hash(model)}
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(model) for name in names]
    relative = {os.path.relpath(path, model).replace(os.sep, "/"): path for path in paths}
    relative.pop(f"assets/{NAME}", None)
    return {name: _hash(path) for name, path in sorted(relative.items()) if os.path.isfile(path)}


def _hash(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
