"""Rounds of self-training inside one call of `fit`."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import drsl_tf
from data_pipelines.errors import UserError
from drsl_tf.self_training import fit_callback
from tests.support import toys

_TARGET = toys.make_batch(num_target=5)["target"]["image"].numpy()


def _make_source(count=4):
    half = toys.make_batch(num_source=count)["source"]
    return tf.data.Dataset.from_tensor_slices((half["image"], half["label"])).batch(2)


class _Record(keras.callbacks.Callback):
    """Keeps the cross-entropy on the target in every step, and the labels of every epoch."""

    def __init__(self, rounds):
        super().__init__()
        self._rounds = rounds
        self.losses, self.labels = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["ce_target"]))

    def on_epoch_end(self, epoch, logs=None):
        self.labels.append(self._rounds.labels)


def test_every_round_labels_the_target_and_trains_on_it():
    model = toys.make_model(with_modes=False, batch_norm_training=False)
    model.compile(keras.optimizers.SGD(0.0))
    rounds = drsl_tf.SelfTrainingCallback(
        _TARGET,
        batch_size=3,
        epochs_per_round=2,
        pseudo_labeler=drsl_tf.PseudoLabeler(
            portion=0.2, portion_step=0.3, portion_limit=0.9, rule="argmax", num_bins=1 << 16
        ),
    )
    record = _Record(rounds)
    history = model.fit(_make_source(), epochs=4, callbacks=[rounds, record], verbose=0).history
    assert [report.round for report in rounds.reports] == [1, 2]
    assert [report.portion for report in rounds.reports] == [0.2, 0.5]
    assert len(record.losses) == 8 and min(record.losses) > 0, "no batch is without labels"
    assert len(set(record.losses)) > 4, "batches are of several images"
    assert set(history) == {"loss", "ce_source", "ce_target", "gradient_norm"}
    # No weight changes: all labels are predictions, and those of round 1 are among round 2's.
    prediction = model.predict_labels(np.rint(_TARGET))
    for place, report in ((0, rounds.reports[0]), (1, rounds.reports[0]), (3, rounds.reports[1])):
        labels = record.labels[place]
        selected = labels != 255
        assert selected.mean() == pytest.approx(report.fraction)
        assert report.fraction == pytest.approx(report.portion, abs=0.05)
        assert np.mean(labels[selected] == prediction[selected]) > 0.999
    assert np.all((record.labels[0] == 255) | (record.labels[0] == record.labels[3]))


def test_the_first_batch_of_a_round_has_its_labels():
    model = toys.make_model(with_modes=False, batch_norm_training=False)
    model.compile(keras.optimizers.SGD(0.0))
    labeler = drsl_tf.PseudoLabeler(portion=0.2, portion_step=0.6, rule="argmax")
    rounds = drsl_tf.SelfTrainingCallback(_TARGET, batch_size=5, pseudo_labeler=labeler)
    record = _Record(rounds)
    source = _make_source().repeat()
    model.fit(source, epochs=2, steps_per_epoch=4, callbacks=[rounds, record], verbose=0)
    # Every step has all target images, and no weight changes.
    losses = np.array(record.losses)
    assert losses[:4] == pytest.approx(losses[0], rel=1e-4)
    assert losses[4:] == pytest.approx(losses[7], rel=1e-4)
    assert abs(losses[7] - losses[0]) > 0.01 * losses[0]


def test_without_the_target_in_the_batches_it_is_refused():
    model = toys.make_model(with_modes=False)
    model.compile(keras.optimizers.SGD(0.0))
    rounds = drsl_tf.SelfTrainingCallback(_TARGET, batch_size=3)
    with pytest.raises(UserError, match="would have no effect.*Monitoring.callbacks"):
        callbacks = keras.callbacks.CallbackList([rounds], model=model)
        model.fit(_make_source(), callbacks=callbacks, verbose=0)


def test_a_job_of_several_processes_is_refused(monkeypatch):
    model = toys.make_model(with_modes=False)
    model.compile(keras.optimizers.SGD(0.0))
    monkeypatch.setattr(fit_callback, "Workers", lambda _: types.SimpleNamespace(count=2))
    with pytest.raises(UserError, match="labels the target in one process.*drsl_tf.adapt"):
        callbacks = [drsl_tf.SelfTrainingCallback(_TARGET, batch_size=3)]
        model.fit(_make_source(), callbacks=callbacks, verbose=0)


def test_batches_hold_every_target_image_equally_often():
    images = np.broadcast_to(np.arange(5.0)[:, None, None, None], (5, 32, 64, 3))
    rounds = drsl_tf.SelfTrainingCallback(images, batch_size=3)
    rounds.set_model(toys.make_model())
    joined = rounds.join_target(_make_source(10))
    assert joined.cardinality() == 5
    drawn = np.concatenate(
        [batch["target"]["image"][:, 0, 0, 0] for batch in joined.as_numpy_iterator()]
    )
    np.testing.assert_array_equal(np.bincount(drawn), [3] * 5)
    assert drawn.tolist() != sorted(drawn.tolist())
    for plain, batch in zip(_make_source(10), joined):
        np.testing.assert_array_equal(plain[0], batch["source"]["image"])
        np.testing.assert_array_equal(plain[1], batch["source"]["label"])
    assert rounds.join_target(_make_source().repeat()).cardinality() < 0


def test_the_usage_of_modes_is_that_of_the_images_without_padding():
    model = toys.make_model()
    size = (40, 72)
    assert all(side % model.size_multiple for side in size)
    rounds = drsl_tf.SelfTrainingCallback(np.zeros((3, *size, 3)), batch_size=3)
    rounds.set_model(model)
    source = toys.make_batch(size=size)["source"]
    rounds.join_target(tf.data.Dataset.from_tensors((source["image"], source["label"])))
    rounds.on_train_begin()
    rounds.on_epoch_begin(0)
    (report,) = rounds.reports
    cells = 3 * size[0] * size[1] / model.embedding_stride**2
    assert sum(map(sum, report.mode_usage.values())) == cells


def test_a_model_that_labels_online_gets_the_images_alone():
    rounds = drsl_tf.SelfTrainingCallback(_TARGET, batch_size=2)
    rounds.set_model(toys.make_model(model_class=drsl_tf.OnlineDrslModel))
    joined = rounds.join_target(_make_source())
    rounds.on_train_begin()
    rounds.on_epoch_begin(0)
    assert rounds.reports == [] and (rounds.labels == 255).all()
    # 255 would mark padding.
    assert not next(joined.as_numpy_iterator())["target"]["label"].any()


@pytest.mark.parametrize(
    ("make_source", "words"),
    [
        (lambda: np.zeros((2, 32, 64, 3)), "needs the source as a tf.data.Dataset"),
        (lambda: tf.data.Dataset.from_tensors(toys.make_batch()), "leave it out of the dataset"),
        (
            lambda: tf.data.Dataset.from_tensors(toys.make_batch(size=(32, 32))["source"]),
            r"target has images of \(32, 64\) pixels, and the source of \(32, 32\)",
        ),
        (
            lambda: tf.data.Dataset.from_tensors((tf.zeros((2, 32, 64, 3)), tf.zeros((2, 32, 64)))),
            "Labels are integers",
        ),
    ],
)
def test_other_sources_are_refused(make_source, words):
    with pytest.raises(UserError, match=words):
        drsl_tf.SelfTrainingCallback(_TARGET, batch_size=2).join_target(make_source())


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        (_TARGET, {"batch_size": 0}, "batch_size is 0"),
        (_TARGET, {"epochs_per_round": 0}, "epochs_per_round is 0"),
        (_TARGET[0], {}, r"Images are \(B, H, W, 3\)"),
        (_TARGET[:0], {}, "target has no image"),
    ],
)
def test_other_arguments_are_refused(target, settings, words):
    with pytest.raises(UserError, match=words):
        drsl_tf.SelfTrainingCallback(target, **{"batch_size": 2, **settings})
