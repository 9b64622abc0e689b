"""The whole run: audit, source stage, rounds of self-training, scores."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import keras
import tensorflow as tf

from data_pipelines.batches.adaptation import AdaptationData
from drsl_tf.distribution.strategy import create_strategy
from drsl_tf.distribution.workers import Workers
from drsl_tf.monitoring.callbacks import make_callbacks
from drsl_tf.optimization.gradient_update import GradientUpdate
from drsl_tf.runs.comparison_figure import ComparisonFigure
from drsl_tf.runs.results import ResultsFile
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.rounds import PseudoLabeler
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.self_training.target_statistics import TargetStatistics
from drsl_tf.training.loop import TrainingLoop
from drsl_tf.training.stages import Trainer


def run(
    *,
    run_dir: str,
    experiment: str,
    data: AdaptationData,
    schedule: Schedule,
    build_model: Callable,
    optimizer: Callable,
    initial_run: str | None = None,
    gradient_update: GradientUpdate | None = None,
    pseudo_labeler: PseudoLabeler | None = None,
    target_statistics: TargetStatistics | None = None,
    inference_size: tuple[int, int] | None = None,
    inference_batch: int = 8,
    seed: int = 0,
    deterministic: bool = False,
    precision: str = "float32",
    figure_images: int = 3,
    max_retries: int = 3,
    tensorboard: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> ResultsFile:
    """Trains on the source, adapts to the target, and scores every stage.

    A run directory that holds a checkpoint is resumed. SIGTERM saves one and raises `Preempted`.
    On several machines every process calls this with the same arguments, the run directory
    included, and raises `WorkerLost` when another one is gone.

    Args:
        run_dir: where everything of this run is written.
        experiment: the experiment's name.
        data: both domains and what is drawn from them.
        schedule: steps and rounds.
        build_model: callable(label_space) that builds a `DrslModel`.
        optimizer: callable without arguments that builds a Keras optimizer.
        initial_run: directory of another run, of the same base, segmentation head and classes,
            whose last weights this one starts from, those of its multi-modal head where that is
            the same. With no source steps the rounds alone are run. None starts from
            `build_model`'s weights.
        gradient_update: what happens to gradients before the optimizer gets them; None is
            `GradientUpdate()`, which leaves them as they are.
        pseudo_labeler: selects the pseudo-labels; None is `PseudoLabeler()`.
        target_statistics: takes batch normalisation's statistics anew over the target, before the
            first round and after every one; None leaves those of training.
        inference_size: (height, width) at which the network sees whole target images; None is
            each image's own.
        inference_batch: images at once in pseudo-labelling and scoring, which changes no result,
            and in taking the target's statistics, where 4 in the place of 8 cost 0.9 points on
            streets (`docs/results.md`).
        seed: of initial weights, order of images, and augmentation.
        deterministic: bit-equal reruns on one machine, at the price of speed: deterministic
            operators and one thread.
        precision: Keras's policy: "float32", "mixed_float16" or "mixed_bfloat16".
        figure_images: frames of the evaluation split in the figure, and of the split to adapt to
            in `panels/`.
        max_retries: how often a stage goes back to its last checkpoint, and on with other
            batches, after a loss or gradient that is not finite.
        tensorboard: whether to write event files for TensorBoard under `run_dir/tensorboard`.
        callbacks: Keras callbacks.

    Returns:
        The run's results, as written to `run_dir/results.json`.

    Raises:
        UserError: when data or configuration cannot be used, or a loss or gradient stays NaN or
            infinite.
    """
    if deterministic:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_global_policy(precision)
    strategy = create_strategy()
    workers = Workers(strategy)
    gradient_update = gradient_update or GradientUpdate()
    data.check_replicas(strategy.num_replicas_in_sync, gradient_update.micro_batches)
    with workers.noticing_loss():
        _audit(workers, data, RunDirectory(run_dir).audit)
        _check_same_run(workers, data, schedule, experiment=experiment, seed=seed)
        with strategy.scope():
            model = build_model(data.label_space)
            model.compile(optimizer=optimizer(), gradient_update=gradient_update, jit_compile=False)
    if model.labels_online and schedule.rounds:
        data.make_unlabelled_target_stream()  # A sampler that it cannot have is refused now.
    watchers = []
    if workers.is_chief:
        watchers = make_callbacks(
            run_dir=run_dir,
            data=data,
            schedule=schedule,
            strategy=strategy,
            inference_size=inference_size,
            num_frames=figure_images,
            tensorboard=tensorboard,
            settings={"experiment": experiment, "seed": seed, "precision": precision},
        )
    trainer = Trainer(
        run_dir=run_dir,
        data=data,
        schedule=schedule,
        model=model,
        strategy=strategy,
        pseudo_labeler=pseudo_labeler or PseudoLabeler(),
        target_statistics=target_statistics,
        inference_size=inference_size,
        inference_batch=inference_batch,
        results=ResultsFile(
            run_dir,
            experiment=experiment,
            seed=seed,
            class_names=data.label_space.class_names,
            is_chief=workers.is_chief,
            initial_run=initial_run,
        ),
        figure=ComparisonFigure(run_dir, data.target, data.eval_pairs[:figure_images]),
        loop=TrainingLoop(model, strategy, [*watchers, *callbacks], seed=seed),
        initial_run=initial_run,
        max_retries=max_retries,
    )
    return trainer.train()


def _audit(workers, data, stamp_dir):
    """Lets the chief open all files; the other processes of a job find its stamp."""
    workers.ask_chief(lambda: data.audit(stamp_dir))
    workers.run_together(lambda: None if workers.is_chief else data.audit(stamp_dir))


def _check_same_run(workers, data, schedule, **settings):
    """Checks that all processes of a job train the same run on the same images."""
    rounds = range(schedule.rounds + 1)
    count = (len(data.target_pairs), data.target_batch)
    workers.check_equal({
        **settings,
        "the source's images": [pair.name for pair in data.source_pairs],
        "the target's images": [pair.name for pair in data.target_pairs],
        "the images to score": [pair.name for pair in data.eval_pairs],
        "the batch sizes": [data.source_batch, data.target_batch],
        "the schedule": [schedule.count_steps(r, *count) for r in rounds],
        "checkpoint_every": schedule.checkpoint_every,
    })  # fmt: skip
