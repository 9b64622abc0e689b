"""The mean teacher, its labels and their weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.self_training.online_model import OnlineDrslModel
from tests.support import naive
from tests.support import toys

# The teacher has a multi-modal head of its own.
_MODE_LABELS = {"mode_label_weight": 1.0, "head_settings": {"usage_decay": 0.5}}


def _make_model(**settings):
    return toys.make_model(model_class=OnlineDrslModel, **settings)


def _list_student(model):
    pairs = model.base.weights + model.segmentation_head.weights
    return [variable.numpy() for variable in pairs]


def _list_teacher(model):
    return [variable.numpy() for variable in model.teacher.variables]


@pytest.mark.parametrize("starts_trained", [False, True])
def test_the_teacher_is_the_average_of_everything_it_follows(starts_trained):
    model = _make_model(teacher_decay=0.7)
    model.starts_trained = starts_trained
    toys.compile_model(model, keras.optimizers.SGD(0.5))
    assert len(_list_teacher(model)) == len(_list_student(model))
    expected = _list_student(model)
    for index in range(6):
        model.train_step(toys.make_batch(seed=index))
        decay = 0.7 if starts_trained else min(1 - 1 / (index + 1), 0.7)
        student = _list_student(model)
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, student)]
        for a, b in zip(expected, _list_teacher(model)):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # The statistics of batch normalisation moved as well.
    names = [variable.name for variable in model.base.weights]
    moved = [name for name, a, b in zip(names, expected, student) if np.abs(a - b).max() > 1e-6]
    assert any("moving_variance" in name for name in moved)


def test_the_teacher_predicts_what_an_equal_student_predicts():
    model = _make_model()
    images = toys.make_batch()["source"]["image"]
    logits = tf.image.resize(model(images)["logits"], (32, 64))
    np.testing.assert_allclose(logits, model.teacher.predict_logits(images), atol=1e-5)


def test_the_teacher_is_no_part_of_the_model():
    model, plain = _make_model(), toys.make_model()
    assert len(model.variables) == len(plain.variables)
    assert len(model.trainable_variables) == len(plain.trainable_variables)


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
def test_labels_are_the_teachers_and_weigh_their_confident_share(threshold):
    model = _make_model(threshold=threshold)
    kernel = model.segmentation_head.weights[0]
    kernel.assign(kernel * 8.0)
    model = type(model).from_config(model.get_config())
    model.segmentation_head.weights[0].assign(kernel)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    model.teacher.follow(0.0)
    batch = toys.make_batch()
    padding = batch["target"]["label"].numpy() == 255
    prepared = model.prepare_batch(batch)
    for key, value in batch["source"].items():
        assert prepared["source"][key] is value
    logits = model.teacher.predict_logits(batch["target"]["image"]).numpy().astype(np.float64)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    confident = (probability.max(-1) >= threshold) & ~padding
    label = np.where(padding, 255, logits.argmax(-1))
    target = {key: value.numpy() for key, value in prepared["target"].items()}
    np.testing.assert_array_equal(target["label"], label)
    np.testing.assert_array_equal(target["mode_label"], np.where(confident, label, 255))
    found, is_confident = model.label_images(batch["target"]["image"])
    np.testing.assert_array_equal(found, logits.argmax(-1))
    np.testing.assert_array_equal(is_confident & ~padding, confident)
    for index in range(4):
        share = confident[index].sum() / (~padding[index]).sum()
        np.testing.assert_allclose(target["weight"][index], share, rtol=1e-5)
    if threshold == 0.7:
        assert 0 < confident.sum() < (~padding).sum()


@pytest.mark.parametrize(
    "weight, keeps_usage, feature_share", [(1.0, True, 0.0), (0.5, False, 0.0), (1.0, True, 0.5)]
)
def test_modes_correct_the_teachers_labels(weight, keeps_usage, feature_share):
    model = _make_model(
        head_settings={
            "usage_decay": 0.5 if keeps_usage else None,
            "feature_share": feature_share,
        },
        mode_label_weight=weight,
        threshold=0.5,
    )
    toys.compile_model(model, keras.optimizers.SGD(0.5))
    batch = toys.make_batch()
    model.train_step(batch)  # The teacher is the student after it.
    head, images = model.multimodal_head, batch["target"]["image"]
    usage = head.usage.numpy() if keeps_usage else np.full((toys.NUM_CLASSES, 2), 0.5)
    outputs = model(images)
    *grid, dim = outputs["embedding"].shape
    scores = naive.mode_log_scores(
        outputs["embedding"].numpy().reshape(-1, dim), head.modes.numpy(), usage, 0.1
    )
    scores = scores.reshape(*grid, toys.NUM_CLASSES)
    plain, factors = (
        tf.nn.softmax(tf.image.resize(each, (32, 64))).numpy()
        for each in (outputs["logits"], scores)
    )
    expected = plain * factors**weight
    expected /= expected.sum(-1, keepdims=True)
    found = tf.nn.softmax(model.teacher.predict_logits(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (expected.argmax(-1) != plain.argmax(-1)).any()
    target = model.prepare_batch(batch)["target"]
    is_image = batch["target"]["label"].numpy() != 255
    np.testing.assert_array_equal(target["label"], np.where(is_image, found.argmax(-1), 255))
    confident = is_image & (found.max(-1) >= 0.5)
    np.testing.assert_array_equal(target["mode_label"] != 255, confident)


def test_the_teacher_takes_the_directions_of_the_features_as_they_are():
    """They are replaced during the training, and an average of two bases is none."""
    model = _make_model(mode_label_weight=1.0, head_settings={"feature_share": 0.5})
    toys.compile_model(model, keras.optimizers.SGD(0.5))
    projection = model.multimodal_head.projection
    for step in range(4):
        if step == 2:
            projection.assign(np.flip(projection.numpy(), axis=1))
        model.train_step(toys.make_batch(seed=step))
    found = [each for each in _list_teacher(model) if each.shape == tuple(projection.shape)]
    assert any((each == projection.numpy()).all() for each in found)


def test_modes_that_correct_labels_need_a_head():
    with pytest.raises(UserError, match="mode_label_weight is 1.0, but the model has no"):
        _make_model(with_modes=False, mode_label_weight=1.0)


def test_mixed_images_carry_labels_and_weights_with_them():
    clean = {"jitter": 0.0, "blur_chance": 0.0, "threshold": 0.9}
    model = _make_model(mix_classes=True, **clean)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    plain = _make_model(**clean)
    toys.compile_model(plain, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    target = {k: v.numpy() for k, v in model.prepare_batch(batch)["target"].items()}
    under = {k: v.numpy() for k, v in plain.prepare_batch(batch)["target"].items()}
    source = {k: v.numpy() for k, v in batch["source"].items()}
    pasted = (target["image"] == source["image"]).all(-1)
    for index in range(4):
        label = source["label"][index]
        classes = np.unique(label[pasted[index]])
        present = np.setdiff1d(label, [255])
        assert len(classes) == (len(present) + 1) // 2 and 255 not in classes
        np.testing.assert_array_equal(pasted[index], np.isin(label, classes))
    for key in ("image", "label"):
        np.testing.assert_array_equal(target[key][pasted], source[key][pasted])
        np.testing.assert_array_equal(target[key][~pasted], under[key][~pasted])
    assert (target["weight"][pasted] == 1.0).all()
    assert (target["mode_label"][pasted] == 255).all()
    np.testing.assert_array_equal(target["weight"][~pasted], under["weight"][~pasted])
    model.optimizer.iterations.assign(1)
    other = model.prepare_batch(batch)["target"]["image"].numpy()
    assert ((other == source["image"]).all(-1) != pasted).any()


def test_the_student_sees_what_the_step_changes():
    """The same in the same step; labels are those of the clean image."""
    model, clean = _make_model(), _make_model(jitter=0.0, blur_chance=0.0)
    for each in (model, clean):
        toys.compile_model(each, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    first, again = (model.prepare_batch(batch)["target"] for _ in range(2))
    expected = clean.prepare_batch(batch)["target"]
    np.testing.assert_array_equal(expected["image"], batch["target"]["image"])
    for key in ("label", "weight", "mode_label"):
        np.testing.assert_array_equal(first[key], expected[key])
    np.testing.assert_array_equal(first["image"], again["image"])
    changed = np.abs(first["image"] - batch["target"]["image"]).max(axis=(1, 2, 3)) > 1.0
    assert changed.any()
    model.optimizer.iterations.assign(1)
    assert np.abs(model.prepare_batch(batch)["target"]["image"] - first["image"]).max() > 1.0


def test_masked_images_have_the_labels_of_the_unmixed_target():
    settings = {"mask_weight": 1.0, "mask_block": 8, "mask_ratio": 0.5, "threshold": 0.9}
    model = _make_model(mix_classes=True, **settings)
    unmixed = _make_model(**settings)
    for each in (model, unmixed):
        toys.compile_model(each, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    masked = {k: v.numpy() for k, v in model.prepare_batch(batch)["masked"].items()}
    plain = {k: v.numpy() for k, v in unmixed.prepare_batch(batch)["target"].items()}
    for key in ("label", "weight"):
        np.testing.assert_array_equal(masked[key], plain[key])
    is_masked = (masked["image"] != plain["image"]).any(-1)
    assert 0.3 < is_masked.mean() < 0.7
    # The small network maps mid-grey to 0.
    assert (masked["image"][is_masked] == 127.5).all()
    blocks = is_masked.reshape(4, 4, 8, 8, 8).transpose(0, 1, 3, 2, 4).reshape(-1, 64)
    assert set(blocks.mean(axis=1)) == {0.0, 1.0}


def test_the_masked_term_is_part_of_the_loss():
    batch = toys.make_batch()
    logs = {}
    for weight in (0.0, 2.0):
        model = _make_model(mask_weight=weight, threshold=0.1, batch_norm_training=False)
        toys.compile_model(model, keras.optimizers.SGD(0.0))
        logs[weight] = {k: float(v) for k, v in tf.function(model.train_step)(batch).items()}
    assert "ce_masked" not in logs[0.0] and logs[2.0]["ce_masked"] > 0
    added = logs[2.0]["loss"] - logs[0.0]["loss"]
    assert added == pytest.approx(2.0 * logs[2.0]["ce_masked"], rel=1e-4)
    with pytest.raises(UserError, match="only OnlineDrslModel has"):
        toys.make_model(mask_weight=1.0)


def test_rows_at_the_edges_have_no_weight():
    model = _make_model(ignore_top=0.1, ignore_bottom=0.25, jitter=0.0, threshold=0.2)
    plain = _make_model(jitter=0.0, threshold=0.2)
    for each in (model, plain):
        toys.compile_model(each, keras.optimizers.SGD(0.0))
    batch = toys.make_batch()
    found, expected = (each.prepare_batch(batch)["target"] for each in (model, plain))
    # Of 32 rows 3.2 and 8: a row counts if its centre does.
    np.testing.assert_array_equal(found["label"], expected["label"])
    np.testing.assert_array_equal(found["weight"][:, 3:24], expected["weight"][:, 3:24])
    assert not np.any(found["weight"][:, :3]) and not np.any(found["weight"][:, 24:])
    np.testing.assert_array_equal(found["mode_label"][:, 3:24], expected["mode_label"][:, 3:24])
    assert np.all(found["mode_label"][:, :3] == 255)


def test_the_cross_entropy_is_weighted():
    model = _make_model(threshold=1.0)
    toys.compile_model(model, keras.optimizers.SGD(0.0))
    logs = model.train_step(toys.make_batch())
    assert float(logs["ce_target"]) == 0.0 and float(logs["ce_source"]) > 0
    sure = _make_model(threshold=0.0)
    toys.compile_model(sure, keras.optimizers.SGD(0.0))
    assert float(sure.train_step(toys.make_batch())["ce_target"]) > 0


def test_every_loss_is_there_and_the_source_stage_trains_too():
    model = _make_model(mix_classes=True, threshold=0.2)
    toys.compile_model(model, keras.optimizers.SGD(0.01))
    step = tf.function(model.train_step)
    logs = {k: float(v) for k, v in step(toys.make_batch(num_target=0)).items()}
    assert logs["ce_source"] > 0 and logs["ce_target"] == logs["sma"] == 0.0
    logs = {k: float(v) for k, v in tf.function(model.train_step)(toys.make_batch()).items()}
    assert all(logs[name] > 0 for name in ("ce_target", "dml_source", "dml_target"))


@pytest.mark.parametrize("settings", [{}, _MODE_LABELS], ids=["", "modes"])
def test_a_checkpoint_holds_the_teacher(tmp_path, settings):
    def make():
        model = _make_model(mix_classes=True, mask_weight=1.0, **settings)
        toys.compile_model(model, keras.optimizers.SGD(0.1))
        return model, CheckpointStore(str(tmp_path), model, model.optimizer, {})

    model, store = make()
    for index in range(3):
        model.train_step(toys.make_batch(seed=index))
    store.save()
    twin, twin_store = make()
    assert len(twin_store.variables["extra"]) == len(model.teacher.variables)
    assert twin_store.restore_latest()
    for a, b in zip(_list_teacher(model), _list_teacher(twin)):
        np.testing.assert_array_equal(a, b)
    model.train_step(toys.make_batch(seed=9))
    twin.train_step(toys.make_batch(seed=9))
    for a, b in zip(_list_teacher(model), _list_teacher(twin)):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, _MODE_LABELS], ids=["", "modes"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_saved_model_has_its_teacher_again(tmp_path, whole, settings):
    model = _make_model(teacher_decay=0.7, **settings)
    toys.compile_model(model, keras.optimizers.SGD(0.5))
    for index in range(3):
        model.train_step(toys.make_batch(seed=index))
    if whole:
        path = str(tmp_path / "model.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
    else:
        path = str(tmp_path / "model.weights.h5")
        model.save_weights(path)
        loaded = type(model).from_config(model.get_config())
        loaded.load_weights(path)
    for list_variables in (_list_student, _list_teacher):
        for expected, found in zip(list_variables(model), list_variables(loaded)):
            np.testing.assert_array_equal(expected, found)
    assert any(np.any(a != b) for a, b in zip(_list_student(model), _list_teacher(model)))


def test_weights_without_a_teacher_are_refused_or_adopted(tmp_path):
    plain = toys.make_model()
    plain.segmentation_head.weights[0].assign_add(tf.ones_like(plain.segmentation_head.weights[0]))
    path = str(tmp_path / "plain.weights.h5")
    plain.save_weights(path)
    model = _make_model()
    with pytest.raises(ValueError, match="adopt_weights"):
        model.load_weights(path)
    with pytest.warns(UserWarning):
        model.load_weights(path, skip_mismatch=True)
    model.adopt_weights()
    student = [variable.numpy() for variable in plain.base.weights]
    student += [variable.numpy() for variable in plain.segmentation_head.weights]
    for expected, found in zip(student, _list_teacher(model)):
        np.testing.assert_array_equal(expected, found)


def test_config_round_trip_keeps_the_settings():
    model = _make_model(threshold=0.5, mix_classes=True, dml_weight=0.25)
    config = type(model).from_config(model.get_config()).get_config()
    assert (config["threshold"], config["mix_classes"], config["dml_weight"]) == (0.5, True, 0.25)


@pytest.mark.parametrize(
    "name", ["threshold", "teacher_decay", "jitter", "mask_ratio", "mode_label_weight"]
)
def test_settings_out_of_range_are_refused(name):
    with pytest.raises(UserError, match=name):
        _make_model(**{name: 1.5})


def test_masks_need_a_known_size():
    model = _make_model(mask_weight=1.0)
    toys.compile_model(model, keras.optimizers.SGD(0.1))
    spec = {
        half: {
            "image": tf.TensorSpec((2, None, None, 3)),
            "label": tf.TensorSpec((2, None, None), tf.int32),
        }
        for half in ("source", "target")
    }
    with pytest.raises(UserError, match="mask_weight needs images of a size"):
        tf.function(model.prepare_batch).get_concrete_function(spec)
