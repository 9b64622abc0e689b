"""Evaluates a run, an exported model, or label maps on disk, on a labelled split."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipelines import progress
from data_pipelines.auditing import audit
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.io import decoding
from data_pipelines.io import files
from data_pipelines.labels import label_spaces
from drsl_tf.distribution import strategy as strategies
from drsl_tf.evaluation import multi_scale
from drsl_tf.evaluation.confusion import ConfusionMatrix
from drsl_tf.evaluation.evaluator import Evaluator
from drsl_tf.evaluation.evaluator import score_split
from drsl_tf.evaluation.multi_scale import SINGLE_SCALE
from drsl_tf.evaluation.multi_scale import TestProtocol
from drsl_tf.evaluation.reports import EvaluationReport
from drsl_tf.experiments import loaded_run
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.models.inference import Inference
from drsl_tf.models.inference import predict_full_size_logits
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.serving.predictor import Predictor

_CHOICES = {
    "best": "best, chosen with target labels",
    "selected": "selected without target labels",
    "source": "source stage, before adaptation",
}
_CITYSCAPES_ENDINGS = ("_leftImg8bit", "_pred_labelIds")


class Target:
    """A labelled split to score on, its files audited.

    Args:
        experiment: defines the target and the split.
        split: a split; None is the experiment's `eval_split`.
        stamp_dir: folder of the stamp that skips the audit of an unchanged split, or None.

    Raises:
        UserError: the split has no labels, or invalid files.
    """

    def __init__(
        self,
        experiment: Experiment,
        split: str | None = None,
        stamp_dir: str | None = None,
    ):
        self.split = split or experiment.get("data", "eval_split")
        self.domain: Domain = experiment.get("data", "target")
        if not self.domain.has_labels(self.split):
            raise UserError(
                f"The target {self.domain.name} has no labels in its split {self.split!r}, so "
                "there is nothing to score by. Name another by --split."
            )
        self.pairs: Sequence[Pair] = audit.audit_split(
            self.domain,
            self.split,
            bad_files=experiment.get("data", "bad_files"),
            stamp_dir=stamp_dir,
        ).pairs

    def describe(self) -> dict[str, object]:
        """Returns its description for the report."""
        return {
            "target": self.domain.name,
            "root": self.domain.root,
            "split": self.split,
            "images": len(self.pairs),
            "label_space": self.domain.label_space.name,
        }

    def check_classes(self, class_names: Sequence[str], source: str) -> None:
        """Checks that predictions and labels have the same classes.

        Args:
            class_names: those of the predictions.
            source: where the predictions come from.

        Raises:
            UserError: they are not the target's.
        """
        space = self.domain.label_space
        if tuple(class_names) != space.class_names:
            raise UserError(
                f"{source} predicts {len(class_names)} classes ({', '.join(class_names)}), but "
                f"the target's labels are in {space.name} ({', '.join(space.class_names)}). Bind "
                "the model's label_space for the target."
            )


def evaluate_run(
    run_dir: str,
    experiment_files: Sequence[str] = (),
    experiment_params: Sequence[str] = (),
    *,
    split: str | None = None,
    checkpoint: str = "last",
    protocol: TestProtocol = SINGLE_SCALE,
    batch_size: int | None = None,
) -> EvaluationReport:
    """Evaluates a run as in training, on another target, or by another test protocol.

    Images are resized to the `Inference.size` of the target's configuration. The evaluation runs
    on one machine, also within a job of several.

    Args:
        run_dir: the run's directory.
        experiment_files: gin files that define another target; none is the run's own.
        experiment_params: bindings on top of them.
        split: a split of the target; None is the experiment's `eval_split`.
        checkpoint: as in `loaded_run.load_run`.
        protocol: scales, mirroring and windows.
        batch_size: images per batch; None is the run's.

    Returns:
        The report.

    Raises:
        UserError: run, target or arguments cannot be used.
    """
    strategy = strategies.create_local_strategy()
    with strategy.scope():
        loaded = loaded_run.load_run(run_dir, checkpoint)
    model = loaded.model
    # Read first: gin holds one configuration, and the target's replaces the run's.
    batch_size = batch_size or loaded.experiment.get("inference").batch_size
    class_names = loaded.experiment.label_space.class_names
    config = os.path.abspath(RunDirectory(run_dir).config)
    experiment = Experiment(experiment_files or [config], experiment_params)
    size = experiment.get("inference").size
    target = Target(experiment, split, RunDirectory(run_dir).audit)
    target.check_classes(class_names, run_dir)
    if protocol.is_plain:
        evaluator = Evaluator(model, strategy, Inference(size=size, batch_size=batch_size))
        confusion = evaluator.evaluate(target.domain, target.pairs)
    else:
        compute_logits = tf.function(
            lambda images: predict_full_size_logits(model, images),
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)],
        )
        predict = make_predict(compute_logits, protocol, size)
        confusion = score_split(
            predict, len(class_names), target.domain, target.pairs, batch_size=batch_size
        )
    return _report(
        confusion, class_names, loaded.checkpoint, target, protocol, size, weights=checkpoint
    )


def evaluate_model(
    model: str,
    experiment_files: Sequence[str],
    experiment_params: Sequence[str] = (),
    *,
    split: str | None = None,
    protocol: TestProtocol = SINGLE_SCALE,
    batch_size: int | None = None,
) -> EvaluationReport:
    """Evaluates an exported model.

    Args:
        model: a SavedModel, TFLite or ONNX file that `drsl_tf.export` wrote.
        experiment_files: gin files that name the target.
        experiment_params: bindings on top of them.
        split: as in `evaluate_run`.
        protocol: scales, mirroring and windows; a TFLite or ONNX file supports only the plain one.
        batch_size: images per batch; None is the experiment's.

    Returns:
        The report.

    Raises:
        UserError: model, target or arguments cannot be used.
    """
    predictor = Predictor(model)
    experiment = Experiment(experiment_files, experiment_params)
    batch_size = batch_size or experiment.get("inference").batch_size
    class_names = predictor.label_space.class_names
    target = Target(experiment, split)
    target.check_classes(class_names, model)
    size = predictor.network_size

    def predict_as_served(images, height, width):
        del height, width  # The prediction has the image's size, as its label has.
        return predictor.predict(images.astype(np.uint8))[0]

    predict: Callable = predict_as_served
    if not protocol.is_plain:
        predict = make_predict(predictor.compute_logits, protocol, size)
    confusion = score_split(
        predict, len(class_names), target.domain, target.pairs, batch_size=batch_size
    )
    return _report(confusion, class_names, model, target, protocol, size)


def evaluate_predictions(
    folder: str,
    experiment_files: Sequence[str],
    experiment_params: Sequence[str] = (),
    *,
    split: str | None = None,
) -> EvaluationReport:
    """Scores label maps on disk, as `drsl_tf.predict` writes them.

    Args:
        folder: holds NAME.png (NAME.tif of a GeoTIFF) of class ids or, in Cityscapes' format,
            NAME_pred_labelIds.png of labelIds. NAME is the image's path below the folder of its
            split, or below the target's root. Ids that are no class are misses.
        experiment_files: gin files that name the target.
        experiment_params: bindings on top of them.
        split: as in `evaluate_run`.

    Returns:
        The report.

    Raises:
        UserError: a prediction is missing, cannot be read or has another size than its label.
    """
    target = Target(Experiment(experiment_files, experiment_params), split)
    domain = target.domain
    confusion = ConfusionMatrix(domain.label_space.num_classes)
    label_ids = label_spaces.lookup_table(domain.id_table(), domain.raw_values)
    # A labelId outside the table is not a class either.
    label_ids = np.where(label_ids < 0, label_spaces.IGNORE_ID, label_ids).astype(np.uint8)
    with progress.make_progress_bar(len(target.pairs), "scoring", "image") as bar:
        for pair in target.pairs:
            assert pair.label_path is not None  # `Target` accepts only labelled splits.
            label = domain.read_label(pair.label_path)
            path, is_label_ids = _find_prediction(folder, pair, domain.root)
            try:
                ids = decoding.decode_ids(files.read_bytes(path, domain.max_bytes))
                confusion.update(label, label_ids[ids] if is_label_ids else ids)
            except ValueError as error:
                raise UserError(f"{path}: {error}") from error
            bar.update()
    class_names = domain.label_space.class_names
    return _report(confusion, class_names, folder, target, None, None)


def make_predict(
    compute_logits: Callable, protocol: TestProtocol, size: tuple[int, int] | None
) -> Callable:
    """Creates the `predict` argument of `score_split`.

    Args:
        compute_logits: (B, h, w, 3) float32 -> (B, h, w, C) float32.
        protocol: scales, mirroring and windows.
        size: (height, width) of scale 1, or None.

    Returns:
        A callable(images, height, width) -> (n, height, width) int64.
    """

    def predict(images, height, width):
        scores = multi_scale.compute_scores(compute_logits, images, (height, width), protocol, size)
        return np.argmax(scores, axis=-1)

    return predict


def _find_prediction(folder, pair, root):
    image_ending, ending = _CITYSCAPES_ENDINGS
    below_root = os.path.splitext(files.cut_root(pair.image_path, root))[0]
    looked_for = []
    for name in dict.fromkeys((pair.name, below_root)):
        stem = name[: -len(image_ending)] if name.endswith(image_ending) else name
        names = {f"{name}.png": False, f"{name}.tif": False, f"{stem}{ending}.png": True}
        for file_name, is_label_ids in names.items():
            path = os.path.join(folder, file_name)
            if os.path.isfile(path):
                return path, is_label_ids
            looked_for.append(path)
    raise UserError(f"There is no prediction for {pair.name}: looked for {', '.join(looked_for)}.")


def _report(confusion, class_names, source, target, protocol, size, weights=None):
    testing = None if protocol is None else {**protocol.as_dict(), "size": size}
    title = f"{source} on {target.domain.name} {target.split}"
    if protocol is not None:
        title += f", {protocol.name}"
    header = {
        "title": title,
        "model": source,
        "weights": _CHOICES.get(weights, weights),
        **target.describe(),
        "testing": testing,
    }
    return EvaluationReport(confusion, class_names, header)
