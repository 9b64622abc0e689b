"""Arguments out of range are refused where they are given, not hours later where they are used."""

import pytest

import drsl_tf
from data_pipelines.errors import UserError
from tests.support import toys


@pytest.mark.parametrize(
    "make, argument, value",
    [
        (drsl_tf.Inference, "batch_size", 0),
        (drsl_tf.Inference, "batch_size", -1),
        (drsl_tf.Inference, "size", (0, 64)),
        (drsl_tf.Inference, "size", (32, 64, 3)),
        (toys.make_model, "samples_per_mode", 0),
        (toys.make_model, "sigma", 0.0),
        (drsl_tf.RunSettings, "seed", -1),
        (drsl_tf.RunSettings, "seed", 1 << 31),
        (drsl_tf.RunSettings, "max_retries", 0.5),
    ],
)
def test_arguments_out_of_range_are_refused(make, argument, value):
    options = {"experiment": "test"} if make is drsl_tf.RunSettings else {}
    with pytest.raises(UserError, match=rf"{argument} (is|{value})"):
        make(**options, **{argument: value})
