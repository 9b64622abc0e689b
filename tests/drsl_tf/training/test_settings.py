"""Settings that would fail hours later are refused when they are made."""

import pytest

from data_pipelines.errors import UserError
from drsl_tf.models.inference import Inference
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.training.settings import RunSettings
from tests.support import streets

_STEPS = {"source_steps": 4, "rounds": 1, "steps_per_round": 2}


@pytest.mark.parametrize(
    "name, value", [("steps_per_round", 4e4), ("rounds", -1), ("checkpoint_every", 0)]
)
def test_steps_are_integers(name, value):
    with pytest.raises(UserError, match=f"Schedule.{name} is .*; it must be an integer"):
        Schedule(**{**_STEPS, name: value})


@pytest.mark.parametrize("batch", [0, 2.0])
def test_batches_are_integers(tmp_path, batch):
    with pytest.raises(UserError, match=f"AdaptationData.target_batch is {batch}"):
        streets.make_data((str(tmp_path), str(tmp_path)), target_batch=batch)


@pytest.mark.parametrize(
    "name, value",
    [("precision", "float16"), ("experiment", 3), ("experiment", ""), ("seed", 0.5)],
)
def test_run_settings_out_of_range_are_refused(name, value):
    with pytest.raises(UserError, match=f"RunSettings.{name} is"):
        RunSettings(**{"experiment": "mine", name: value})


@pytest.mark.parametrize("size", [(512,), (0, 4), 512])
def test_a_size_is_a_height_and_a_width(size):
    with pytest.raises(UserError, match="Inference.size is .*height, width"):
        Inference(size=size)
