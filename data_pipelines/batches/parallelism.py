"""How many images a pipeline reads at a time."""

from __future__ import annotations

import os

import tensorflow as tf

PARALLEL_CALLS = os.cpu_count() or 1
"""Images that a pipeline reads and prepares in parallel: one a core."""


def fix_parallelism(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Switches off the autotuning of a pipeline.

    Its thread is often not woken when the iterator is deleted, which then waits for the thread's
    next period: as long as the iterator has run, up to a minute (seen on TensorFlow 2.15 and 2.21).

    Args:
        dataset: has no operator of which the parallelism is `tf.data.AUTOTUNE`.

    Returns:
        The same elements.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
