"""Compares a whole run on several replicas with one: training, pseudo-labels, scores."""

import os
import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
from PIL import Image

from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.batches.augment import Augmenter
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.gta5 import Gta5
from data_pipelines.streets import rendered
from drsl_tf.models.inference import Inference
from drsl_tf.models.model import DrslModel
from drsl_tf.networks.heads import linear_head
from drsl_tf.networks.heads import multimodal_head
from drsl_tf.runs.label_report import read_label_report
from drsl_tf.runs.run_directory import PseudoLabelDirectory
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.training import adapt
from tests.support import replicas
from tests.support import tiny_network
from tests.support import toys
from tests.support import training

_SIZE = (64, 128)
_NUM_BINS = 512


class _Keep(keras.callbacks.Callback):
    """Holds on to the model."""


def _build_model(space):
    head = multimodal_head.MultimodalHead(space.num_classes, 2, 8, hidden_units=(8,))
    base = tiny_network.tiny_base()
    linear = linear_head.LinearHead(space.num_classes)
    model = DrslModel(base, linear, head, sma_weight=0.0)
    toys.freeze_batch_norm(model)
    return model


def _run(strategy, folder, name):
    """Runs a source stage and a round; gives weights, results and pseudo-labels."""
    keep = _Keep()
    run_dir = os.path.join(folder, name)
    augmenter = Augmenter(size=_SIZE)
    data = AdaptationData(
        source=Gta5(root=os.path.join(folder, "game")),
        target=Cityscapes(root=os.path.join(folder, "camera")),
        source_augmenter=augmenter,
        target_augmenter=augmenter,
    )
    with mock.patch.object(adapt, "create_strategy", lambda: strategy):
        results = training.train(
            run_dir,
            data=data,
            schedule=Schedule(source_steps=6, rounds=1, steps_per_round=4),
            build_model=_build_model,
            optimizer=lambda: keras.optimizers.SGD(0.02, momentum=0.9),
            pseudo_labeler=PseudoLabeler(num_bins=_NUM_BINS),
            inference=Inference(batch_size=3),
            figure_images=0,
            tensorboard=False,
            callbacks=[keep],
        )
    labels = RunDirectory(run_dir).locate_pseudo_labels(1)
    report = read_label_report(PseudoLabelDirectory(labels).report)
    pictures = [
        np.asarray(Image.open(path)) for path in sorted(pathlib.Path(labels).rglob("*.png"))
    ]
    weights = [variable.numpy() for variable in keep.model.trainable_variables]
    return weights, results.stages, report, np.stack(pictures)


def check(one, many):
    """Compares weights, thresholds, pseudo-labels and scores; no last batch is full."""
    with tempfile.TemporaryDirectory() as folder:
        shared = {"size": _SIZE, "seed": 5}
        for style, layout, counts in (
            ("game", "gta5", {"count": 6}),
            ("camera", "cityscapes", {"count": 5, "val_count": 4}),
        ):
            root = os.path.join(folder, style)
            rendered.rendered_root(root=root, layout=layout, style=style, **counts, **shared)
        weights, stages, report, labels = _run(one, folder, "one")
        others, other_stages, other_report, other_labels = _run(many, folder, "many")
    largest = replicas.find_largest_difference(weights, others)
    assert largest <= 1e-5, largest
    # One bin of u = -log(1 - p), which spans 53 log 2 over all bins.
    width = 53 * np.log(2) / _NUM_BINS
    thresholds, other_thresholds = (
        -np.log1p(-np.array(list(r.thresholds.values()))) for r in (report, other_report)
    )
    known = np.isfinite(thresholds)
    assert known.sum() >= 2 and (known == np.isfinite(other_thresholds)).all()
    bins = np.abs(thresholds[known] - other_thresholds[known]).max() / width
    assert bins <= 1 + 1e-6, bins
    assert labels.shape == (5, *_SIZE) and len(np.unique(labels)) >= 3
    agreement = (labels == other_labels).mean()
    assert agreement >= 0.9999, agreement
    gap = max(abs(a.miou - b.miou) for a, b in zip(stages, other_stages))
    assert len(stages) == 2 and gap <= 0.01, gap
    print(
        f"run: weights {largest:.2e}, thresholds {bins:.2g} bins, pseudo-labels "
        f"{100 * agreement:.4f} % equal, mIoU {gap:.2g} points apart"
    )
