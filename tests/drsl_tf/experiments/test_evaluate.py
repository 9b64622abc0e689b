"""Scores of runs, models and files: equal to each other, and to Cityscapes' own scripts."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from PIL import Image

from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.errors import UserError
from drsl_tf.evaluation import confusion_files
from drsl_tf.evaluation import multi_scale
from drsl_tf.evaluation import reports
from drsl_tf.evaluation import sliding_window
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.multi_scale import TestProtocol
from drsl_tf.experiments import exporting
from drsl_tf.experiments import run_evaluation
from drsl_tf.models import inference
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import EvaluationDirectory
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.serving import folder_prediction
from tests.support import calls
from tests.support import run_dirs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Creates a target of four labelled frames and an untrained run on it, exported too."""
    folder = tmp_path_factory.mktemp("evaluate")
    root = run_dirs.render_target(folder, val_count=4)
    run_dir, model = run_dirs.make_run(folder, root)
    exporting.export_run(run_dir, str(folder / "model"))
    return run_dir, model, str(folder / "model"), root


@pytest.fixture(scope="module")
def scores(run):
    """What the run's own evaluation reports."""
    return run_evaluation.evaluate_run(run[0]).as_dict()


def _config(run):
    return [os.path.join(run[0], "config.gin")]


def _score_officially(predictions, root):
    """IoU in percent by class name, from the cityscapesScripts package."""
    args = evalPixelLevelSemanticLabeling.args
    args.predictionPath, args.predictionWalk = predictions, None
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    labels = [pair.label_path for pair in Cityscapes(root=root).list_pairs("val")]
    found = [evalPixelLevelSemanticLabeling.getPrediction(args, path) for path in labels]
    scores = evalPixelLevelSemanticLabeling.evaluateImgLists(found, labels, args)
    names = Cityscapes(root=root).label_space.class_names
    iou = {name: 100.0 * scores["classScores"][name] for name in names}
    return iou, 100.0 * scores["averageScoreClasses"]


def _assert_official(content, predictions, root):
    iou, mean = _score_officially(predictions, root)
    for name, value in iou.items():
        if np.isnan(value):
            assert content["iou"][name] is None
        else:
            assert content["iou"][name] == pytest.approx(value, abs=1e-9)
    assert content["miou"] == pytest.approx(mean, abs=1e-9)


def test_ious_of_a_model_are_the_official_ones(run, tmp_path):
    _, _, model, root = run
    images = os.path.join(root, "leftImg8bit", "val")
    folder_prediction.predict_files(model, images, str(tmp_path), format_name="cityscapes")
    content = run_evaluation.evaluate_model(model, _config(run)).as_dict()
    assert any(content["iou"].values())
    _assert_official(content, str(tmp_path / "ids"), root)
    files = run_evaluation.evaluate_predictions(str(tmp_path / "ids"), _config(run)).as_dict()
    assert files["iou"] == content["iou"]


def test_ious_of_void_and_absent_predictions_are_the_official_ones(run, tmp_path):
    root = str(tmp_path / "target")
    shutil.copytree(run[3], root)
    rng = np.random.default_rng(0)
    # Road, building, car and bicycle, and ids that are never scored: unlabeled, static, parking.
    values = np.array([7, 11, 26, 33, 0, 4, 9], np.uint8)
    for pair in Cityscapes(root=root).list_pairs("val"):
        truth = np.asarray(Image.open(pair.label_path))
        # No train anywhere; no bicycle in the truth.
        truth = np.where(np.isin(truth, (31, 33)), 1, truth)
        Image.fromarray(truth).save(pair.label_path)
        drawn = rng.choice(values, truth.shape)
        drawn = np.where(rng.uniform(size=truth.shape) < 0.5, truth, drawn)
        name = pair.name.replace("_leftImg8bit", "_pred_labelIds")
        path = tmp_path / "labels" / f"{name}.png"
        os.makedirs(path.parent, exist_ok=True)
        Image.fromarray(drawn).save(path)
    labels = str(tmp_path / "labels")
    params = [f"cityscapes.Cityscapes.root = {root!r}"]
    report = run_evaluation.evaluate_predictions(labels, _config(run), params)
    _assert_official(report.as_dict(), labels, root)
    scores = EvaluationDirectory(str(tmp_path / "scores"))
    report.write(scores.scores, scores.confusion, scores.picture)
    _, counts = confusion_files.read_confusion(scores.confusion)
    assert counts[:, -1].sum() > 0  # Void predictions are misses.
    iou = report.as_dict()["iou"]
    assert iou["train"] is None and iou["bicycle"] == 0.0


