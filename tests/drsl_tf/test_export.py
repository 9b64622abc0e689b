"""What is exported predicts as the run does, and loads without the program."""

import base64
import io
import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import drsl_tf
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables
from drsl_tf.experiments import exporting
from drsl_tf.experiments import loaded_run
from drsl_tf.models import inference
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.serving import model_description
from drsl_tf.serving import onnx_runtime
from drsl_tf.serving import saved_models
from drsl_tf.serving.predictor import Predictor
from tests.support import repository
from tests.support import run_dirs

# What a server's process is: TensorFlow, and neither Keras nor this package. (TensorFlow itself
# imports a Keras where there is one, so only what a user's code could import is blocked.)
_LOADER = """
import sys
import tensorflow as tf

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("drsl_tf", "data_pipelines", "keras", "tf_keras", "keras_cv"):
            raise ImportError(f"{name} is blocked")

for name in list(sys.modules):
    if name.split(".")[0] in ("keras", "tf_keras"):
        del sys.modules[name]
sys.meta_path.insert(0, Blocker())
import numpy as np
model = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
outputs = model.signatures["serving_default"](images=tf.constant(images))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in outputs.items()})
assert not any(name.split(".")[0] in ("drsl_tf", "keras") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Returns a run directory and its model."""
    return run_dirs.make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def saved(run, tmp_path_factory):
    """Exports the run by the command's own function."""
    path = str(tmp_path_factory.mktemp("models") / "model")
    exporting.export_run(run[0], path)
    return path


@pytest.fixture(scope="module")
def loaded(saved):
    """Loads it as plain TensorFlow does."""
    return tf.saved_model.load(saved)


