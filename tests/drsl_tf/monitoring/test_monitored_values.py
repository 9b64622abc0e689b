"""Keras callbacks that monitor a value."""

import keras
import pytest

from data_pipelines.errors import UserError
from drsl_tf.monitoring.monitored_values import check_monitors

_LOSSES = ["loss", "ce_source"]


@pytest.mark.parametrize(
    "options, is_scored, words",
    [
        ({}, True, "'val_loss', which no stage reports.*loss, ce_source, miou, iou/CLASS"),
        ({"monitor": "miou", "mode": "max"}, False, "reports without labels"),
        ({"monitor": "iou/road"}, True, 'EarlyStopping.mode to "max"'),
        ({"monitor": "miou", "mode": "min"}, True, 'EarlyStopping.mode to "max"'),
        ({"monitor": "loss", "restore_best_weights": True}, True, "--checkpoint=best"),
    ],
)
def test_what_would_have_no_effect_is_refused(options, is_scored, words):
    with pytest.raises(UserError, match=words):
        check_monitors([keras.callbacks.EarlyStopping(**options)], _LOSSES, is_scored)


def test_what_stages_report_can_be_monitored():
    early = keras.callbacks.EarlyStopping
    callbacks = [
        keras.callbacks.Callback(),
        early("miou", mode="max"),
        early("iou/road", mode="max"),
        early("loss"),
        early("ce_source", mode="min"),
        early("pseudo_label/fraction", mode="max"),
    ]
    check_monitors(callbacks, _LOSSES, True)
