"""Pipelines without autotuning, whose iterators end at once."""

import tensorflow as tf

from data_pipelines.batches.parallelism import fix_parallelism


def test_a_pipeline_keeps_its_elements_and_other_options():
    options = tf.data.Options()
    options.threading.private_threadpool_size = 3
    fixed = fix_parallelism(tf.data.Dataset.range(4).with_options(options))
    assert list(fixed.as_numpy_iterator()) == [0, 1, 2, 3]
    assert fixed.options().autotune.enabled is False
    assert fixed.options().threading.private_threadpool_size == 3
