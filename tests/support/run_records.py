"""Records of runs that never took place."""

import os

import numpy as np
from PIL import Image

from data_pipelines.labels.label_spaces import cityscapes19
from drsl_tf import files
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.runs import panel_files
from drsl_tf.runs.label_report import LabelReport
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import RunDirectory

NAMES = list(cityscapes19().class_names)
ROUNDS = 3


def make_run(folder, name, experiment="drsl", seed=0, labelled=True, panels=True):
    """Writes the record of a run that never took place."""
    run_dir = os.path.join(str(folder), name)
    os.makedirs(run_dir)
    rng = np.random.default_rng([seed, len(experiment)])
    results = ResultsFile(run_dir, experiment=experiment, seed=seed, class_names=NAMES)
    for stage in range(ROUNDS + 1):
        confusion = None
        if labelled:
            matrix = rng.integers(0, 50, (19, 20))
            matrix[:, -1] = 0
            matrix[np.arange(19), np.arange(19)] += 300 * (stage + 1)
            matrix[:, 16] = matrix[16] = 0  # No train anywhere.
            confusion = ConfusionMatrix.from_matrix(matrix)
        report = None
        if stage:
            known = dict(zip(NAMES, rng.uniform(0.5, 1, 19).tolist()))
            report = LabelReport(
                round=stage, portion=0.2, fraction=0.2, accuracy=0.9 if labelled else None,
                fractions={**known, "train": None},
                accuracies={**known, "train": None} if labelled else None,
                pixels=dict.fromkeys(NAMES, 40), thresholds=known,
                mode_usage={n: [0, 0] if n == "train" else [30, 10] for n in NAMES},
            )  # fmt: skip
        results.record_stage(stage, confusion, report, 60.0 * (stage + 1))
    if panels:
        index = panel_files.PanelIndex(
            schema=1, frames=["a<b/one", "a<b/two"], class_names=NAMES,
            palette=cityscapes19().palette, modes_per_class=2,
        )  # fmt: skip
        files.write_json(RunDirectory(run_dir).panels, index.as_json())
        for frame in range(2):
            for stage in range(ROUNDS + 1):
                for panel in panel_files.PANELS:
                    if panel == "pseudo_label" and not stage:
                        continue
                    path = panel_files.locate_panel(run_dir, panel, frame, stage)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    Image.new("RGB", (8, 4), (frame, stage, len(panel))).save(path)
    return run_dir
