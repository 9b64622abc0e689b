"""Modes set to clusters of the source's embeddings, within the source stage."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from data_pipelines.batches import training_batches
from data_pipelines.error_relay import ErrorRelay
from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import common
from drsl_tf import compat
from drsl_tf.distribution.replicated import Evener
from drsl_tf.distribution.replicated import ReplicatedFunction
from drsl_tf.distribution.workers import Workers
from drsl_tf.losses import segmentation
from drsl_tf.models.model import DrslModel
from drsl_tf.modes.clusters import cluster_directions
from drsl_tf.modes.directions import find_directions
from drsl_tf.modes.pixel_sample import PixelSample

_PIXELS_PER_MODE = 10


class ModeStart:
    """Sets the modes of each class to clusters of the embeddings of its source pixels.

    Drawn before the first step, the modes of a class have nothing to do with its pixels, and one of
    them is soon nearest to all. When the network has learned for a while, spherical k-means++
    (`clusters`) of the class's embeddings finds modes that each have pixels. This is this
    project's choice.

    Of a head with features in its embedding, their projection is set first, to principal directions
    of the same pixels. A class of fewer than 10 pixels a mode keeps its modes. The optimizers'
    state of modes that are set is reset to 0. Images and draws are functions of the seed and the
    step; all replicas and machines use the modes of the chief.

    Args:
        at: shares of the source stage's steps after which the modes are set, above 0 and at most 1.
        images: source crops whose pixels are clustered, drawn and augmented as in training; the
            number is rounded up to whole batches.
        pixels_per_class: most pixels of a class that are clustered, drawn at random.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        at: Sequence[float] = (1 / 3, 2 / 3),
        images: int = 200,
        pixels_per_class: int = 2000,
    ):
        if not isinstance(at, Sequence) or not at or not all(0 < share <= 1 for share in at):
            raise UserError(
                f"ModeStart.at is {at!r}; it must be a list of numbers above 0 and at most 1."
            )
        check_integer("ModeStart.images", images, least=1)
        check_integer("ModeStart.pixels_per_class", pixels_per_class, least=1)
        self._at = tuple(at)
        self._images = images
        self._pixels_per_class = pixels_per_class

    def check(self, modes_per_class: int) -> None:
        """Checks that classes can have enough pixels.

        Args:
            modes_per_class: of the head whose modes are to be set.

        Raises:
            UserError: `pixels_per_class` is below what a class needs.
        """
        least = _PIXELS_PER_MODE * modes_per_class
        if self._pixels_per_class < least:
            raise UserError(
                f"ModeStart.pixels_per_class is {self._pixels_per_class}; with {modes_per_class} "
                f"modes a class it must be at least {least}."
            )

    def list_steps(self, stage_steps: int) -> list[int]:
        """Lists the steps after which the modes are set.

        Args:
            stage_steps: steps of the source stage.

        Returns:
            Numbers of finished steps, in increasing order.
        """
        return sorted({max(1, round(share * stage_steps)) for share in self._at})

    def draw_batches(
        self, source: training_batches.Stream, *, seed: int, step: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Draws the crops to cluster.

        Args:
            source: the labelled stream of the source stage.
            seed: the experiment's seed.
            step: steps of the source stage that are finished.

        Yields:
            `{"image": (B, H, W, 3) float32, "label": (B, H, W) int32}`, B the global batch.

        Raises:
            UserError: a file cannot be read.
        """
        relay = ErrorRelay()
        batches = training_batches.make_training_batches(
            source.watch(relay),
            None,
            steps=-(-self._images // source.batch_size),
            seed=int(_derive_seed(seed, step, "images")[0]),
            round_index=0,
        )
        for batch in relay.pass_errors(batches.as_numpy_iterator()):
            yield batch[common.SOURCE]

    def update(
        self,
        model: DrslModel,
        strategy: tf.distribute.Strategy,
        batches: Callable[[], Iterable[dict[str, np.ndarray]]],
        *,
        seed: int,
        step: int,
    ) -> None:
        """Sets the modes; collective on several machines.

        Args:
            model: a compiled `DrslModel` with a multi-modal head.
            strategy: distribution strategy of its variables.
            batches: returns the labelled batches, as `draw_batches` does.
            seed: the experiment's seed.
            step: steps of the stage that are finished; seeds the draws with `seed`.

        Raises:
            UserError: a file cannot be read, or the model has no multi-modal head.
        """
        head = model.multimodal_head
        if head is None:
            raise UserError("ModeStart sets the modes of a multi-modal head; the model has none.")
        own = [compat.as_tf_variable(variable) for variable in model.non_trainable_variables]
        # Every replica predicts with the same statistics of batch normalisation.
        Evener(own, strategy).even_out()
        directions, found = Workers(strategy).ask_chief(
            lambda: self._cluster(model, strategy, batches(), seed, step)
        )
        names = ("centres", "shares", "variances")
        clusters = {
            int(each): {name: np.array(values[name], np.float32) for name in names}
            for each, values in found.items()
        }
        if directions is not None:
            head.projection.assign(np.array(directions, np.float32))
        head.set_modes(clusters)
        _reset_slots(model, list(clusters))
        logging.info(
            "Modes of %d of %d classes are set from the source's embeddings after %d steps.",
            len(clusters),
            model.num_classes,
            step,
        )

    def _cluster(self, model, strategy, batches, seed, step):
        """Returns the head's projection and the clusters of each class with enough pixels.

        Both are JSON content; a head whose embedding is without features has no projection.
        """
        head = model.multimodal_head
        sample = PixelSample(self._pixels_per_class, _make_generator(seed, step, "pixels"))
        embed = ReplicatedFunction(lambda images: _embed(model, images), strategy)
        for batch in batches:
            maps = embed(batch[common.IMAGE])
            labels = segmentation.sample_labels(
                tf.constant(batch[common.LABEL]), maps[0].shape[1:3]
            )
            ids = labels.numpy().reshape(-1)
            arrays = [each.reshape(-1, each.shape[-1]) for each in maps]
            counted = (ids != common.IGNORE_ID) & np.isfinite(arrays[0]).all(axis=1)
            sample.add(ids[counted], *(array[counted] for array in arrays))
        drawn = sample.get()
        directions = None
        if head.feature_share and drawn:
            old = tf.convert_to_tensor(head.projection).numpy()
            directions = find_directions([joined for _, joined in drawn.values()], old)
            drawn = {
                each: (head.combine(own, joined @ directions).numpy(),)
                for each, (own, joined) in drawn.items()
            }
        found = {}
        for each, (vectors, *_) in drawn.items():
            if len(vectors) >= _PIXELS_PER_MODE * head.modes_per_class:
                generator = _make_generator(seed, step, each)
                clusters = cluster_directions(vectors, head.modes_per_class, generator)
                found[str(each)] = {k: v.tolist() for k, v in clusters._asdict().items()}
        # Modes that stay belong to the directions that they were found in.
        return None if directions is None or not found else directions.tolist(), found


class ModeStartCallback(keras.callbacks.Callback):
    """Sets the modes by a `ModeStart` in the source stage of a `TrainingLoop`.

    The loop calls it before it writes the checkpoint of a step, so that a resumed run neither
    misses a start nor repeats one.

    Args:
        mode_start: sets the modes.
        strategy: distribution strategy of the model.
        source: the stream of the source stage.
        stage_steps: steps of the source stage.
        seed: the experiment's seed.
    """

    def __init__(
        self,
        mode_start: ModeStart,
        strategy: tf.distribute.Strategy,
        source: training_batches.Stream,
        *,
        stage_steps: int,
        seed: int,
    ):
        super().__init__()
        self._mode_start = mode_start
        self._strategy = strategy
        self._source = source
        self._steps = mode_start.list_steps(stage_steps)
        self._seed = seed
        self._round = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the stage."""
        self._round = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the modes, if it is time."""
        if self._round == 0 and batch + 1 in self._steps:
            place = {"seed": self._seed, "step": batch + 1}
            self._mode_start.update(
                self.model,
                self._strategy,
                lambda: self._mode_start.draw_batches(self._source, **place),
                **place,
            )


def _embed(model, images):
    """Returns the embedding of images, or both parts that a head combines to it."""
    head = model.multimodal_head
    features = model.base(images, training=False)
    embedding = head.embed(features)
    return (embedding, head.join_features(features)) if head.feature_share else (embedding,)


def _reset_slots(model, classes):
    """Sets the optimizers' slots of some classes' modes to 0."""
    modes = compat.as_tf_variable(model.multimodal_head.mode_weights)
    is_kept = np.ones((modes.shape[0], 1, 1), np.float32)
    is_kept[classes] = 0.0
    for optimizer in (model.optimizer, *model.optimizer_copies.values()):
        for variable in map(compat.as_tf_variable, compat.list_optimizer_variables(optimizer)):
            # A slot has the shape of its variable, and modes alone have three axes of this size.
            if variable.shape == modes.shape:
                variable.assign(variable.numpy() * is_kept)


def _derive_seed(seed, step, purpose):
    return training_batches.derive_seed(seed, "modes", step, purpose)


def _make_generator(seed, step, purpose):
    return np.random.default_rng(_derive_seed(seed, step, purpose).view(np.uint32).tolist())
