"""Where the work runs: one device, several devices, or several machines."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from data_pipelines.errors import UserError


def create_strategy() -> tf.distribute.Strategy:
    """Creates the strategy that fits this process.

    `TF_CONFIG` with several workers gives a `MultiWorkerMirroredStrategy`; otherwise a
    `MirroredStrategy` over all GPUs or, without any, over all logical CPU devices.

    Returns:
        The strategy.

    Raises:
        UserError: when TF_CONFIG is not valid JSON.
    """
    if len(_read_cluster()["workers"]) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.distribute.MirroredStrategy([device.name for device in gpus])
    cpus = tf.config.list_logical_devices("CPU")
    # Collective kernels of different group sizes cannot live in one CPU process, reduction on
    # one device can.
    return tf.distribute.MirroredStrategy(
        [device.name for device in cpus],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def read_task_index() -> int:
    """Reads from TF_CONFIG which of the job's processes this is; no strategy is needed.

    Returns:
        0 on one machine and on the chief, which writes the files.

    Raises:
        UserError: when TF_CONFIG is not valid.
    """
    cluster = _read_cluster()
    return cluster["index"] if len(cluster["workers"]) > 1 else 0


def get_worker_index(strategy: tf.distribute.Strategy) -> int:
    """Tells which of the job's processes this is.

    Args:
        strategy: any strategy.

    Returns:
        0 on one machine, the task id on several.
    """
    resolver = strategy.cluster_resolver
    return 0 if resolver is None or resolver.task_id is None else int(resolver.task_id)


def _read_cluster():
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        workers = list(config.get("cluster", {}).get("worker", []))
        return {"workers": workers, "index": int(config.get("task", {}).get("index", 0))}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"The environment variable TF_CONFIG is not a JSON object of a cluster ({error}). "
            "Unset it to train on one machine."
        ) from error
