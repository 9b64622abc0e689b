"""Everything of the program that reads a file, each with sound files to damage.

A reader of a further format gets a function here and a place in `READERS`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from typing import Callable
from typing import Dict
from typing import List
from typing import NamedTuple
from typing import Tuple

import numpy as np

from data_pipelines import audit_stamp
from data_pipelines import class_statistics
from data_pipelines import domains
from data_pipelines import label_spaces
from data_pipelines import record_writer
from data_pipelines.adaptation import read_id_map
from data_pipelines.domain import Pair
from tests.data_pipelines import fixtures
from tests.mutations import pictures

MAX_PIXELS = 10**6


class Reader(NamedTuple):
    """A part of the program that reads files.

    Attributes:
        seeds: (path, content) of sound files; the path is where a damaged one is put.
        read: called with the path of a damaged file. Ends with a `UserError`, or gives whether it
            took the file: False where a file that cannot be used is made anew.
    """

    seeds: List[Tuple[str, bytes]]
    read: Callable[[str], bool]


def read_images(name: str, folder: str) -> Reader:
    """The images of a domain."""
    return _read_pictures(name, folder, "image")


def read_labels(name: str, folder: str) -> Reader:
    """The label maps of a domain."""
    return _read_pictures(name, folder, "label")


def _read_pictures(name, folder, role):
    options = {"folder": {"label_space": label_spaces.cityscapes19()}}.get(name, {})
    if name == "mapillary":
        fixtures.write_mapillary(folder)
    domain = domains.find_reader(name)(root=folder, max_pixels=MAX_PIXELS, **options)
    if role == "image":
        found, endings = pictures.encode_images(), domain.image_suffixes
    elif name == "synthia":
        found, endings = {".png": [pictures.encode_synthia_label()]}, (".png",)
    else:
        found, endings = pictures.encode_labels(range(11)), domain.label_suffixes
    seeds = [
        (os.path.join(folder, f"{number}{ending}"), data)
        for ending in endings
        for number, data in enumerate(found.get(ending, []))
    ]
    decode = domain.read_image if role == "image" else domain.read_label
    rank = 3 if role == "image" else 2

    def read(path):
        array = decode(path)
        assert array.dtype == np.uint8 and array.ndim == rank and array.size
        assert array.shape[0] * array.shape[1] <= MAX_PIXELS
        return True

    return Reader(seeds, read)


def read_records(folder: str) -> Reader:
    """A split in TFRecord files: its shards and its index."""
    loose, written = os.path.join(folder, "loose"), os.path.join(folder, "records")
    fixtures.write_camvid(loose)
    camvid = domains.find_reader("camvid")(root=loose)
    record_writer.write_split(camvid, "train", written, num_shards=2)
    reader = domains.find_reader("records")

    def read(_):
        domain = reader(root=written, max_pixels=MAX_PIXELS)
        for pair in domain.list_pairs("train"):
            image, label = domain.read_image(pair.image_path), domain.read_label(pair.label_path)
            assert image.shape[:2] == label.shape
        return True

    return Reader([(file, _read(file)) for file in _list_files(written)], read)


def read_class_list(folder: str) -> Reader:
    """Mapillary's own list of classes."""
    fixtures.write_mapillary(folder)
    path = os.path.join(folder, "config_v1.2.json")
    with open(path, "rb") as file:
        data = file.read()
    reader = domains.find_reader("mapillary")

    def read(_):
        table = reader(root=folder).id_table()
        assert len(table) == 66
        return True

    return Reader([(path, data)], read)


def read_split_list(folder: str) -> Reader:
    """The list of a split's images that `folder` takes."""
    names = [f"a/{number}" for number in range(9)]
    for name in names:
        fixtures.write_image(os.path.join(folder, "images", f"{name}.png"), np.zeros((2, 2), "u1"))
    path = os.path.join(folder, "train.txt")
    space = label_spaces.camvid11()
    make = functools.partial(
        domains.find_reader("folder"),
        root=folder, label_space=space, splits={"train": "train.txt"},
    )  # fmt: skip

    def read(_):
        assert {pair.name for pair in make().list_pairs("train")} <= set(names)
        return True

    return Reader([(path, "\n".join(f"{name}.png" for name in names).encode())], read)


