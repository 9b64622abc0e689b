"""What several processes have to agree on, without training; every one runs this.

Called with a folder that holds a rendered target, `camera`; writes INDEX.json there.
"""

import json
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.domains.cityscapes import Cityscapes
from data_pipelines.domains.domain import Pair
from data_pipelines.errors import UserError
from drsl_tf import compat
from drsl_tf.distribution.replicated import Evener
from drsl_tf.distribution.strategy import create_strategy
from drsl_tf.distribution.workers import Workers
from drsl_tf.evaluation.evaluator import Evaluator
from drsl_tf.models.inference import Inference
from drsl_tf.runs.checkpoint_store import CheckpointStore
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.training.loop import Stage
from drsl_tf.training.loop import TrainingLoop
from drsl_tf.training.preemption import Preemption
from tests.support import toys


def label_and_score(strategy, camera, directory):
    """Labels and scores the target by a model that is the same everywhere."""
    target = Cityscapes(root=camera)
    with strategy.scope():
        model = toys.make_model(num_classes=target.label_space.num_classes)
    _, report = PseudoLabeler(portion=0.3).generate(
        model,
        strategy,
        target,
        target.list_pairs("train"),
        round_index=1,
        directory=directory,
        inference=Inference(batch_size=2),
    )
    shown = []
    confusion = Evaluator(model, strategy, Inference(batch_size=2)).evaluate(
        target,
        target.list_pairs("val"),
        on_prediction=lambda pair, prediction: shown.append([pair.name, int(prediction.sum())]),
    )
    return {"report": report.as_json(), "confusion": confusion.matrix.tolist(), "shown": shown}


def _catch(function):
    try:
        function()
    except UserError as error:
        return str(error)
    return None


def _agree(workers):
    """Tries what `Workers` offers."""

    def fail_on(index):
        if workers.index == index:
            raise UserError("the disk is full")
        return workers.index

    items = list("abcde")
    return {
        "index": workers.index,
        "count": workers.count,
        "share": workers.share(items),
        "empty_share": workers.share(items[:1]),
        "sum": workers.sum(np.array([2**53 + 1 + workers.index, 3])).tolist(),
        "asked": workers.ask_chief(lambda: {"index": workers.index}),
        "together": workers.run_together(lambda: fail_on(None)),
        "chief_failed": _catch(lambda: workers.ask_chief(lambda: fail_on(0))),
        "one_failed": _catch(lambda: workers.run_together(lambda: fail_on(1))),
        "differ": _catch(
            lambda: workers.check_equal({"seed": 1, "the source's images": workers.index})
        ),
        "equal": _catch(lambda: workers.check_equal({"seed": 1})),
    }


def _even_out(strategy, workers):
    with strategy.scope():
        norm = keras.layers.BatchNormalization()
        norm.build((None, None, None, 2))
    mean, variance = [compat.as_tf_variable(v) for v in norm.non_trainable_variables]
    strategy.run(lambda: mean.assign([workers.index * 2.0, 0.1]))
    Evener([mean, variance], strategy).even_out()
    return [v.numpy().tolist() for v in strategy.experimental_local_results(mean)]


def _keep(strategy, workers, folder):
    """Saves and restores; only the chief leaves files."""
    with strategy.scope():
        model = toys.make_model()
        toys.compile_model(model, keras.optimizers.SGD(0.1))
    kernel = compat.as_tf_variable(model.trainable_variables[0])
    step = tf.Variable(3 + workers.index, dtype=tf.int64)
    store = CheckpointStore(folder, model, model.optimizer, {"step": step}, strategy=strategy)
    saved = store.save()
    value = kernel.numpy()
    kernel.assign(value + 1.0)
    restored = store.restore_latest()
    return {
        "saved": os.path.basename(saved),
        "restored": os.path.basename(restored),
        "step": int(step),
        "same": bool(np.array_equal(kernel.numpy(), value)),
        "files": sorted(os.listdir(os.path.join(folder, "checkpoints"))),
    }


class _Idle:
    """Runs steps that change nothing and count the images of the global batch."""

    loss_metrics = ()
    stop_training = False
    optimizer = None

    def train_step(self, data):
        count = tf.cast(tf.shape(data["source"]["image"])[0], tf.float32)
        context = tf.distribute.get_replica_context()
        return {"loss": context.all_reduce(tf.distribute.ReduceOp.SUM, count)}


def _stop_together(strategy, workers):
    """One process is asked to stop after its third step; gives what the loop tells of each."""
    pairs = [Pair(str(index), "image", "label") for index in range(4)]
    stream = training_batches.Stream(
        pairs=pairs,
        read_image=lambda path: np.zeros((8, 8, 3), np.uint8),
        read_label=lambda path: np.zeros((8, 8), np.uint8),
        augmenter=Augmenter(size=(8, 8)),
        batch_size=2,
    )
    told = []
    preemption = Preemption()
    loop = TrainingLoop(_Idle(), strategy, [], preemption=preemption, seed=0)
    for progress in loop.train(Stage(0, 9, stream, None), 0, every=1):
        told.append([progress.step, progress.preempted])
        preemption.requested = workers.index == workers.count - 1 and len(told) >= 3
    return told


def main(folder):
    """Writes what this process found; at last the chief alone is left."""
    strategy = create_strategy()
    # Until training begins SIGTERM ends the process at once.
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    workers = Workers(strategy)
    with workers.raise_if_worker_lost():
        found = {
            **_agree(workers),
            "told": _stop_together(strategy, workers),
            "evened": _even_out(strategy, workers),
            "checkpoint": _keep(strategy, workers, folder),
            **label_and_score(
                strategy, os.path.join(folder, "camera"), os.path.join(folder, "labels")
            ),
        }
    with open(os.path.join(folder, f"{workers.index}.json"), "w", encoding="utf-8") as file:
        json.dump(found, file)
    with workers.raise_if_worker_lost():
        workers.sum(np.zeros(1))
        if not workers.is_chief:
            os.kill(os.getpid(), signal.SIGKILL)
        workers.sum(np.zeros(1))


if __name__ == "__main__":
    main(sys.argv[1])