def _draw_images(*shape, seed=0):
    """Draws images with structure at several scales, so that many classes win somewhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (shape[0], shape[1] // 8 + 1, shape[2] // 8 + 1, 3))
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : shape[1], : shape[2]]
    images = images + rng.normal(0, 20, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8)


def _predict(model, images):
    logits = inference.predict_full_size_logits(model, tf.constant(images))
    return tf.argmax(logits, -1).numpy(), tf.reduce_max(tf.nn.softmax(logits), -1).numpy()


def _agreement(labels, others):
    return np.mean(labels == others)


def test_a_run_is_read_back_whole(run):
    run_dir, model = run
    loaded = loaded_run.load_run(run_dir)
    assert loaded.checkpoint.endswith("ckpt-1")
    for array, other in zip(model.get_weights(), loaded.model.get_weights()):
        np.testing.assert_array_equal(array, other)
    assert loaded.experiment.label_space == label_spaces.cityscapes19()
    assert loaded.experiment.get("data", "eval_split") == "val"
    assert loaded.experiment.get("inference").size is None
    assert loaded.experiment.get("data", "target").root == "absent"


def test_half_precision_is_the_models_alone(run, tmp_path):
    path = str(tmp_path / "model")
    exporting.export_run(run[0], path, precision="mixed_bfloat16")
    assert keras.mixed_precision.global_policy().name == "float32"
    images = _draw_images(2, 40, 56)
    outputs = tf.saved_model.load(path).signatures["serving_default"](images=tf.constant(images))
    agreement = _agreement(outputs["label"].numpy(), _predict(run[1], images)[0])
    assert 0.95 <= agreement < 1.0


@pytest.mark.parametrize("shape", [(1, 32, 64), (3, 40, 56), (2, 33, 75), (1, 7, 5)])
def test_predictions_are_the_runs(run, loaded, shape):
    images = _draw_images(*shape)
    label, confidence = _predict(run[1], images)
    outputs = loaded.signatures["serving_default"](images=tf.constant(images))
    assert outputs["label"].dtype == tf.uint8 and outputs["confidence"].dtype == tf.float32
    assert outputs["label"].shape == outputs["confidence"].shape == shape
    assert _agreement(outputs["label"].numpy(), label) >= 0.9999
    np.testing.assert_allclose(outputs["confidence"], confidence, atol=1e-5)
    assert shape[1] < 32 or len(np.unique(label)) > 2


def test_logits_are_served_at_the_images_size(run, loaded):
    images = _draw_images(2, 40, 56).astype(np.float32) + 0.25
    logits = loaded.signatures["logits"](images=tf.constant(images))["logits"]
    expected = inference.predict_full_size_logits(run[1], tf.constant(images))
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "palette", "grey"])
def test_encoded_images_are_decoded_as_by_pillow(loaded, kind):
    encoded, decoded = [], []
    for image in _draw_images(2, 40, 56):
        picture = Image.fromarray(image)
        if kind == "palette":
            picture = picture.quantize(64)
        elif kind == "grey":
            picture = picture.convert("L")
        stream = io.BytesIO()
        picture.save(stream, "JPEG" if kind == "JPEG" else "PNG")
        encoded.append(stream.getvalue())
        decoded.append(np.asarray(Image.open(stream).convert("RGB")))
    outputs = loaded.signatures["encoded"](encoded=tf.constant(encoded))
    expected = loaded.signatures["serving_default"](images=tf.constant(np.stack(decoded)))
    assert _agreement(outputs["label"].numpy(), expected["label"].numpy()) >= 0.9999


def test_a_batch_of_encoded_images_has_one_size(loaded):
    files = []
    for width in (32, 40):
        stream = io.BytesIO()
        Image.new("RGB", (width, 32)).save(stream, "PNG")
        files.append(stream.getvalue())
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["encoded"](encoded=tf.constant(files))


def test_the_multimodal_head_is_left_out(run, saved, loaded):
    model = run[1]
    kept = len(model.base.variables) + len(model.segmentation_head.variables)
    stored = tf.train.list_variables(os.path.join(saved, "variables", "variables"))
    stored = [name for name, _ in stored if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    assert model.multimodal_head.variables and len(stored) == kept
    assert set(loaded.signatures) == {"serving_default", "encoded", "logits"}


def test_the_description_is_an_asset(saved):
    space = label_spaces.cityscapes19()
    table = dict(label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19)
    table[255] = table.pop(-1)
    assert model_description.read_description(saved) == (space, None, table)
    with open(os.path.join(saved, "assets", model_description.NAME), encoding="utf-8") as file:
        description = json.load(file)
    assert description["class_names"] == list(space.class_names)
    assert [tuple(color) for color in description["palette"]] == list(space.palette)
    assert description["label_space"] == "cityscapes19" and description["ignore_id"] == 255
    assert description["network_size"] is None
    assert (
        tf.saved_model.load(saved)
        .description.asset_path.numpy()
        .decode()
        .endswith(f"assets/{model_description.NAME}")
    )


def test_the_users_own_id_table_is_exported(tmp_path):
    lines = [
        "from data_pipelines.domains import folder",
        "adaptation.AdaptationData.target = @folder.Folder()",
        "folder.Folder.root = 'absent'",
        "folder.Folder.class_names = ['ground', 'road']",
        "folder.Folder.id_table = {0: 0, 255: 1, 7: 255}",
    ]
    run_dir, _ = run_dirs.make_run(tmp_path, lines=lines)
    assert loaded_run.load_run(run_dir).experiment.id_table == {0: 0, 255: 1, 7: 255}


def test_exports_of_the_version_without_id_tables_are_read(saved, tmp_path):
    model = str(tmp_path / "model")
    shutil.copytree(saved, model)
    path = model_description.locate_description(model)
    with open(path, encoding="utf-8") as file:
        content = {**json.load(file), "schema": 1}
    del content["id_table"]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
    assert model_description.read_description(model) == (label_spaces.cityscapes19(), None, None)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"schema": 3}, "schema 3"),
        ({"network_size": [0, 4]}, r"field 'network_size\[0\]'"),
        ({"class_names": ["road"]}, "1 classes and 19 colours"),
        ({"palette": 3}, "field 'palette'"),
        ({"sha256": {}}, "field 'sha256'"),
    ],
)
def test_a_description_that_no_export_writes_is_named(saved, tmp_path, change, words):
    model = str(tmp_path / "model")
    shutil.copytree(saved, model)
    path = model_description.locate_description(model)
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**content, **change}, file)
    with pytest.raises(UserError, match=f"segmentation.json .*{words}.*drsl_tf.export"):
        model_description.read_description(model)


def _load_elsewhere(python, saved, folder):
    images = _draw_images(2, 40, 56)
    np.save(folder / "images.npy", images)
    arguments = [saved, str(folder / "images.npy"), str(folder / "outputs.npz")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [python, "-c", _LOADER, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    outputs = np.load(folder / "outputs.npz")
    expected = tf.saved_model.load(saved).signatures["serving_default"](images=tf.constant(images))
    assert _agreement(outputs["label"], expected["label"].numpy()) >= 0.9999
    np.testing.assert_allclose(outputs["confidence"], expected["confidence"], atol=1e-5)


def test_it_loads_without_keras_and_without_the_program(saved, tmp_path):
    _load_elsewhere(sys.executable, saved, tmp_path)


def test_it_loads_on_the_other_dependency_line(saved, tmp_path):
    python = os.environ.get("DRSL_OTHER_PYTHON", "")
    if not os.path.exists(python):
        pytest.skip("DRSL_OTHER_PYTHON names no interpreter of the other dependency line")
    _load_elsewhere(python, saved, tmp_path)


def test_a_run_scored_at_one_size_is_exported_so(tmp_path):
    run_dir, model = run_dirs.make_run(tmp_path, lines=["drsl_tf.Inference.size = (32, 64)"])
    exporting.export_run(run_dir, str(tmp_path / "model"))
    images = _draw_images(2, 80, 144)
    resized = tf.image.resize(tf.cast(images, tf.float32), (32, 64), antialias=True)
    logits = tf.image.resize(inference.predict_full_size_logits(model, resized), (80, 144))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    label = served(images=tf.constant(images))["label"].numpy()
    assert _agreement(label, tf.argmax(logits, -1).numpy()) >= 0.9999
    assert model_description.read_description(str(tmp_path / "model")).network_size == (32, 64)

    exporting.export_run(run_dir, str(tmp_path / "native"), size="native")
    served = tf.saved_model.load(str(tmp_path / "native")).signatures["serving_default"]
    label = served(images=tf.constant(images))["label"].numpy()
    assert _agreement(label, _predict(model, images)[0]) >= 0.9999


@pytest.mark.parametrize("dynamic_range", [False, True])
def test_tflite_predicts_nearly_the_same(run, tmp_path, dynamic_range):
    path = str(tmp_path / "model.tflite")
    name = "tflite_dynamic" if dynamic_range else "tflite"
    exporting.export_run(run[0], path, format_name=name)
    assert model_description.read_description(path).label_space.class_names[0] == "road"
    for shape in ((1, 32, 64), (1, 40, 56)):
        images = _draw_images(*shape)
        interpreter = tf.lite.Interpreter(model_path=path)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
        outputs = interpreter.get_signature_runner("serving_default")(images=images)
        assert outputs["label"].shape == shape and outputs["label"].dtype == np.uint8
        assert outputs["confidence"].dtype == np.float32
        agreement = _agreement(outputs["label"], _predict(run[1], images)[0])
        assert agreement >= (0.9 if dynamic_range else 0.999)


# Width and height that networks divide without a remainder, and that they do not.
@pytest.mark.parametrize("size", [None, (32, 64)])
def test_onnx_predicts_the_same(run, tmp_path, size):
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    path = str(tmp_path / "model.onnx")
    exporting.export_run(
        run[0], path, format_name="onnx", size="native" if size is None else "32x64"
    )
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "model.onnx.json"]
    predictor = Predictor(path)
    assert predictor.network_size == size and predictor.label_space.class_names[0] == "road"
    for shape in ((2, 70, 99), (1, 7, 5), (1, 64, 96)) if size is None else ((2, 32, 64),):
        images = _draw_images(*shape)
        label, confidence = predictor.predict(images)
        expected, expected_confidence = _predict(run[1], images)
        assert label.dtype == np.uint8 and _agreement(label, expected) >= 0.999
        np.testing.assert_allclose(confidence, expected_confidence, atol=1e-4)
    resized, _ = predictor.predict(_draw_images(1, 50, 70))
    assert resized.shape == (1, 50, 70)


@pytest.mark.slow
def test_attention_converts_to_onnx(tmp_path):
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    space = label_spaces.cityscapes19()
    model = drsl_tf.build_model(
        space,
        base=lambda: drsl_tf.backbones.mit(variant="b0"),
        segmentation_head=drsl_tf.SegFormerHead,
    )
    # It is checked with ONNX Runtime before it is written.
    path = str(tmp_path / "model.onnx")
    saved_models.export_onnx(model, model_description.ModelDescription(space), path)
    assert Predictor(path).predict(_draw_images(1, 40, 72))[0].shape == (1, 40, 72)


def test_onnx_is_checked_before_it_has_its_name(run, tmp_path, monkeypatch):
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    load = onnx_runtime.load

    def load_wrong(content):
        """Returns a runtime that crops labels to multiples of 32, as a wrong conversion did."""
        compute = load(content)
        return lambda images: tuple(array[:, :64, :96] for array in compute(images))

    monkeypatch.setattr(onnx_runtime, "load", load_wrong)
    with pytest.raises(UserError, match="only 0.00 % of the pixels of images of 70x99"):
        exporting.export_run(run[0], str(tmp_path / "model.onnx"), format_name="onnx")
    assert os.listdir(tmp_path) == []


def test_onnx_needs_its_packages(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(UserError, match=r"drsl_tf\[onnx\]"):
        exporting.export_run(run[0], str(tmp_path / "model.onnx"), format_name="onnx")


def test_the_rest_request_of_the_docs_fits_the_signature(saved, loaded):
    stream = io.BytesIO()
    Image.fromarray(_draw_images(1, 32, 64)[0]).save(stream, "PNG")
    text = (pathlib.Path(repository.ROOT) / "docs" / "serving.md").read_text()
    (line,) = re.findall(r'^ +({"signature_name".*)$', text, re.M)
    body = json.loads(line.replace("iVBORw0KGgo...", base64.b64encode(stream.getvalue()).decode()))
    signature = loaded.signatures[body["signature_name"]]
    names = set(signature.structured_input_signature[1])
    assert all(set(instance) == names for instance in body["instances"])
    batch = [base64.b64decode(instance["encoded"]["b64"]) for instance in body["instances"]]
    assert signature(encoded=tf.constant(batch))["label"].shape == (1, 32, 64)
    (line,) = re.findall(r'^ +{"predictions": (.*)}$', text, re.M)
    (prediction,) = json.loads(line.replace(", ...", ""))
    assert prediction.keys() == signature.structured_outputs.keys()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"size": "512"}, "HEIGHTxWIDTH"),
        ({"size": "0x5"}, "HEIGHTxWIDTH"),
        ({"format_name": "tflite"}, ".tflite"),
        ({"format_name": "onnx"}, ".onnx"),
        ({"format_name": "torch"}, "saved_model, tflite"),
        ({"checkpoint": "ckpt-7"}, "ckpt-1"),
    ],
)
def test_bad_arguments_are_refused(run, tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        exporting.export_run(run[0], str(tmp_path / "model"), **arguments)
    assert not os.listdir(tmp_path)


def test_what_exists_is_not_overwritten(run, saved):
    with pytest.raises(UserError, match="exists already"):
        exporting.export_run(run[0], saved)


def test_a_run_is_read_without_the_weights_that_it_began_with(tmp_path):
    lines = [
        "drsl_tf.build_model.base = @drsl_tf.backbones.mobilenet_v2",
        "drsl_tf.backbones.mobilenet_v2.alpha = 0.35",
        "drsl_tf.backbones.mobilenet_v2.weights = %WEIGHTS",
        "WEIGHTS = None",
    ]
    run_dir, model = run_dirs.make_run(tmp_path, lines=lines)
    with open(os.path.join(run_dir, "config.gin"), "a", encoding="utf-8") as file:
        file.write("WEIGHTS = 'gone.h5'\n")
    loaded = loaded_run.load_run(run_dir).model
    for ours, theirs in zip(loaded.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_is_read_from_its_newest_sound_checkpoint(tmp_path, caplog):
    run_dir, model = run_dirs.make_run(tmp_path)
    before = model.get_weights()
    for variable in model.trainable_variables:
        variable.assign(tf.zeros(variable.shape))
    newest = CheckpointStore(run_dir, model, model.optimizer, {}).save()
    assert newest.endswith("ckpt-2") and loaded_run.load_run(run_dir).checkpoint == newest
    with open(f"{newest}.data-00000-of-00001", "r+b") as file:
        file.truncate(100)
    with caplog.at_level(logging.WARNING, logger="absl"):
        loaded = loaded_run.load_run(run_dir)
    assert "ckpt-2 cannot be read" in caplog.text and loaded.checkpoint.endswith("ckpt-1")
    for array, other in zip(before, loaded.model.get_weights()):
        np.testing.assert_array_equal(array, other)
    assert os.path.exists(f"{newest}.index"), "reading a run changes nothing in it"
    with pytest.raises(UserError, match="ckpt-2 cannot be read"):
        loaded_run.load_run(run_dir, "ckpt-2")
    with open(os.path.join(run_dir, "checkpoints", "ckpt-1.index"), "wb"):
        pass
    with pytest.raises(UserError, match="None of the checkpoints"):
        loaded_run.load_run(run_dir)


def test_a_directory_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="config.gin"):
        loaded_run.load_run(str(tmp_path))
    (tmp_path / "config.gin").write_text("")
    with pytest.raises(UserError, match="no checkpoint"):
        loaded_run.load_run(str(tmp_path))


def test_a_checkpoint_of_another_model_or_line_is_refused(tmp_path):
    run_dir, _ = run_dirs.make_run(tmp_path)
    config = os.path.join(run_dir, "config.gin")
    with open(config, "a", encoding="utf-8") as file:
        file.write("tiny_network.tiny_base.width = 16\n")
    with pytest.raises(UserError, match="another model"):
        loaded_run.load_run(run_dir)
    with open(os.path.join(run_dir, "results.json"), "w", encoding="utf-8") as file:
        record = {"schema": 1, "experiment": "test", "seed": 0, "stages": []}
        json.dump({**record, "versions": {"keras": "1.0"}}, file)
    with pytest.raises(UserError, match="neither reads the other"):
        loaded_run.load_run(run_dir)
