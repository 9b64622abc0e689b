"""Learning rates over a run, against plain arithmetic."""

import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.optimization.stage_schedule import StageSchedule


def _compute_rate(step, *, power=0.9, per_round=None, warmup=0, drop_every=None, source_steps=100):
    """The rate of a step with 1.0 in the source stage and 0.2 in the rounds."""
    if step < source_steps:
        rate = (1 - step / source_steps) ** power
        rate *= 0.1 ** (step // drop_every) if drop_every else 1.0
    else:
        within = (step - source_steps) % per_round if per_round else 0
        rate = 0.2 * (1 - within / per_round) ** power if per_round else 0.2
    return rate * (min(1.0, (step + 1) / warmup) if warmup else 1.0)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"per_round": 30},
        {"power": 1.0, "warmup": 15},
        {"power": 0.0, "drop_every": 40},
        {"power": 1.0, "warmup": 8, "per_round": 30, "source_steps": 0},
    ],
)
def test_rates_of_every_stage(settings):
    schedule = StageSchedule(
        source_rate=1.0,
        source_steps=settings.get("source_steps", 100),
        adaptation_rate=0.2,
        steps_per_round=settings.get("per_round"),
        power=settings.get("power", 0.9),
        warmup_steps=settings.get("warmup", 0),
        drop_every=settings.get("drop_every"),
    )
    copy = StageSchedule(**schedule.get_config())
    for step in (0, 1, 7, 14, 15, 39, 40, 79, 80, 99, 100, 101, 129, 130, 175):
        expected = _compute_rate(step, **settings)
        for dtype in (tf.int64, tf.float32):
            assert float(schedule(tf.constant(step, dtype))) == pytest.approx(expected, rel=1e-4)
        assert float(copy(step)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name, value", [("source_rate", 0.0), ("drop_every", 0)])
def test_settings_out_of_range_are_refused(name, value):
    settings = {"source_rate": 1.0, "source_steps": 1, "adaptation_rate": 1.0, name: value}
    with pytest.raises(UserError, match=name):
        StageSchedule(**settings)
