"""What reads configurations, runs, models and photos, each with sound files to damage."""

from __future__ import annotations

import json
import os

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.reports import EvaluationReport
from drsl_tf.experiments import exporting
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.networks.weights import mit_weights
from drsl_tf.networks.weights import torch_file
from drsl_tf.networks.weights import weight_files
from drsl_tf.reporting import page
from drsl_tf.reporting.reported_run import RunRecord
from drsl_tf.runs import label_report
from drsl_tf.runs import stored_weights
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import EvaluationDirectory
from drsl_tf.runs.run_directory import PseudoLabelDirectory
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.label_warnings import list_warnings
from drsl_tf.serving import input_files
from drsl_tf.serving.predictor import Predictor
from drsl_tf.training.adapt import adapt
from tests.support import run_dirs
from tests.support import run_records
from tests.support import torch_files
from tests.support import weight_writer
from tests.support.mutations import pictures
from tests.support.mutations.reader import MAX_PIXELS
from tests.support.mutations.reader import Reader
from tests.support.mutations.reader import list_files
from tests.support.mutations.reader import read_seeds


def read_prediction_inputs(folder: str) -> Reader:
    """Photos to predict."""
    seeds = [
        (os.path.join(folder, f"{number}{ending}"), data)
        for ending, found in pictures.encode_images().items()
        for number, data in enumerate(found)
    ]

    def read(path):
        inputs = input_files.find_inputs(path)
        skipped: dict[str, str] = {}
        frames = list(input_files.read_frames(inputs, MAX_PIXELS, skipped))
        assert len(frames) + len(skipped) == 1
        if skipped:
            raise UserError(skipped[path])
        return frames[0].image.dtype == np.uint8

    return Reader(seeds, read)


def read_gin_files(folder: str) -> Reader:
    """Configurations."""
    path = os.path.join(folder, "experiment.gin")
    texts = [Configuration([name]).format_text() for name in ("demo.gin", "synthia2cs.gin")]

    def read(path):
        Configuration([path]).apply(adapt)
        return True

    return Reader([(path, text.encode()) for text in texts], read)


def read_weight_files(folder: str) -> Reader:
    """Weights of a backbone, in both layouts of HDF5."""
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, name="b")(keras.layers.Dense(5, name="a")(inputs))
    model = keras.Model(inputs, outputs, name="net")
    path = os.path.join(folder, "net.weights.h5")
    seeds = []
    for write in (lambda path: weight_writer.save_weights(model, path), model.save_weights):
        write(path)
        seeds += read_seeds([path])

    def read(path):
        weight_files.load_weights(model, path)
        return True

    return Reader(seeds, read)


def read_npz_weights(folder: str) -> Reader:
    """Published weights of Mix Transformers, in NumPy's archive."""
    inputs = keras.Input((8, 8, 4))
    outputs = keras.layers.LayerNormalization(name="norm1_norm")(inputs)
    outputs = keras.layers.Conv2D(3, 3, name="patch_embed1")(outputs)
    trunk = keras.Model(inputs, outputs, name="trunk")
    path = os.path.join(folder, "mit.npz")
    rng = np.random.default_rng(0)
    arrays = {
        "norm1.norm.weight": rng.normal(size=4), "norm1.norm.bias": rng.normal(size=4),
        "patch_embed1.proj.weight": rng.normal(size=(3, 4, 3, 3)),
        "patch_embed1.proj.bias": rng.normal(size=3),
    }  # fmt: skip
    seeds = []
    for write in (np.savez, np.savez_compressed):
        write(path, **{name: array.astype(np.float32) for name, array in arrays.items()})
        seeds += read_seeds([path])

    def read(path):
        mit_weights.load_published_mit(trunk, path)
        return True

    return Reader(seeds, read)


def read_torch_weights(folder: str) -> Reader:
    """Published weights of EfficientNet-Lite0, in PyTorch's format before 1.6."""
    path = os.path.join(folder, "net.pth")
    rng = np.random.default_rng(0)
    arrays = {
        "_conv_stem.weight": rng.normal(size=(3, 3, 4, 5)).astype(np.float32).T,
        "_bn0.bias": rng.normal(size=4).astype(np.float32),
        "_bn0.num_batches_tracked": np.array(3),
    }

    def read(path):
        tensors = torch_file.read_tensors(path, "net")
        assert sum(tensor.nbytes for tensor in tensors.values()) <= os.path.getsize(path)
        return True

    return Reader([(path, torch_files.encode_arrays(arrays))], read)


