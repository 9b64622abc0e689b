"""Launches a run from its configuration files."""

from __future__ import annotations

import contextlib
import functools
import logging as std_logging
import os
from collections.abc import Sequence

import gin
from absl import logging

from data_pipelines import cli
from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from drsl_tf import files
from drsl_tf.config.configuration import Configuration
from drsl_tf.config.configuration import explain_bad_values
from drsl_tf.distribution import strategy as strategies
from drsl_tf.distribution.workers import Workers
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs import results_schema
from drsl_tf.runs import run_lock
from drsl_tf.runs import selection
from drsl_tf.runs import verdict
from drsl_tf.runs.results_file import ResultsFile
from drsl_tf.runs.run_directory import RunDirectory
from drsl_tf.self_training.schedule import Schedule
from drsl_tf.training.adapt import adapt


def launch(
    gin_files: Sequence[str],
    gin_params: Sequence[str] = (),
    run_dir: str | None = None,
    fresh: bool = False,
) -> ResultsFile:
    """Runs an experiment and prints its scores.

    Args:
        gin_files: configuration files: paths, or names of files in `gin_configs`.
        gin_params: bindings that override them, such as "SOURCE_STEPS = 20".
        run_dir: directory of the run; an existing run is resumed. None is runs/NAME for
            NAME.gin.
        fresh: moves an existing run aside and starts over.

    Returns:
        The run's results, as in `run_dir/results.json`.

    Raises:
        UserError: configuration or data are invalid, the directory holds a run with another
            configuration, or another process trains in it.
    """
    run_dir = run_dir or cli.name_run_dir(gin_files)
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_is_worth_showing)
    configuration = Configuration(gin_files, gin_params)
    run = configuration.apply(adapt)
    if strategies.read_task_index() != 0:
        # The workers of a job share the directory, which the chief has locked.
        if not fresh:
            with _refused_together():
                _check_same_run(run_dir, configuration)
        return _run(run, run_dir)
    with contextlib.ExitStack() as entered:
        with _refused_together():
            if fresh and os.path.lexists(run_dir):
                _move_aside(run_dir)
            entered.enter_context(run_lock.lock_run(run_dir))
            _check_same_run(run_dir, configuration)
            entered.enter_context(_recorded(configuration, run_dir))
        results = _run(run, run_dir)
    _print_summary(results, run_dir)
    return results


@contextlib.contextmanager
def _refused_together():
    """Raises an error in the other processes of the job too, which wait for this one in `adapt`."""
    try:
        yield
    except UserError as error:
        if strategies.count_processes() > 1:
            # The others may not have started yet.
            logging.error("%s", error)
            workers = Workers(strategies.create_strategy())
            with workers.raise_if_worker_lost():
                workers.run_together(functools.partial(_raise, error))
        raise


def _raise(error):
    raise error


@contextlib.contextmanager
def _recorded(configuration, run_dir):
    """Writes `config.gin`; puts the old one back where the run is refused before it went on."""
    path = RunDirectory(run_dir).config
    checkpoints = _list_checkpoints(run_dir)
    old = None
    if checkpoints and os.path.isfile(path):
        with open(path, "rb") as file:
            old = file.read()
    files.write_text(path, configuration.format_record())
    try:
        yield
    except UserError:
        if old is not None and _list_checkpoints(run_dir) == checkpoints:
            files.write_bytes(path, old)
        raise


def _run(run, run_dir):
    with explain_bad_values(adapt):
        return run(run_dir=run_dir)


def _is_worth_showing(record) -> bool:
    """Returns False for TensorFlow's messages below warnings, such as one per checkpoint."""
    return record.levelno >= std_logging.WARNING or "/tensorflow/" not in record.pathname


def _check_same_run(run_dir: str, configuration: Configuration) -> None:
    """Refuses to resume a run with another configuration.

    A run without a checkpoint may change its configuration. Others may change the roots of their
    data sets, since the lists of files are compared after the audit, and the number of rounds.
    """
    path = RunDirectory(run_dir).config
    if not _list_checkpoints(run_dir) or not os.path.isfile(path):
        return
    hint = "Choose another --run_dir, or start over with --fresh, which keeps the old run."
    try:
        earlier = Configuration([os.path.abspath(path)])
    except (UserError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error} {hint}") from error
    may_change = ["drsl_tf.Schedule.rounds"]
    if os.path.isfile(RunDirectory(run_dir).data):  # Earlier versions recorded no lists.
        may_change.append("root")
    old, new = earlier.bindings, configuration.bindings
    changed = {
        key: f"{key} was {old.get(key, 'not bound')} and is {new.get(key, 'not bound')}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    }
    differing = [
        change
        for key, change in changed.items()
        if not all(each.serves_only(key, may_change) for each in (earlier, configuration))
    ]
    if differing:
        raise UserError(
            f"{run_dir} holds a run of another configuration: {'; '.join(differing)}. {hint}"
        )
    _check_rounds(run_dir, hint)
    for change in changed.values():
        logging.info("%s: the run goes on.", change)


def _list_checkpoints(run_dir):
    return checkpoint_files.list_checkpoints(RunDirectory(run_dir).checkpoints)


def _check_rounds(run_dir: str, hint: str) -> None:
    """Refuses fewer rounds than a run has finished."""
    rounds = gin.get_bindings(Schedule).get("rounds")
    path = RunDirectory(run_dir).results
    if not isinstance(rounds, int) or not os.path.isfile(path):
        return
    done = max((stage.round for stage in results_schema.read_results(path).stages), default=0)
    if done > rounds:
        raise UserError(
            f"{run_dir} holds a run of {done} finished rounds, and Schedule.rounds is {rounds}. "
            f"Bind at least {done}. {hint}"
        )


def _move_aside(run_dir: str) -> None:
    # Of what is no directory, such as a link to an absent one, no process holds the lock.
    lock = run_lock.lock_run(run_dir) if os.path.isdir(run_dir) else contextlib.nullcontext()
    base = os.path.normpath(run_dir)
    with lock, whole_files.explain_failures(run_dir):
        number = 1
        while os.path.lexists(f"{base}.old-{number}"):
            number += 1
        whole_files.rename_whole(base, f"{base}.old-{number}")
    logging.info("The previous run is kept as %s.old-%d.", base, number)


def _print_summary(results, run_dir):
    print(results.format_table())
    figure = RunDirectory(run_dir).figure
    if os.path.exists(figure):
        print(f"\nFigure:  {figure}")
    if results.stages:
        print(f"Results: {results.path}")
    if results.verdict is not None:
        print(f"\n{verdict.format_verdict(results.verdict, run_dir)}")
    if results.selected is not None:
        print(f"\n{selection.format_selection(results.selected, run_dir)}")