def read_prediction_inputs(folder: str) -> Reader:
    """Photos to predict."""
    from data_pipelines.errors import UserError
    from drsl_tf import prediction_inputs

    seeds = [
        (os.path.join(folder, f"{number}{ending}"), data)
        for ending, found in pictures.encode_images().items()
        for number, data in enumerate(found)
    ]

    def read(path):
        inputs = prediction_inputs.find_inputs(path, excluded=os.path.join(folder, "out"))
        skipped: Dict[str, str] = {}
        frames = list(prediction_inputs.read_frames(inputs, MAX_PIXELS, skipped))
        assert len(frames) + len(skipped) == 1
        if skipped:
            raise UserError(skipped[path])
        return frames[0].image.dtype == np.uint8

    return Reader(seeds, read)


def read_id_maps(folder: str) -> Reader:
    """Pseudo-labels and kept predictions of a run."""
    path = os.path.join(folder, "map.png")

    def read(path):
        assert read_id_map(path, MAX_PIXELS).dtype == np.uint8
        return True

    seeds = [(path, data) for data in pictures.encode_labels((*range(11), 255))[".png"]]
    return Reader(seeds, read)


def read_stamps(folder: str) -> Reader:
    """The audit's stamps."""
    fixtures.write_camvid(folder)
    domain = domains.find_reader("camvid")(root=folder)
    audit_stamp.write_stamp(folder, domain, "train", "0" * 64, [("a", "is empty")])
    path = next(entry.path for entry in os.scandir(folder) if entry.name.endswith(".json"))
    with open(path, "rb") as file:
        data = file.read()

    def read(_):
        return audit_stamp.read_stamp(folder, domain, "train", "0" * 64) is not None

    return Reader([(path, data)], read)


def read_statistics(folder: str) -> Reader:
    """The kept numbers of pixels by class."""
    label = fixtures.write_image(os.path.join(folder, "label.png"), np.zeros((2, 3), np.uint8))
    path = os.path.join(folder, "classes.json")
    calls = []

    def count():
        return class_statistics.count_pixels(
            [Pair("a", "a.png", label)],
            lambda path: calls.append(path) or np.zeros((2, 3), np.uint8),
            ["road", "sky"],
            path=path,
        )

    count()
    with open(path, "rb") as file:
        data = file.read()

    def read(_):
        calls.clear()
        assert count().shape == (1, 2)
        return not calls

    return Reader([(path, data)], read)


def read_gin_files(folder: str) -> Reader:
    """Configurations."""
    from drsl_tf.configuration import Configuration
    from drsl_tf.training import trainer

    path = os.path.join(folder, "experiment.gin")
    texts = [Configuration([name]).format_text() for name in ("demo.gin", "synthia2cs.gin")]

    def read(path):
        configuration = Configuration([path])
        configuration.check_required(trainer.run, ["run_dir"])
        configuration.apply(trainer.run)
        return True

    return Reader([(path, text.encode()) for text in texts], read)


def read_weight_files(folder: str) -> Reader:
    """Weights of a backbone, in both layouts of HDF5."""
    import keras

    from drsl_tf.networks import weight_files

    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, name="b")(keras.layers.Dense(5, name="a")(inputs))
    model = keras.Model(inputs, outputs, name="net")
    path = os.path.join(folder, "net.weights.h5")
    seeds = []
    for write in (lambda path: weight_files.save_weights(model, path), model.save_weights):
        write(path)
        seeds.append((path, _read(path)))

    def read(path):
        weight_files.load_weights(model, path)
        return True

    return Reader(seeds, read)


def read_npz_weights(folder: str) -> Reader:
    """Published weights of Mix Transformers, in NumPy's archive."""
    import keras

    from drsl_tf.networks import mit_weights

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
        with open(path, "rb") as file:
            seeds.append((path, file.read()))

    def read(path):
        mit_weights.load_published_mit(trunk, path)
        return True

    return Reader(seeds, read)


