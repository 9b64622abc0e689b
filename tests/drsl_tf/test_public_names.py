"""The names that `drsl_tf` offers, and what using one of them registers."""

import os

import keras
import numpy as np
import pytest

import drsl_tf
from data_pipelines.errors import UserError
from tests.support import calls
from tests.support import repository
from tests.support import toys


def test_every_name_is_there_and_listed():
    assert set(drsl_tf.__all__) <= set(dir(drsl_tf))
    for name in drsl_tf.__all__:
        assert getattr(drsl_tf, name) is not None
    assert drsl_tf.losses.mode_margin_loss and drsl_tf.backbones.small_cnn
    with pytest.raises(AttributeError, match="nothing"):
        drsl_tf.nothing  # noqa: B018


def test_the_import_alone_imports_nothing_large():
    loaded = calls.read_output("-c", "import sys, drsl_tf; print(sorted(sys.modules))")
    for module in ("numpy", "tensorflow", "keras", "gin", "data_pipelines"):
        assert f"'{module}'" not in loaded


@pytest.mark.parametrize("name", ["train", "export"])
def test_functions_are_not_shadowed_by_the_commands_of_their_names(name):
    code = (
        f"import sys, drsl_tf.{name}\n"
        f"from drsl_tf import {name} as function\n"
        f"assert callable(function) and drsl_tf.{name} is function\n"
        f"assert sys.modules['drsl_tf.{name}'].main"
    )
    calls.read_output("-c", code)


def test_every_serialisable_class_is_registered():
    """The list in the package is that of the modules that register one."""
    found = set()
    for folder, _, names in os.walk(os.path.join(repository.ROOT, "drsl_tf")):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py"):
                with open(path, encoding="utf-8") as file:
                    if "@keras.saving.register_keras_serializable" in file.read():
                        found.add(os.path.relpath(path[:-3], repository.ROOT))
    assert {path.replace(os.sep, ".") for path in found} == set(drsl_tf._SERIALISABLE)


@pytest.mark.parametrize("class_name", ["DrslModel", "OnlineDrslModel"])
def test_a_saved_model_loads_and_trains_on_in_a_fresh_process(tmp_path, class_name):
    model = toys.make_model(model_class=getattr(drsl_tf, class_name), batch_norm_training=False)
    update = drsl_tf.GradientUpdate(head_rate_factor=10.0, clip_norm=1.0, weight_decay=0.01)
    model.compile(keras.optimizers.Adam(0.01), gradient_update=update)
    model.train_step(toys.make_batch())
    path = str(tmp_path / "model.keras")
    model.save(path)
    code = (
        "import sys, numpy as np, keras, drsl_tf\n"
        f"drsl_tf.{class_name}\n"
        "from tests.support import toys\n"
        "for number, load in enumerate((drsl_tf.load_model, keras.models.load_model)):\n"
        "    model = load(sys.argv[1])\n"
        f"    assert type(model) is drsl_tf.{class_name}\n"
        "    toys.freeze_batch_norm(model)\n"
        "    model.train_step(toys.make_batch())\n"
        "    np.savez(f'{sys.argv[1]}.{number}.npz', *map(np.array, model.trainable_variables))\n"
        "model = drsl_tf.load_model(sys.argv[1], compile=False)\n"
        "assert getattr(model, 'optimizer', None) is None\n"
    )
    calls.read_output("-c", code, path)
    # The second step depends on the first moments and the number of steps of both optimizers.
    model.train_step(toys.make_batch())
    for number in range(2):
        loaded = np.load(f"{path}.{number}.npz")
        for index, variable in enumerate(model.trainable_variables):
            np.testing.assert_allclose(loaded[f"arr_{index}"], np.array(variable), atol=1e-4)


def test_what_is_no_such_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file.*drsl_tf.Predictor"):
        drsl_tf.load_model(str(tmp_path))
    path = str(tmp_path / "other.keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(UserError, match="not a DrslModel"):
        drsl_tf.load_model(path)
