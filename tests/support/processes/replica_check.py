"""Compares several replicas with one: gradients and logs here, and what the other checks do."""

import keras

from tests.support import replicas
from tests.support import toys
from tests.support.processes import fit_check
from tests.support.processes import gradient_update_check
from tests.support.processes import modes_check
from tests.support.processes import online_model_check
from tests.support.processes import run_check
from tests.support.processes import statistics_check


def _step(strategy, batch):
    with strategy.scope():
        # Mode alignment draws per replica, so it is off; so is batch normalisation's training.
        model = toys.make_model(batch_norm_training=False, sma_weight=0.0)
        toys.compile_model(model, keras.optimizers.SGD(1.0))
    before = [variable.numpy() for variable in model.trainable_variables]
    toys.run_steps(strategy, model, batch, 1)
    gradients = [old - variable.numpy() for old, variable in zip(before, model.trainable_variables)]
    return gradients, {metric.name: float(metric.result()) for metric in model.metrics}


def check(one, many):
    """Compares the gradients and losses of one step."""
    batch = toys.make_uneven_batch()
    whole, whole_logs = _step(one, batch)
    shared, shared_logs = _step(many, batch)
    largest = replicas.find_largest_difference(whole, shared)
    assert max(abs(a).max() for a in whole) > 1e-2
    assert largest <= 1e-5, largest
    for name, value in whole_logs.items():
        assert abs(value - shared_logs[name]) < 1e-5, (name, value, shared_logs[name])
    print(f"gradients: largest difference {largest:.2e}")


def main(count):
    """Runs every check on so many devices; prints differences, fails where one is too large."""
    one, many = replicas.make_strategies(count)
    modules = (
        fit_check,
        gradient_update_check,
        modes_check,
        online_model_check,
        statistics_check,
        run_check,
    )
    for compare in (check, *(module.check for module in modules)):
        compare(one, many)
    print(f"done on {count} devices")
