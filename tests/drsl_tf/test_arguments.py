"""Arguments out of range are refused where they are given, not hours later where they are used."""

import re

import pytest

import drsl_tf
from data_pipelines.errors import UserError
from tests.support import toys


def _make_head(**options):
    return drsl_tf.MultimodalHead(19, **options)


def _make_schedule(**options):
    rates = {"source_rate": 0.1, "adaptation_rate": 0.1}
    return drsl_tf.StageSchedule(source_steps=10, **rates, **options)


@pytest.mark.parametrize(
    "make, argument, value",
    [
        (drsl_tf.Inference, "batch_size", 0),
        (drsl_tf.Inference, "batch_size", 2.5),
        (drsl_tf.Inference, "size", (0, 64)),
        (drsl_tf.Inference, "size", (32, 64, 3)),
        (toys.make_model, "samples_per_mode", 0),
        (toys.make_model, "sibling_temperature", 0.0),
        (toys.make_model, "sigma", 0.0),
        (_make_head, "modes_per_class", 0),
        (_make_head, "embedding_dim", 64.0),
        (_make_schedule, "warmup_steps", -1500),
        (_make_schedule, "steps_per_round", -1),
        (_make_schedule, "power", -0.9),
        (_make_schedule, "drop_every", 0),
        (_make_schedule, "drop_factor", 0.0),
        (drsl_tf.GradientUpdate, "micro_batches", 2.0),
        (drsl_tf.ModeStart, "images", 0.5),
        (drsl_tf.ModeStart, "pixels_per_class", 0),
        (drsl_tf.PseudoLabeler, "num_bins", 4096.0),
        (drsl_tf.PseudoLabeler, "confidence_floor", 1.5),
        (drsl_tf.TargetStatistics, "images", 0.5),
        (drsl_tf.RunSettings, "seed", -1),
        (drsl_tf.RunSettings, "seed", 1 << 31),
        (drsl_tf.RunSettings, "max_retries", 0.5),
    ],
)
def test_arguments_out_of_range_are_refused(make, argument, value):
    options = {"experiment": "test"} if make is drsl_tf.RunSettings else {}
    with pytest.raises(UserError, match=re.escape(f"{argument} is {value!r}")):
        make(**options, **{argument: value})
