"""Several logical CPU devices, in a process of their own: devices are set up only once."""

import numpy as np
import tensorflow as tf

from drsl_tf.distribution.strategy import create_strategy


def make_strategies(count):
    """Splits the CPU, before TensorFlow does anything else; gives one replica, and all."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, devices)
    one = tf.distribute.MirroredStrategy(
        ["CPU:0"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    many = create_strategy()
    assert (one.num_replicas_in_sync, many.num_replicas_in_sync) == (1, count)
    return one, many


def find_largest_difference(arrays, others):
    """Returns the largest absolute difference; both are lists of arrays."""
    assert len(arrays) == len(others)
    return max(float(np.abs(a - b).max()) for a, b in zip(arrays, others))
