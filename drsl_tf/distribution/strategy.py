"""Distribution strategies for one device, several devices or several machines."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import NamedTuple

import tensorflow as tf

from data_pipelines.errors import UserError


def create_strategy() -> tf.distribute.Strategy:
    """Creates the strategy of this process.

    With several workers in `TF_CONFIG` it is a `MultiWorkerMirroredStrategy`, otherwise that of
    `create_local_strategy`.

    Returns:
        The strategy.

    Raises:
        UserError: TF_CONFIG is invalid, or this worker's address in it cannot be used.
    """
    cluster = _read_cluster()
    if len(cluster.addresses) > 1:
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            raise UserError(
                f"TF_CONFIG names {cluster.addresses[cluster.task_index]} as this worker's address "
                f"and it cannot serve there: {error.message} Choose a free port of this machine."
            ) from error
        if threading.current_thread() is threading.main_thread():
            # TensorFlow now handles SIGTERM, for a service that is not used here. Until training
            # begins a process may wait for others, where no handler of Python's runs.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return strategy
    return create_local_strategy()


def create_local_strategy() -> tf.distribute.Strategy:
    """Creates the strategy of this process's own devices, independent of `TF_CONFIG`.

    Returns:
        A `MirroredStrategy` over all GPUs or, without any, over all logical CPU devices.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    cpus = tf.config.list_logical_devices("CPU")
    # Collective kernels of different group sizes cannot be in one CPU process, reduction on one
    # device can.
    return tf.distribute.MirroredStrategy(
        [device.name for device in cpus],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def read_task_index() -> int:
    """Reads this process's index in the job from TF_CONFIG, without a strategy.

    Returns:
        0 on one machine and on the chief, which writes the files.

    Raises:
        UserError: TF_CONFIG is invalid.
    """
    return _read_cluster().task_index


def count_processes() -> int:
    """Counts the processes of this job from TF_CONFIG, without a strategy.

    Raises:
        UserError: TF_CONFIG is invalid.
    """
    return max(1, len(_read_cluster().addresses))


class _Cluster(NamedTuple):
    addresses: list[str]
    task_index: int


def _read_cluster() -> _Cluster:
    """Reads TF_CONFIG: every process's address, the chief's first, and this process's index."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        return _Cluster([], 0)
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        addresses = [*cluster.get("chief", []), *cluster.get("worker", [])]
        if not addresses:
            return _Cluster([], 0)
        kind, index = config["task"]["type"], int(config["task"]["index"])
        if kind not in ("chief", "worker") or not 0 <= index < len(cluster.get(kind, [])):
            raise ValueError(f"the cluster has no {kind!r} of index {index}")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            f"The environment variable TF_CONFIG does not describe a cluster ({error!r}). It is "
            '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}; '
            "unset it to train on one machine."
        ) from error
    return _Cluster(addresses, index + (len(cluster.get("chief", [])) if kind == "worker" else 0))
