"""Keras callbacks that monitor a value."""

import keras
import pytest

from data_pipelines.errors import UserError
from drsl_tf.monitoring.monitored_values import check_monitors

_LOSSES = ["loss", "ce_source"]
_CLASSES = ["road", "sky"]


@pytest.mark.parametrize(
    "options, classes, words",
    [
        ({}, _CLASSES, "'val_loss', which cannot be monitored.*loss, ce_source, miou, iou/road"),
        ({"monitor": "miou", "mode": "max"}, None, "monitored without labels"),
        ({"monitor": "miou_", "mode": "max"}, _CLASSES, "'miou_', which cannot be monitored"),
        ({"monitor": "iou/raod", "mode": "max"}, _CLASSES, "'iou/raod', which cannot be monitored"),
        (
            {"monitor": "pseudo_label/all"},
            _CLASSES,
            "'pseudo_label/all', which cannot be monitored",
        ),
        ({"monitor": "pseudo_label/pixels/raod"}, _CLASSES, "pixels/raod', which cannot"),
        ({"monitor": "iou/road"}, _CLASSES, 'EarlyStopping.mode to "max"'),
        ({"monitor": "miou", "mode": "min"}, _CLASSES, 'EarlyStopping.mode to "max"'),
        ({"monitor": "loss", "restore_best_weights": True}, _CLASSES, "--checkpoint=best"),
    ],
)
def test_what_would_have_no_effect_is_refused(options, classes, words):
    with pytest.raises(UserError, match=words):
        check_monitors(
            [keras.callbacks.EarlyStopping(**options)],
            _LOSSES,
            scored_classes=classes,
            labelled_classes=_CLASSES,
        )


def test_what_stages_report_can_be_monitored():
    early = keras.callbacks.EarlyStopping
    callbacks = [
        keras.callbacks.Callback(),
        early("miou", mode="max"),
        early("iou/road", mode="max"),
        early("loss"),
        early("ce_source", mode="min"),
        early("pseudo_label/fraction", mode="max"),
        early("pseudo_label/fractions/road", mode="max"),
        keras.callbacks.ModelCheckpoint("every.weights.h5", save_weights_only=True),
    ]
    check_monitors(callbacks, _LOSSES, scored_classes=_CLASSES, labelled_classes=_CLASSES)
    # A mean teacher stores no labels, and without a round there are none.
    with pytest.raises(UserError, match="'pseudo_label/fraction', which cannot be monitored"):
        check_monitors(callbacks, _LOSSES, scored_classes=_CLASSES, labelled_classes=None)
