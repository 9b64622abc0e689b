"""One round of pseudo-labelling: thresholds over the whole target, then the label maps."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from data_pipelines import progress
from data_pipelines.batches import whole_images as image_batches
from data_pipelines.domains.domain import Domain
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from data_pipelines.io import whole_files
from data_pipelines.map_ahead import map_ahead
from drsl_tf import common
from drsl_tf import files
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.distribution.workers import Workers
from drsl_tf.models.inference import Inference
from drsl_tf.models.inference import check_size
from drsl_tf.models.inference import find_modes
from drsl_tf.models.inference import pad_images
from drsl_tf.models.inference import predict_logits
from drsl_tf.models.inference import upsample_logits
from drsl_tf.models.model import DrslModel
from drsl_tf.runs.label_report import LabelReportFile
from drsl_tf.runs.label_report import read_label_report
from drsl_tf.runs.run_directory import PseudoLabelDirectory
from drsl_tf.self_training import pseudo_labels
from drsl_tf.self_training.label_tally import LabelTally
from drsl_tf.self_training.thresholds import ConfidenceHistogram

_WRITER_THREADS = 2


class PseudoLabeler:
    """Writes the pseudo-labels of a round as PNGs under the images' own names.

    The first pass predicts every image, counts confidences into histograms and keeps the logits
    at the network's stride as float16 on disk; the second pass reads them back and selects. So
    memory does not grow with the number of images, and the network sees each image once. The
    temporary files take 2 * C * h * w bytes per image: 0.9 GB for Cityscapes' training set at
    1024x512 and stride 8.

    With `threshold_images` the first pass predicts a random sample and keeps no logits, and the
    second one predicts every image: disk does not grow with their number either.

    On several machines each process does both for its share of the images; histograms are summed
    in between, so the thresholds are those of one process.

    The growing portion is CBST's rule; its use for DRSL is this project's choice.

    Args:
        portion: share of each class's pixels that the first round selects.
        portion_step: increase of the share per later round.
        portion_limit: largest share of any round.
        confidence_floor: least threshold of any class. Equal shares of all classes also select
            pixels of a poorly learned class; each round then trains on more of its errors. This
            project's choice; 0 is CBST's rule.
        rule: "ratio" labels a pixel argmax_c P_c / thr_c, "argmax" the most probable class.
        flip: whether probabilities are the mean of those of the image and of its mirror image.
        size: (height, width) of the network's input and of the labels; None is `Inference.size`.
        num_bins: bins of each class's confidence histogram.
        threshold_images: number of images from which thresholds and mode usage are computed, drawn
            by the round, the same with every seed; None is all. A class that none of them is
            predicted as gets the threshold 1. This project's choice, for targets whose logits do
            not fit the disk.
    """

    def __init__(
        self,
        *,
        portion: float = 0.20,
        portion_step: float = 0.05,
        portion_limit: float = 0.50,
        confidence_floor: float = 0.0,
        rule: str = "ratio",
        flip: bool = False,
        size: tuple[int, int] | None = None,
        num_bins: int = 4096,
        threshold_images: int | None = None,
    ):
        if not 0 < portion <= portion_limit <= 1 or portion_step < 0:
            raise UserError(
                "PseudoLabeler needs 0 < portion <= portion_limit <= 1 and portion_step >= 0, but "
                f"has portion = {portion}, portion_limit = {portion_limit} and portion_step = "
                f"{portion_step}."
            )
        check_integer("PseudoLabeler.num_bins", num_bins, least=1)
        if not 0 <= confidence_floor <= 1:
            raise UserError(
                f"PseudoLabeler.confidence_floor is {confidence_floor}; it must lie in [0, 1]."
            )
        if rule not in ("ratio", "argmax"):
            raise UserError(f"PseudoLabeler.rule is {rule!r}; choose 'ratio' or 'argmax'.")
        if threshold_images is not None:
            check_integer("PseudoLabeler.threshold_images", threshold_images, least=1)
        check_size("PseudoLabeler.size", size)
        self._portion = portion
        self._portion_step = portion_step
        self._portion_limit = portion_limit
        self._confidence_floor = confidence_floor
        self._rule = rule
        self._flip = flip
        self._size = size
        self._num_bins = num_bins
        self._threshold_images = threshold_images

    def compute_portion(self, round_index: int) -> float:
        """Computes the share of each class's pixels that a round selects.

        Args:
            round_index: 1 for the first round.

        Returns:
            A fraction.
        """
        portion = self._portion + self._portion_step * (round_index - 1)
        return min(portion, self._portion_limit)

    def generate(
        self,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        domain: Domain,
        pairs: Sequence[Pair],
        *,
        round_index: int,
        directory: str,
        inference: Inference = Inference(),
    ) -> tuple[list[Pair], LabelReportFile]:
        """Labels every image of the target.

        A complete directory is read and left unchanged. All processes of a job write to one
        directory, each the labels of its share; the chief writes the report.

        Args:
            model: predicts the labels.
            strategy: distribution strategy of the model.
            domain: the target; its labels, where `pairs` name any, only score the result.
            pairs: the target's training images.
            round_index: 1 for the first round.
            directory: folder of the PNGs and `report.json`.
            inference: number of the images in a batch, and their size, which is that of the PNGs
                too, unless this labeler has its own.

        Returns:
            The pairs of image and pseudo-label, and the report.
        """
        files_of = PseudoLabelDirectory(directory)
        labelled = [
            Pair(pair.name, pair.image_path, files_of.locate_label(pair.name)) for pair in pairs
        ]
        workers = Workers(strategy)
        partial = directory + whole_files.PARTIAL
        content = workers.ask_chief(lambda: _read_report_or_clear(directory, partial))
        if content is not None:
            return labelled, LabelReportFile(**content)
        inference = dataclasses.replace(inference, size=self._size or inference.size)
        predict = _Prediction(model, strategy, domain, inference, flip=self._flip)
        titles = [f"round {round_index}: {title}" for title in ("predicting", "labelling")]
        shared = workers.share(pairs)
        logits_path = os.path.join(partial, f".logits-{workers.index}")
        if self._threshold_images is None:
            histogram, usage = self._collect(predict, shared, titles[0], logits_path)
        else:
            drawn = self._draw_images(pairs, round_index)
            histogram, usage = self._collect(predict, workers.share(drawn), titles[0])
        histogram = ConfidenceHistogram.from_counts(workers.sum(histogram.counts))
        portion = self.compute_portion(round_index)
        thresholds = np.maximum(histogram.thresholds(portion), self._confidence_floor)
        # NumPy's logarithms differ in their last bit from one kind of processor to the next.
        thresholds = np.array(workers.ask_chief(thresholds.tolist))
        tally = LabelTally(model.num_classes)
        with contextlib.ExitStack() as stack:
            if self._threshold_images is None:
                file = stack.enter_context(open(logits_path, "rb"))
                predicted = _read_logits(file, shared)
            else:
                predicted = predict.iterate_images(shared)
            self._select(model, domain, shared, predicted, thresholds, partial, tally, titles[1])
        if self._threshold_images is None:
            os.remove(logits_path)
        tally = LabelTally.from_counts(workers.sum(tally.counts))
        class_names = domain.label_space.class_names
        if usage is not None:
            usage = dict(zip(class_names, workers.sum(usage).tolist()))
        report = LabelReportFile(
            schema=1,
            round=round_index,
            portion=portion,
            **tally.as_dict(class_names, histogram),
            thresholds=dict(zip(class_names, thresholds.tolist())),
            mode_usage=usage,
        )

        def finish():
            files.write_json(PseudoLabelDirectory(partial).report, report.as_json())
            with whole_files.explain_failures(directory):
                whole_files.rename_whole(partial, directory)

        workers.ask_chief(finish)
        return labelled, report

    def _draw_images(self, pairs, round_index):
        """Draws the images that thresholds come from, the same in every process."""
        count = min(self._threshold_images, len(pairs))
        places = np.random.default_rng(round_index).choice(len(pairs), count, replace=False)
        return [pairs[place] for place in sorted(places)]

    def _collect(self, predict, pairs, title, logits_path=None):
        """Counts confidences and modes, and writes the logits where a path is given."""
        model = predict.model
        histogram = ConfidenceHistogram(model.num_classes, self._num_bins)
        head = model.multimodal_head
        num_modes = 0 if head is None else head.modes.shape[1]
        usage = None if head is None else np.zeros((model.num_classes, num_modes), np.int64)
        with contextlib.ExitStack() as stack:
            file = None
            if logits_path is not None:
                with whole_files.explain_failures(logits_path):
                    file = stack.enter_context(open(logits_path, "wb"))
            bar = stack.enter_context(progress.make_progress_bar(len(pairs), title, "image"))
            for batch, kept, confidence, prediction, *modes in predict.iterate_batches(pairs):
                histogram.update(confidence, prediction)
                if head is not None:
                    counts = np.bincount(modes[0].reshape(-1), minlength=usage.size)
                    usage += counts.reshape(usage.shape)
                if file is not None:
                    with whole_files.explain_failures(logits_path):
                        for logits in kept:
                            np.save(file, logits)
                            np.save(file, np.array(batch.images.shape[1:3]))
                        file.flush()
                bar.update(len(batch.pairs))
        return histogram, usage

    def _select(self, model, domain, pairs, predicted, thresholds, directory, tally, title):
        """Writes the labels of (logits, (height, width)) in the order of the pairs."""
        locate = PseudoLabelDirectory(directory).locate_label

        @tf.function(reduce_retracing=True)
        def select(logits, height, width):
            logits = upsample_logits(
                tf.cast(logits, tf.float32)[tf.newaxis], model.logits_stride, (height, width)
            )
            return pseudo_labels.select_labels(logits, thresholds, rule=self._rule)[0]

        def finish(labelled):
            pair, label = labelled
            path = locate(pair.name)
            with whole_files.explain_failures(path):
                whole_files.make_folder(os.path.dirname(path))
                # Flushed with all others below, before the folder gets its name.
                Image.fromarray(label).save(path)
            truth = None
            if pair.label_path is not None:
                truth = domain.read_label(pair.label_path)
                truth = image_batches.resize_label_map(truth, label.shape)
            return label, truth

        labels = (
            (pair, select(logits, *map(tf.constant, size)).numpy())
            for pair, (logits, size) in zip(pairs, predicted)
        )
        with progress.make_progress_bar(len(pairs), title, "image") as bar:
            for label, truth in map_ahead(finish, labels, _WRITER_THREADS):
                tally.add(label, truth)
                bar.update(1)
        paths = [locate(pair.name) for pair in pairs]
        with whole_files.explain_failures(directory):
            whole_files.sync_all([*paths, *{os.path.dirname(path) for path in paths}])


class _Prediction:
    """Predicts images for their labels."""

    def __init__(self, model, strategy, domain, inference, *, flip):
        self.model = model
        self._domain = domain
        self._inference = inference
        self._flip = flip
        self._run = ReplicatedFunction(self._predict, strategy)
        self._run_network = ReplicatedFunction(lambda images: (self._keep(images),), strategy)

    def iterate_batches(self, pairs):
        """Yields batch, logits as float16, confidence, class and, with a head, mode of cells."""
        for batch in self._read(pairs):
            kept, *others = self._run(batch.images)
            _check_finite(batch.pairs, kept)
            yield batch, kept, *others

    def iterate_images(self, pairs):
        """Yields the logits as float16 and the (height, width) of each image."""
        for batch in self._read(pairs):
            (kept,) = self._run_network(batch.images)
            _check_finite(batch.pairs, kept)
            for logits in kept:
                yield logits, batch.images.shape[1:3]

    def _read(self, pairs):
        return image_batches.iterate_image_batches(
            pairs,
            self._domain.read_image,
            size=self._inference.size,
            batch_size=self._inference.batch_size,
        )

    def _predict(self, images):
        model = self.model
        outputs = predict_logits(model, images)
        kept = self._keep(images, outputs)
        logits = upsample_logits(
            tf.cast(kept, tf.float32), model.logits_stride, tf.shape(images)[1:3]
        )
        result = (kept, *pseudo_labels.confidence_and_prediction(logits))
        head = model.multimodal_head
        if head is None:
            return result
        # Without the cells of the padding.
        rows, columns = tf.unstack(-(-tf.shape(images)[1:3] // model.embedding_stride))
        return *result, find_modes(outputs, head.modes)[:, :rows, :columns]

    def _keep(self, images, outputs=None):
        """Returns the logits of images as float16, or those of their outputs."""
        outputs = predict_logits(self.model, images) if outputs is None else outputs
        logits = outputs[common.LOGITS]
        if self._flip:
            logits = _average_with_mirrored(self.model, images, logits)
        return tf.cast(logits, tf.float16)


def _check_finite(pairs, kept):
    names = [pair.name for pair, logits in zip(pairs, kept) if not np.isfinite(logits).all()]
    if names:
        raise UserError(
            f"The model's predictions are not finite for these images: {', '.join(names)}. Logits "
            "are kept as float16, up to 65,504. With RunSettings.precision = "
            '"mixed_float16" bind "mixed_bfloat16" or "float32" instead; otherwise train the '
            "source stage at a lower rate."
        )


def _read_logits(file, pairs):
    """Yields what `_Prediction.iterate_images` yielded in the first pass, from its file."""
    for _ in pairs:
        yield np.load(file), np.load(file)


def _average_with_mirrored(model, images, logits):
    """Returns logits of the mean probabilities of images and mirrored images."""
    # Padded before they are mirrored, so that both maps lie on one grid.
    padded = pad_images(tf.cast(images, tf.float32), model.size_multiple)
    mirrored = tf.reverse(padded, [2])
    others = tf.reverse(predict_logits(model, mirrored)[common.LOGITS], [2])
    return tf.reduce_logsumexp(
        tf.stack([tf.nn.log_softmax(logits), tf.nn.log_softmax(others)]) - math.log(2), axis=0
    )


def _read_report_or_clear(directory, partial):
    """Returns the report of a finished directory; otherwise creates a new one and returns None."""
    report_path = PseudoLabelDirectory(directory).report
    if os.path.exists(report_path):
        return read_label_report(report_path).as_json()
    # Without a report the labels are incomplete and are generated again.
    for leftover in (partial, directory):
        shutil.rmtree(leftover, ignore_errors=True)
    with whole_files.explain_failures(partial):
        whole_files.make_folder(partial)
    return None