def test_predictions_lie_where_predict_writes_them(run, tmp_path):
    """Of the whole data set, names begin below its root; those of a GeoTIFF are TIFFs."""
    _, _, model, root = run
    images = os.path.join(root, "leftImg8bit", "val")
    scores = []
    for folder, given in (("split", images), ("whole", root)):
        folder_prediction.predict_files(
            model, os.path.join(given, "**/*8bit.png"), str(tmp_path / folder)
        )
        labels = tmp_path / folder / "ids"
        for path in list(labels.rglob("*.png"))[:2]:
            with Image.open(path) as picture:
                picture.save(path.with_suffix(".tif"))
            path.unlink()
        report = run_evaluation.evaluate_predictions(str(labels), _config(run))
        scores.append(report.as_dict()["iou"])
    assert scores == [run_evaluation.evaluate_model(model, _config(run)).as_dict()["iou"]] * 2


def test_predictions_of_another_size_are_refused(run, tmp_path):
    for pair in Cityscapes(root=run[3]).list_pairs("val"):
        name = pair.name.replace("_leftImg8bit", "_pred_labelIds")
        path = tmp_path / f"{name}.png"
        os.makedirs(path.parent, exist_ok=True)
        Image.fromarray(np.full((16, 32), 7, np.uint8)).save(path)
    with pytest.raises(SystemExit):
        _score_officially(str(tmp_path), run[3])
    with pytest.raises(UserError, match="16x32.*32x64"):
        run_evaluation.evaluate_predictions(str(tmp_path), _config(run))
    with pytest.raises(UserError, match="no prediction"):
        run_evaluation.evaluate_predictions(str(tmp_path / "absent"), _config(run))


def test_run_and_model_score_alike(run, scores):
    by_model = run_evaluation.evaluate_model(run[2], _config(run)).as_dict()
    assert scores["miou"] == pytest.approx(by_model["miou"], abs=0.01)
    assert scores["split"] == "val" and scores["images"] == 4
    assert scores["testing"]["name"] == "single-scale"
    assert scores["model"].endswith("ckpt-1") and by_model["model"] == run[2]


def test_last_and_best_are_scored_apart(run, scores, tmp_path):
    run_dir = str(tmp_path / "run")
    shutil.copytree(run[0], run_dir)
    model = run[1]
    store = CheckpointStore(run_dir, model, model.optimizer, {"round": tf.Variable(1)})
    store.save()
    store.keep_copy(RunDirectory(run_dir).best_checkpoint)
    head = model.segmentation_head
    weights = head.get_weights()
    head.set_weights([np.zeros_like(array) for array in weights])
    store.save()
    head.set_weights(weights)
    names = Cityscapes(root=run[3]).label_space.class_names
    results = ResultsFile(run_dir, experiment="test", seed=0, class_names=names)
    for round_index, hits in ((0, 1), (1, 3), (2, 2)):
        confusion = ConfusionMatrix(19)
        confusion.update(np.zeros(4, np.uint8), (np.arange(4) >= hits).astype(np.uint8))
        results.record_stage(round_index, confusion, None, 1.0)

    last = run_evaluation.evaluate_run(run_dir).as_dict()
    best = run_evaluation.evaluate_run(run_dir, checkpoint="best").as_dict()
    assert best["iou"] == scores["iou"] != last["iou"]
    assert last["weights"] == "last" and best["weights"] == "best, chosen with target labels"
    assert last["model"].endswith("checkpoints/ckpt-3")
    assert best["model"].endswith("best_by_target_labels/ckpt-2")
    exporting.export_run(run_dir, str(tmp_path / "best"), checkpoint="best")
    exported = run_evaluation.evaluate_model(str(tmp_path / "best"), _config(run)).as_dict()
    assert exported["miou"] == pytest.approx(best["miou"], abs=0.01)
    assert exported["weights"] is None


