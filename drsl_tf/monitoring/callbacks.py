"""The monitoring callbacks of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from data_pipelines.batches import whole_images
from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.errors import UserError
from data_pipelines.errors import check_integer
from drsl_tf import common
from drsl_tf.monitoring.mode_cells import CellReader
from drsl_tf.monitoring.mode_pictures import ModePictures
from drsl_tf.monitoring.panels import PanelWriter
from drsl_tf.monitoring.projector import ProjectorWriter
from drsl_tf.monitoring.tensorboard import TensorBoardWriter
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.schedule import Schedule

# Images per domain for the Projector's pixels: rare classes need several.
_PROJECTOR_IMAGES = 12


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """What a run shows while it trains.

    Args:
        figure_images: frames of the evaluation split in the figure, and of the split to adapt to
            in `panels/`; 0 writes neither.
        mode_images: images of each domain from which the pixels in the pictures of modes are
            chosen; 0 draws none.
        tensorboard: whether to write event files for TensorBoard under `run_dir/tensorboard`.
        callbacks: further Keras callbacks.
    """

    figure_images: int = 3
    mode_images: int = 48
    tensorboard: bool = True
    callbacks: Sequence[keras.callbacks.Callback] = ()

    def __post_init__(self):
        check_integer("Monitoring.figure_images", self.figure_images, least=0)
        check_integer("Monitoring.mode_images", self.mode_images, least=0)
        if not isinstance(self.callbacks, Sequence) or not all(
            isinstance(callback, keras.callbacks.Callback) for callback in self.callbacks
        ):
            raise UserError(
                f"Monitoring.callbacks is {self.callbacks!r}; it must be a list of Keras "
                "callbacks, such as [@module.Class()]."
            )


def make_callbacks(
    run_dir: str,
    monitoring: Monitoring,
    *,
    data: AdaptationData,
    schedule: Schedule,
    strategy: tf.distribute.Strategy,
    inference_size: tuple[int, int] | None,
    list_warnings: Callable[[], Sequence[str]],
    settings: dict[str, Any],
) -> list[keras.callbacks.Callback]:
    """Creates the callbacks of a run, for the process that writes its files.

    Args:
        run_dir: the run's directory.
        monitoring: which callbacks to create; its `callbacks` are not in the result.
        data: audited data.
        schedule: steps and rounds.
        strategy: distribution strategy of the model.
        inference_size: (height, width) of whole target images, or None.
        list_warnings: returns the sentences about the stage that ended last.
        settings: hyper-parameters that are in no configuration file, such as the seed.

    Returns:
        Keras callbacks, in the order in which they must run.
    """
    callbacks: list[keras.callbacks.Callback] = []
    picture_writers: list[PanelWriter | ModePictures] = []
    splits = data.list_splits()
    shown = [name for name in (common.SOURCE, common.TARGET) if name in splits]
    reader = CellReader({name: splits[name][0] for name in shown}, strategy, inference_size)

    def choose_images(count):
        return {name: whole_images.spread_evenly(splits[name][2], count) for name in shown}

    if monitoring.figure_images:
        frames = whole_images.spread_evenly(data.target_pairs, monitoring.figure_images)
        picture_writers.append(PanelWriter(run_dir, data.target, frames, strategy, inference_size))
    if monitoring.mode_images:
        images = choose_images(monitoring.mode_images)
        picture_writers.append(ModePictures(run_dir, reader, images, schedule.rounds))
    callbacks += picture_writers
    if monitoring.tensorboard:
        callbacks.append(ProjectorWriter(run_dir, reader, choose_images(_PROJECTOR_IMAGES)))
        callbacks.append(
            TensorBoardWriter(
                RunDirectory(run_dir).tensorboard,
                run_dir,
                data.label_space.class_names,
                count_steps=schedule.count_steps,
                count_images=lambda round_index: (
                    data.source_batch + (data.target_batch if round_index else 0)
                ),
                list_warnings=list_warnings,
                settings=settings,
                picture_writers=picture_writers,
            )
        )
    return callbacks