def read_exported_model(format_name: str, folder: str) -> Reader:
    """Models to predict with."""
    from drsl_tf import exporting
    from drsl_tf.predictor import Predictor
    from tests.drsl_tf import run_dirs

    run_dir, _ = run_dirs.make_run(folder)
    path = os.path.join(folder, "model" + (".tflite" if format_name == "tflite" else ""))
    exporting.export_run(run_dir, path, format_name=format_name)
    files = [path, path + ".json"] if format_name == "tflite" else _list_files(path)

    def read(_):
        label, _ = Predictor(path).predict(np.zeros((1, 32, 32, 3), np.uint8))
        assert label.shape == (1, 32, 32)
        return True

    return Reader([(file, _read(file)) for file in files], read)


def read_checkpoints(folder: str) -> Reader:
    """Checkpoints of a run."""
    from drsl_tf.experiments import Experiment
    from drsl_tf.training import stored_weights
    from tests.drsl_tf import run_dirs

    run_dir, _ = run_dirs.make_run(folder)
    model = Experiment([os.path.join(run_dir, "config.gin")]).build_model()
    checkpoint = stored_weights.find_checkpoint(run_dir, "last")
    files = [path for path in _list_files(os.path.dirname(checkpoint)) if "ckpt-" in path]

    def read(_):
        stored_weights.restore_weights(model, checkpoint)
        return True

    return Reader([(file, _read(file)) for file in files], read)


def read_run_records(folder: str) -> Reader:
    """What the report reads of a run."""
    from drsl_tf.reporting import page
    from drsl_tf.reporting.records import RunRecord
    from tests.drsl_tf.reporting import conftest

    run_dir = conftest.make_run(folder, "run")
    names = ("results.json", "panels/index.json", "confusion/round_0.csv")
    seeds = [(os.path.join(run_dir, name), _read(os.path.join(run_dir, name))) for name in names]

    def read(_):
        return "<html" in page.format_report([RunRecord(run_dir)])

    return Reader(seeds, read)


def read_label_reports(folder: str) -> Reader:
    """The report beside a round's pseudo-labels."""
    from drsl_tf import run_record
    from drsl_tf.self_training.label_warnings import list_warnings

    path = os.path.join(folder, "report.json")
    known = {"road": 0.9, "sky": 0.5}
    report = {
        "round": 1, "portion": 0.2, "fraction": 0.19, "accuracy": 0.9, "fractions": known,
        "accuracies": known, "pixels": {"road": 7, "sky": 9}, "thresholds": known,
        "mode_usage": {"road": [3, 4], "sky": [9, 0]},
    }  # fmt: skip

    def read(path):
        list_warnings(run_record.read_label_report(path))
        return True

    return Reader([(path, json.dumps(report, indent=1).encode())], read)


def _list_files(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


_LOOSE = [name for name in domains.READERS if name != "records"]

READERS: Dict[str, Callable[[str], Reader]] = {
    **{f"{name} images": functools.partial(read_images, name) for name in _LOOSE},
    **{f"{name} labels": functools.partial(read_labels, name) for name in _LOOSE},
    "records": read_records,
    "mapillary class list": read_class_list,
    "folder split list": read_split_list,
    "prediction inputs": read_prediction_inputs,
    "gin files": read_gin_files,
    "weights (HDF5)": read_weight_files,
    "weights (npz)": read_npz_weights,
    "SavedModels": functools.partial(read_exported_model, "saved_model"),
    "TFLite models": functools.partial(read_exported_model, "tflite"),
    "checkpoints": read_checkpoints,
    "run records (report)": read_run_records,
    "pseudo-label maps": read_id_maps,
    "pseudo-label reports": read_label_reports,
    "audit stamps": read_stamps,
    "class statistics": read_statistics,
}
"""Name -> function that makes the reader in an empty folder."""


def clear_folder(folder: str) -> None:
    """Empties a folder, or makes it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