def test_another_target_is_seen_at_its_own_size(run, scores, tmp_path):
    """The network's own size is that of the run's target; another one brings its own."""
    folder = tmp_path / "sized"
    run_dir, _ = run_dirs.make_run(folder, run[3], ["drsl_tf.Inference.size = (64, 64)"])
    squeezed = run_evaluation.evaluate_run(run_dir).as_dict()
    assert squeezed["testing"]["size"] == (64, 64)
    other = tmp_path / "other.gin"
    with open(os.path.join(run_dir, "config.gin"), encoding="utf-8") as file:
        other.write_text(file.read().replace("(64, 64)", "(32, 96)"))
    by_file = run_evaluation.evaluate_run(run_dir, [str(other)]).as_dict()
    assert by_file["testing"]["size"] == (32, 96)
    param = "drsl_tf.Inference.size = (32, 96)"
    by_param = run_evaluation.evaluate_run(run_dir, experiment_params=[param]).as_dict()
    assert by_param["iou"] == by_file["iou"] != squeezed["iou"]
    own = run_evaluation.evaluate_run(run_dir, _config(run)).as_dict()
    assert own["testing"]["size"] is None
    assert own["iou"] == scores["iou"]


def test_three_protocols_in_one_pass(scores):
    conventions = {name: each["convention"] for name, each in scores["protocols"].items()}
    assert conventions == {
        "19": "19-way head",
        "16": "19-way head averaged over 16",
        "13": "19-way head averaged over 13",
    }
    known = [v for v in scores["protocols"]["16"]["iou"].values() if v is not None]
    assert scores["protocols"]["16"]["miou"] == pytest.approx(np.mean(known))


def test_what_was_lost_by_tflite_is_measured(run, scores, tmp_path):
    for name, limit in (("tflite", 0.05), ("tflite_dynamic", 3.0)):
        path = str(tmp_path / f"{name}.tflite")
        exporting.export_run(run[0], path, format_name=name)
        lite = run_evaluation.evaluate_model(path, _config(run)).as_dict()["miou"]
        assert abs(lite - scores["miou"]) <= limit
    with pytest.raises(UserError, match="SavedModel"):
        run_evaluation.evaluate_model(path, _config(run), protocol=TestProtocol(flip=True))


def _average_naively(model, images, scales, flip):
    total = 0
    for scale in scales:
        size = [round(scale * side) for side in images.shape[1:3]]
        for mirrored in (False, True) if flip else (False,):
            view = tf.image.resize(images, size, antialias=True).numpy()
            view = view[:, :, ::-1] if mirrored else view
            logits = inference.predict_full_size_logits(model, tf.constant(view))
            logits = logits.numpy()[:, :, ::-1] if mirrored else logits.numpy()
            logits = tf.image.resize(logits, images.shape[1:3]).numpy().astype(np.float64)
            exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
            total = total + exponents / exponents.sum(axis=-1, keepdims=True)
    return total / (len(scales) * (1 + flip))


@pytest.mark.parametrize(
    "scales, flip", [((1.0,), True), ((0.9, 1.0, 1.2), True), ((0.5, 1.0), False)]
)
def test_scales_and_mirroring_average_probabilities(run, scales, flip):
    model = run[1]
    images = np.random.default_rng(1).uniform(0, 255, (2, 40, 64, 3)).astype(np.float32)
    scores = multi_scale.compute_scores(
        lambda x: inference.predict_full_size_logits(model, x),
        images,
        (40, 64),
        TestProtocol(scales=scales, flip=flip),
    )
    np.testing.assert_allclose(scores, _average_naively(model, images, scales, flip), atol=1e-4)


@pytest.mark.parametrize(
    "window, stride", [((16, 32), (10, 20)), ((64, 64), (64, 64)), ((16, 64), (16, 1))]
)
def test_windows_of_a_local_function_give_the_whole(window, stride):
    images = np.random.default_rng(2).uniform(0, 255, (2, 40, 64, 3)).astype(np.float32)
    shapes = []

    def compute(x):
        shapes.append(tuple(x.shape[1:3]))
        return x * 2.0

    logits = sliding_window.compute_window_logits(compute, images, window, stride)
    np.testing.assert_allclose(logits, images * 2.0, rtol=1e-6)
    assert set(shapes) == {(min(window[0], 40), min(window[1], 64))}


