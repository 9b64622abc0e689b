"""What an exported model says of itself: classes, colours, and the size it sees images at."""

from __future__ import annotations

import json
import os
from typing import Any
from typing import Dict
from typing import Optional
from typing import Tuple

import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.label_spaces import IGNORE_ID
from data_pipelines.label_spaces import LabelSpace
from drsl_tf import __version__
from drsl_tf import files

NAME = "segmentation.json"
"""The asset of a SavedModel that holds its description."""

SCHEMA = 1


def describe_model(
    label_space: LabelSpace, size: Optional[Tuple[int, int]] = None
) -> Dict[str, Any]:
    """Describes an exported model for whoever uses it.

    Args:
        label_space: its classes.
        size: (height, width) at which the network sees every image, or None.

    Returns:
        A dict that JSON can hold.
    """
    return {
        "schema": SCHEMA,
        "label_space": label_space.name,
        "class_names": list(label_space.class_names),
        "palette": [list(color) for color in label_space.palette],
        "ignore_id": IGNORE_ID,
        "network_size": None if size is None else list(size),
        "drsl_tf": __version__,
        "tensorflow": tf.__version__,
    }


def read_description(path: str) -> Dict[str, Any]:
    """Reads the description of an exported model.

    Args:
        path: a SavedModel's directory or a TFLite file.

    Returns:
        What `describe_model` gave.

    Raises:
        UserError: it was not exported by this package.
    """
    place = path + ".json"
    if not path.endswith(".tflite"):
        place = os.path.join(path, "assets", NAME)
    try:
        return files.read_json(place)
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} is no exported model, its description {place} cannot be read ({error}). "
            "Make one by: python -m drsl_tf.export --run_dir=RUN --output=MODEL"
        ) from error