def read_exported_model(format_name: str, folder: str) -> Reader:
    """Models to predict with."""
    run_dir, _ = run_dirs.make_run(folder)
    path = os.path.join(folder, "model" + (".tflite" if format_name == "tflite" else ""))
    exporting.export_run(run_dir, path, format_name=format_name)
    files = [path, path + ".json"] if format_name == "tflite" else list_files(path)

    def read(_):
        label, _ = Predictor(path).predict(np.zeros((1, 32, 32, 3), np.uint8))
        assert label.shape == (1, 32, 32)
        return True

    return Reader(read_seeds(files), read)


def read_checkpoints(folder: str) -> Reader:
    """Checkpoints of a run."""
    run_dir, _ = run_dirs.make_run(folder)
    model = Experiment([RunDirectory(run_dir).config]).build_model()
    checkpoint = stored_weights.find_checkpoint(run_dir, "last")
    files = [path for path in list_files(os.path.dirname(checkpoint)) if "ckpt-" in path]

    def read(_):
        stored_weights.restore_weights(model, checkpoint)
        return True

    return Reader(read_seeds(files), read)


def read_best_checkpoint(folder: str) -> Reader:
    """The checkpoint that is kept apart, and the record that says which round it is of."""
    run_dir, model = run_dirs.make_run(folder)
    store = CheckpointStore(run_dir, model, model.optimizer, {"round": tf.Variable(0)})
    store.save()
    store.keep_copy(RunDirectory(run_dir).best_checkpoint)
    names = [f"class {number}" for number in range(model.num_classes)]
    results = ResultsFile(run_dir, experiment="test", seed=0, class_names=names)
    confusion = ConfusionMatrix(model.num_classes)
    confusion.update(np.zeros(4, np.uint8), np.arange(4, dtype=np.uint8))
    results.record_stage(0, confusion, None, 1.0)
    kept = RunDirectory(run_dir).best_checkpoint
    paths = [path for path in list_files(kept) if "ckpt-" in path]

    def read(_):
        checkpoint = stored_weights.find_checkpoint(run_dir, "best")
        stored_weights.restore_weights(model, checkpoint)
        return True

    return Reader(read_seeds([*paths, results.path]), read)


def read_evaluations(folder: str) -> Reader:
    """What `drsl_tf.evaluate` left for the report."""
    run_dir = run_records.make_run(folder, "run")
    confusion = ConfusionMatrix(len(run_records.NAMES))
    confusion.update(np.zeros(4, np.uint8), np.arange(4, dtype=np.uint8))
    header = {
        "title": "test", "target": "Cityscapes", "split": "val", "weights": "last",
        "testing": {"name": "single scale"},
    }  # fmt: skip
    report = EvaluationReport(confusion, run_records.NAMES, header)
    scores = EvaluationDirectory(RunDirectory(run_dir).locate_evaluation("last"))
    report.write(scores.scores, scores.confusion, scores.picture)
    return _read_by_report(run_dir, [scores.scores])


def read_run_records(folder: str) -> Reader:
    """What the report reads of a run."""
    run_dir = run_records.make_run(folder, "run")
    run = RunDirectory(run_dir)
    return _read_by_report(run_dir, [run.results, run.panels, run.locate_confusion(0)])


def _read_by_report(run_dir, paths):
    def read(_):
        return "<html" in page.format_report([RunRecord(run_dir)])

    return Reader(read_seeds(paths), read)


def read_label_reports(folder: str) -> Reader:
    """The report beside a round's pseudo-labels."""
    path = PseudoLabelDirectory(folder).report
    known = {"road": 0.9, "sky": 0.5}
    report = {
        "round": 1, "portion": 0.2, "fraction": 0.19, "accuracy": 0.9, "fractions": known,
        "accuracies": known, "pixels": {"road": 7, "sky": 9}, "thresholds": known,
        "mode_usage": {"road": [3, 4], "sky": [9, 0]},
    }  # fmt: skip

    def read(path):
        list_warnings(label_report.read_label_report(path))
        return True

    return Reader([(path, json.dumps(report, indent=1).encode())], read)
