"""Everything of the program that reads a file, by name.

A reader of a further format gets a function in one of the two modules, and a place here.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable

from data_pipelines import domains
from tests.support.mutations import data_readers
from tests.support.mutations import run_readers
from tests.support.mutations.reader import Reader

_LOOSE = [name for name in domains.READERS if name != "records"]

READERS: dict[str, Callable[[str], Reader]] = {
    **{f"{name} images": functools.partial(data_readers.read_images, name) for name in _LOOSE},
    **{f"{name} labels": functools.partial(data_readers.read_labels, name) for name in _LOOSE},
    "records": data_readers.read_records,
    "published archives": data_readers.read_published_archive,
    "mapillary class list": data_readers.read_class_list,
    "folder split list": data_readers.read_split_list,
    "prediction inputs": run_readers.read_prediction_inputs,
    "gin files": run_readers.read_gin_files,
    "weights (HDF5)": run_readers.read_weight_files,
    "weights (npz)": run_readers.read_npz_weights,
    "weights (PyTorch)": run_readers.read_torch_weights,
    "SavedModels": functools.partial(run_readers.read_exported_model, "saved_model"),
    "TFLite models": functools.partial(run_readers.read_exported_model, "tflite"),
    "checkpoints": run_readers.read_checkpoints,
    "best checkpoint": run_readers.read_best_checkpoint,
    "evaluations": run_readers.read_evaluations,
    "run records (report)": run_readers.read_run_records,
    "pseudo-label maps": data_readers.read_id_maps,
    "pseudo-label reports": run_readers.read_label_reports,
    "audit stamps": data_readers.read_stamps,
    "class statistics": data_readers.read_statistics,
}
"""Name -> function that makes the reader in an empty folder."""


def clear_folder(folder: str) -> None:
    """Empties a folder, or makes it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
