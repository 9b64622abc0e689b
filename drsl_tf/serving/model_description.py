"""What an exported model says of itself: classes, colours, the size it sees images at, checksums.

TensorFlow ends the whole process on some damaged models, so a model's files are compared with the
checksums that its export noted before TensorFlow gets to see them. They tell damage and mixed-up
files, not ill will: who can change a model can change its checksums.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.labels.label_spaces import LabelSpace
from drsl_tf import __version__
from drsl_tf import files

NAME = "segmentation.json"
"""The asset of a SavedModel that holds its description."""

SCHEMA = 1

_CHUNK = 1 << 20


class ModelDescription(NamedTuple):
    """What is known of an exported model without loading it.

    Attributes:
        label_space: its classes.
        network_size: (height, width) at which the network sees every image, or None.
    """

    label_space: LabelSpace
    network_size: tuple[int, int] | None


def write_description(path: str, model: str, description: ModelDescription) -> None:
    """Describes an exported model for whoever uses it.

    Args:
        path: the JSON file to write.
        model: the SavedModel's directory or TFLite file, written already.
        description: what to say of it.

    Raises:
        UserError: it cannot be written.
    """
    label_space, size = description
    content = {
        "schema": SCHEMA,
        "label_space": label_space.name,
        "class_names": list(label_space.class_names),
        "palette": [list(color) for color in label_space.palette],
        "ignore_id": IGNORE_ID,
        "network_size": None if size is None else list(size),
        "drsl_tf": __version__,
        "tensorflow": tf.__version__,
        "sha256": _hash_files(model),
    }
    files.write_json(path, content)


def locate_description(model: str) -> str:
    """Gives the path of a model's description.

    Args:
        model: a SavedModel's directory or a TFLite file.

    Returns:
        The path.
    """
    return model + ".json" if model.endswith(".tflite") else os.path.join(model, "assets", NAME)


def read_description(path: str) -> ModelDescription:
    """Reads the description of an exported model, and checks its files against it.

    Args:
        path: a SavedModel's directory or a TFLite file.

    Returns:
        The description.

    Raises:
        UserError: it was not exported by this package, or is damaged.
    """
    place = locate_description(path)
    mend = "Make one by: python -m drsl_tf.export --run_dir=RUN --output=MODEL"
    try:
        content = files.read_json(place)
    except UserError as error:
        raise UserError(
            f"{path} is no exported model, its description cannot be read: {error} {mend}"
        ) from error
    try:
        size = content["network_size"]
        description = ModelDescription(
            LabelSpace(content["label_space"], content["class_names"], content["palette"]),
            None if size is None else (int(size[0]), int(size[1])),
        )
        noted = dict(content["sha256"])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path} is no exported model that this version reads, its description {place} lacks "
            f"or spoils an entry ({error!r}). {mend}"
        ) from error
    if description.network_size is not None and min(description.network_size) < 1:
        raise UserError(f"{place} has the network_size {size}, which is none. {mend}")
    found = _hash_files(path)
    differing = sorted(name for name in noted if found.get(name) != noted[name])
    if differing or not noted:
        raise UserError(
            f"The model {path} is damaged, or its files come from several exports: "
            f"{', '.join(differing) or 'all files'} differ(s) from what was exported. Copy it "
            f"again. {mend}"
        )
    return description


def _hash_files(model: str) -> dict[str, str]:
    """Hashes the files of a model, its description apart, by their names below it."""
    if os.path.isfile(model):
        return {"model.tflite": _hash(model)}
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
