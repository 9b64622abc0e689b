"""Checkpoints of every variable that a run changes, each under a unique name."""

from __future__ import annotations

import os
import shutil
import tempfile

import keras
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.io import whole_files
from drsl_tf import compat
from drsl_tf.distribution.replicated import Evener
from drsl_tf.distribution.workers import LOST_WORKER_ERRORS
from drsl_tf.distribution.workers import Workers
from drsl_tf.runs import checkpoint_files
from drsl_tf.runs.run_directory import RunDirectory

_KEPT = 2


class CheckpointStore:
    """Saves and restores a run's state.

    Tracking a whole model misses variables on Keras 3 (layers in lists, states of random layers,
    statistics of functional backbones), so every variable is listed explicitly.

    A process killed at any time leaves the earlier checkpoints intact. If the newest is corrupted,
    the one before it is used.

    Args:
        directory: the run's directory.
        model: a model with every variable created.
        optimizer: its optimizer, slots created; its copies are read from the model.
        counters: further variables of the run, by name.
        strategy: strategy of the model; None is the current one. On several machines the chief
            writes the files, and all processes save and restore at the same time.
    """

    def __init__(
        self,
        directory: str,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        counters: dict[str, tf.Variable],
        strategy: tf.distribute.Strategy | None = None,
    ):
        strategy = strategy or tf.distribute.get_strategy()
        self.variables = {
            "model": _number_variables(model.variables),
            "optimizer": _number_variables(compat.list_optimizer_variables(optimizer)),
            "counters": dict(counters),
        }
        if model.extra_variables:
            self.variables["extra"] = _number_variables(model.extra_variables)
        for name, scaled in model.gradient_update.copies.items():
            self.variables[name] = _number_variables(compat.list_optimizer_variables(scaled))
        self._checkpoint = tf.train.Checkpoint(**self.variables)
        self._folder = RunDirectory(directory).checkpoints
        self._workers = Workers(strategy)
        own = [*model.non_trainable_variables, *model.extra_variables]
        self._evener = Evener([compat.as_tf_variable(variable) for variable in own], strategy)

    def save(self) -> str:
        """Writes a checkpoint, after averaging statistics that differ between replicas.

        Returns:
            Its path.

        Raises:
            UserError: it cannot be written; earlier checkpoints are unchanged.
        """
        self._evener.even_out()
        folder = self._workers.run_together(self._make_partial)[self._workers.index]
        name = self._workers.run_together(lambda: self._write(folder))[0]
        return os.path.join(self._folder, name)

    def _make_partial(self):
        """Creates a folder to write to and returns its path; a temporary one except on the chief.

        Reading a variable may be a sum over all processes, so all of them write.
        """
        try:
            if not self._workers.is_chief:
                return tempfile.mkdtemp()
            partial = os.path.join(self._folder, whole_files.PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            whole_files.make_folder(partial)
            return partial
        except OSError as error:
            raise self._make_error(error) from error

    def _write(self, partial):
        """Writes a checkpoint and returns its name; None except on the chief."""
        try:
            name = f"ckpt-{checkpoint_files.number_next(self._folder)}"
            self._checkpoint.write(os.path.join(partial, name))
            if not self._workers.is_chief:
                return None
            checkpoint_files.put_in_place(partial, self._folder)
            checkpoint_files.clear_away(self._folder, _KEPT)
            return name
        except (OSError, tf.errors.OpError) as error:
            if self._workers.count > 1 and isinstance(error, LOST_WORKER_ERRORS):
                raise
            raise self._make_error(error) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_error(self, error):
        return UserError(
            f"A checkpoint cannot be written to {os.path.abspath(self._folder)}: "
            f"{getattr(error, 'message', error)}. Free some disk, or make the folder "
            "writable, and run the same command again: it resumes from the previous checkpoint."
        )

    def keep_copy(self, folder: str) -> None:
        """Copies the newest checkpoint, the state just scored, to a separate folder.

        The copy replaces the previous copy, and is kept when training deletes its own checkpoints.

        Args:
            folder: that of a `RunDirectory`'s best, selected or source checkpoint.

        Raises:
            UserError: it cannot be written.
        """
        if not self._workers.is_chief:
            return
        try:
            newest = checkpoint_files.list_checkpoints(self._folder)[0]
            checkpoint_files.keep_apart(newest, folder)
        except OSError as error:
            raise UserError(
                f"The newest checkpoint cannot be copied to {os.path.abspath(folder)}: "
                f"{error}. Free some disk, or make the folder writable, and run the same command "
                "again: it resumes with scoring."
            ) from error

    def restore_latest(self) -> str | None:
        """Restores the newest checkpoint that can be read.

        Returns:
            Its path; None if there is no checkpoint.

        Raises:
            UserError: none of the checkpoints can be read, or they are of another model.
        """
        name = self._workers.ask_chief(self._find_latest)
        if name is None:
            return None
        path = os.path.join(self._folder, name)
        self._workers.run_together(lambda: self._restore(path))
        return path

    def _restore(self, path):
        if not os.path.isfile(path + ".index"):
            raise UserError(
                f"There is no {os.path.abspath(path)}, which the chief wrote. --run_dir has to be "
                "one directory that all machines share."
            )
        self._checkpoint.read(path).assert_existing_objects_matched()

    def _find_latest(self):
        """Returns the name of the newest readable checkpoint, or None if there is none."""
        path, shapes, unreadable = checkpoint_files.find_newest(self._folder)
        if path is not None:
            self._check_shapes(path, shapes)
            for bad in unreadable:
                checkpoint_files.set_aside(bad)
            return os.path.basename(path)
        if unreadable:
            raise UserError(
                f"None of the checkpoints in {os.path.abspath(self._folder)} can be read. Put a "
                "copy of them back, or start over with --fresh, which keeps this run under "
                "another name."
            )
        return None

    def list_non_finite(self) -> list[str]:
        """Lists the variables that hold a NaN or an infinity, in any replica.

        Returns:
            Their keys in the checkpoint and, after a colon, their names.
        """
        self._evener.even_out()
        found = [
            (f"{group}/{key}: {variable.name}", tf.reduce_all(tf.math.is_finite(variable)))
            for group, variables in self.variables.items()
            for key, variable in variables.items()
            if variable.dtype.is_floating
        ]
        # One read for all, as each waits for the device.
        finite = tf.stack([is_finite for _, is_finite in found]).numpy()
        return [name for (name, _), is_finite in zip(found, finite) if not is_finite]

    def _check_shapes(self, path, shapes):
        expected = {
            f"{group}/{key}": variable.shape.as_list()
            for group, variables in self.variables.items()
            for key, variable in variables.items()
        }
        differing = sorted(
            name for name in {*expected, *shapes} if expected.get(name) != shapes.get(name)
        )
        if differing:
            raise UserError(
                f"The checkpoint {path} is of another model or optimizer: {len(differing)} of its "
                f"{len(shapes)} variables differ, first {differing[0]}. (One line of Keras cannot "
                "read the other's checkpoints.) Start over with --fresh, or choose another "
                "--run_dir."
            )


def _number_variables(variables):
    return {
        checkpoint_files.number_name(index): compat.as_tf_variable(variable)
        for index, variable in enumerate(variables)
    }
