"""Loading of models saved by Keras."""

from __future__ import annotations

import os

import keras

from data_pipelines.errors import UserError
from drsl_tf.models.model import DrslModel


def load_model(path: str, *, compile: bool = True) -> DrslModel:
    """Loads a model that `model.save` wrote; all classes of this package are registered with Keras.

    Args:
        path: a `.keras` file.
        compile: whether to compile the model as it was, with the states of its optimizers.

    Returns:
        A `DrslModel`, or an `OnlineDrslModel` with its teacher.

    Raises:
        UserError: there is no such file, or it holds another model.
    """
    if not os.path.isfile(path):
        raise UserError(
            f"There is no file {os.path.abspath(path)}. Name what model.save wrote; a run "
            "directory is exported by drsl_tf.export, a SavedModel opened by drsl_tf.Predictor."
        )
    # The only place that loads a model: safe mode refuses code.
    model = keras.models.load_model(path, compile=compile, safe_mode=True)  # noqa: TID251
    if not isinstance(model, DrslModel):
        raise UserError(f"{os.path.abspath(path)} holds a {type(model).__name__}, not a DrslModel.")
    return model