def test_windows_cover_an_axis():
    assert sliding_window.place_windows(10, 10, 5) == [0]
    assert sliding_window.place_windows(20, 10, 5) == [0, 5, 10]
    assert sliding_window.place_windows(21, 10, 5) == [0, 5, 10, 11]


def test_a_run_and_its_model_score_alike_under_every_protocol(run):
    protocol = TestProtocol(scales=(0.9, 1.2), flip=True, window=(32, 32), stride=(32, 16))
    contents = [
        run_evaluation.evaluate_run(run[0], protocol=protocol, batch_size=3).as_dict(),
        run_evaluation.evaluate_model(run[2], _config(run), protocol=protocol).as_dict(),
    ]
    for content in contents:
        assert content["testing"]["name"] == (
            "multi-scale (0.9, 1.2) + flip, windows of 32x32 every 32x16"
        )
    assert contents[0]["miou"] == pytest.approx(contents[1]["miou"], abs=0.1)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"scales": ()}, "scales"),
        ({"scales": (0.0,)}, "scales"),
        ({"stride": (8, 8)}, "--window"),
        ({"window": (8, 8), "stride": (9, 8)}, "stride"),
    ],
)
def test_protocols_that_mean_nothing_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        TestProtocol(**options)


def test_other_classes_than_the_targets_are_refused(run):
    params = [
        "cityscapes.Cityscapes.label_space = @label_spaces.synthia16()",
        "gta5.Gta5.label_space = @label_spaces.synthia16()",
    ]
    with pytest.raises(UserError, match="19 classes.*synthia16"):
        run_evaluation.evaluate_model(run[2], _config(run), params)


def test_a_split_without_labels_is_refused(run):
    with pytest.raises(UserError, match="--split"):
        run_evaluation.evaluate_run(run[0], split="test")


def test_the_report_is_written_whole_and_legible(tmp_path):
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([0, 0, 0, 1, 255]), np.array([0, 0, 1, 255, 0]))
    report = reports.EvaluationReport(confusion, ["road", "traffic sign", "sky"], {"title": "t"})
    report.write(*(str(tmp_path / "new" / name) for name in ("a.json", "b.csv", "c.png")))
    assert sorted(os.listdir(tmp_path / "new")) == ["a.json", "b.csv", "c.png"]
    content = json.loads((tmp_path / "new" / "a.json").read_text())
    assert content["iou"] == {"road": pytest.approx(200 / 3), "traffic sign": 0.0, "sky": None}
    assert content["miou"] == pytest.approx(100 / 3) and content["num_classes_scored"] == 2
    rows = list(csv.reader((tmp_path / "new" / "b.csv").read_text().splitlines()))
    assert rows[1:] == [
        ["road", "2", "1", "0", "0"],
        ["traffic sign", "0", "0", "0", "1"],
        ["sky", "0", "0", "0", "0"],
    ]
    with Image.open(tmp_path / "new" / "c.png") as picture:
        assert picture.width > 200 and len(picture.getcolors(1 << 20)) > 10
    table = report.format_table()
    assert table.startswith("t\n") and "over 2 of 3 classes" in table and "66.67" in table


def test_the_command_scores_a_run_alone(run, scores):
    """Also on a machine of a job whose other machine, named last, is not asked."""
    workers = ["127.0.0.1:1", "127.0.0.1:2"]
    job = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    # The folder's name tells its bindings.
    arguments = [f"--run_dir={run[0]}", f"--gin_param=cityscapes.Cityscapes.root = {run[3]!r}"]
    shown = calls.read_output("-m", "drsl_tf.evaluate", *arguments, TF_CONFIG=json.dumps(job))
    for words in ("19 classes: 19-way head\n", "16 classes: 19-way head averaged over 16\n"):
        assert words in shown
    assert shown.count("mIoU") == 3
    (folder,) = RunDirectory(run[0]).list_evaluations()
    assert os.path.basename(folder).startswith("last_cityscapes.Cityscapes.root_tmp_")
    with open(EvaluationDirectory(folder).scores) as file:
        content = json.load(file)
    assert content["miou"] == pytest.approx(scores["miou"])
