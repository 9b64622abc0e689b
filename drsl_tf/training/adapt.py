"""Runs domain adaptation: audit, model, stages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from absl import logging

from data_pipelines.batches.adaptation import AdaptationData
from data_pipelines.errors import UserError
from drsl_tf.distribution.strategy import create_strategy
from drsl_tf.distribution.workers import Workers
from drsl_tf.models.inference import Inference
from drsl_tf.models.model import DrslModel
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs import data_record
from drsl_tf.runs import run_lock
from drsl_tf.runs import stored_weights
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.training.settings import Learner
from drsl_tf.training.settings import RunSettings
from drsl_tf.training.settings import SelfTraining
from drsl_tf.training.trainer import Trainer


def adapt(
    run_dir: str,
    *,
    data: AdaptationData,
    learner: Learner,
    schedule: Schedule,
    settings: RunSettings,
    self_training: SelfTraining = SelfTraining(),
    inference: Inference = Inference(),
    monitoring: Monitoring = Monitoring(),
) -> ResultsFile:
    """Trains on the source, adapts to the target, and scores every stage.

    A run directory with a checkpoint is resumed; one that another process trains in is refused.
    SIGTERM saves a checkpoint and raises `Preempted`.

    On several machines every process calls this function with the same arguments, including the
    run directory, and raises `WorkerLost` when another process is lost.

    Args:
        run_dir: the directory that the run is written to.
        data: both domains, their batches and augmentation.
        learner: the model and its optimizer.
        schedule: numbers of steps and rounds.
        settings: name, seed and precision of the run.
        self_training: how the rounds use the target.
        inference: image size and batch size of inference on the target.
        monitoring: figure, panels, TensorBoard and further callbacks.

    Returns:
        The run's results, as written to `run_dir/results.json`.

    Raises:
        UserError: the data or configuration is invalid, another process trains in the directory,
            or a loss or gradient remains NaN or infinite.
    """
    if settings.deterministic:
        _make_deterministic()
    keras.utils.set_random_seed(settings.seed)
    keras.mixed_precision.set_global_policy(settings.precision)
    strategy = create_strategy()
    workers = Workers(strategy)
    gradient_update = learner.gradient_update or GradientUpdate()
    _check_source(data, schedule, settings)
    data.check_replicas(strategy.num_replicas_in_sync, gradient_update.micro_batches)
    with workers.raise_if_worker_lost(), _locked(workers, run_dir):
        # Before the audit, which takes long.
        workers.ask_chief(lambda: _check_initial_run(run_dir, settings))
        _audit(workers, data, RunDirectory(run_dir).audit)
        if schedule.rounds:
            workers.ask_chief(data.check_target)
        workers.ask_chief(data.check_scored)
        workers.ask_chief(lambda: _record_data(run_dir, data))
        _check_same_everywhere(workers, data, schedule, settings, self_training)
        with strategy.scope():
            model = learner.build_model(data.label_space)
            model.compile(
                optimizer=learner.optimizer(), gradient_update=gradient_update, jit_compile=False
            )
        _warn_of_unused_settings(model, data)
        if model.labels_online and schedule.rounds:
            data.make_unlabelled_target_stream()  # Raises now if its sampler is invalid.
        trainer = Trainer(
            run_dir,
            model,
            strategy,
            data=data,
            schedule=schedule,
            settings=settings,
            self_training=self_training,
            inference=inference,
            mode_start=learner.mode_start,
        )
        return trainer.train(monitoring)


def _make_deterministic():
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError as error:
        raise UserError(
            "RunSettings.deterministic needs one thread, but TensorFlow has run an operation with "
            "more in this process: call drsl_tf.adapt first in a new one."
        ) from error
    tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def _locked(workers: Workers, run_dir: str) -> Iterator[None]:
    """Holds the run directory's lock on the chief."""
    with contextlib.ExitStack() as locks:
        workers.ask_chief(lambda: locks.enter_context(run_lock.lock_run(run_dir)))
        yield


def _check_source(data: AdaptationData, schedule: Schedule, settings: RunSettings) -> None:
    """Checks that source-free adaptation starts from a model that was trained on the source."""
    if data.source_free and (settings.initial_run is None or schedule.source_steps):
        raise UserError(
            "AdaptationData.source_free leaves nothing to train a source stage on: bind "
            "RunSettings.initial_run to a run that was trained on the source, and "
            "Schedule.source_steps to 0."
        )


def _check_initial_run(run_dir: str, settings: RunSettings) -> None:
    """Checks that the run to start from has weights, unless this run has its own."""
    if settings.initial_run is not None and not _has_checkpoint(run_dir):
        try:
            stored_weights.find_checkpoint(settings.initial_run)
        except UserError as error:
            raise UserError(f"RunSettings.initial_run cannot be used: {error}") from error


def _warn_of_unused_settings(model: DrslModel, data: AdaptationData) -> None:
    name = type(model).__name__
    if data.source_free and model.source_settings:
        logging.warning(
            "Without source images these arguments of %s have no effect: %s.",
            name,
            ", ".join(model.source_settings),
        )
    if model.multimodal_head is None and model.mode_settings:
        logging.warning(
            "Without a multi-modal head these arguments of %s have no effect: %s. Bind "
            "drsl_tf.build_model.multimodal_head = @drsl_tf.MultimodalHead, or remove them.",
            name,
            ", ".join(model.mode_settings),
        )


def _audit(workers: Workers, data: AdaptationData, stamp_dir: str) -> None:
    """Audits all files on the chief; the other processes of a job find its stamp."""
    workers.ask_chief(lambda: data.audit(stamp_dir))
    workers.run_together(lambda: None if workers.is_chief else data.audit(stamp_dir))


def _record_data(run_dir: str, data: AdaptationData) -> None:
    lists = {
        role: data_record.FileList(
            root=domain.root, split=split, images=len(pairs), digest=data.digests[role]
        )
        for role, (domain, split, pairs) in data.list_splits().items()
    }
    resumed = _has_checkpoint(run_dir)
    data_record.record_data(run_dir, data.label_space.class_names, lists, resumed=resumed)


def _has_checkpoint(run_dir):
    return bool(checkpoint_files.list_checkpoints(RunDirectory(run_dir).checkpoints))


def _check_same_everywhere(
    workers: Workers,
    data: AdaptationData,
    schedule: Schedule,
    settings: RunSettings,
    self_training: SelfTraining,
) -> None:
    """Checks that all processes of a job have the same settings and images."""
    rounds = range(schedule.rounds + 1)
    workers.check_equal({
        "experiment": settings.experiment,
        "seed": settings.seed,
        "the source's images": [pair.name for pair in data.source_pairs],
        "the target's images": [pair.name for pair in data.target_pairs],
        "the images to score": [pair.name for pair in data.eval_pairs],
        "the batch sizes": [data.source_batch, data.target_batch],
        "the schedule": [schedule.count_steps(r) for r in rounds],
        "checkpoint_every": schedule.checkpoint_every,
        "SelfTraining.selection": self_training.selection,
        "whether SelfTraining.target_statistics is bound": bool(self_training.target_statistics),
    })  # fmt: skip
