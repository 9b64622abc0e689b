"""Plans: equal steps, the oracle's data, and which arms share a source stage."""

import ast

import pytest

from benchmarks import adaptation_arms
from benchmarks.adaptation_plan import Plan
from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration
from drsl_tf.training.adapt import adapt


def _make(setup, arm, tmp_path, **kwargs):
    return Plan(setup, arm, oracle_folder=str(tmp_path), **kwargs)


def _read(plan):
    return Configuration(plan.gin_files, plan.gin_params).bindings


@pytest.mark.parametrize(
    "setup, arm",
    [
        (setup, arm)
        for setup in adaptation_arms.SETUPS
        for arm in adaptation_arms.order_arms(setup)
        if adaptation_arms.is_available(arm)
    ],
)
def test_every_arm_is_a_valid_configuration_of_equal_steps(setup, arm, tmp_path):
    plan = _make(setup, arm, tmp_path)
    Configuration(plan.gin_files, plan.gin_params).apply(adapt)
    names = ("SOURCE_STEPS", "ROUNDS", "STEPS_PER_ROUND")
    macros = {name: ast.literal_eval(_read(plan)[name]) for name in names}
    steps = macros["SOURCE_STEPS"] + macros["ROUNDS"] * macros["STEPS_PER_ROUND"]
    assert steps == plan.steps == _make(setup, "drsl", tmp_path).steps
    adapts = adaptation_arms.ARMS[arm].adapts
    assert (macros["ROUNDS"] * macros["STEPS_PER_ROUND"] > 0) == adapts
    assert (macros["ROUNDS"] > 0) == (adapts or adaptation_arms.ARMS[arm].takes_statistics)


@pytest.mark.parametrize("setup", adaptation_arms.SETUPS)
def test_the_oracle_differs_from_source_only_in_its_data_alone(setup, tmp_path):
    oracle, control = (_read(_make(setup, arm, tmp_path)) for arm in ("oracle", "source_only"))
    names = adaptation_arms.SETUPS[setup].source_names
    differing = {key for key in {*oracle, *control} if oracle.get(key) != control.get(key)}
    left = {key for key in differing if not f"{key}.".startswith(tuple(f"{n}." for n in names))}
    assert left == {"adaptation.AdaptationData.source", "EXPERIMENT"}
    data = "adaptation.AdaptationData"
    assert oracle[f"{data}.source"] == oracle[f"{data}.target"]
    assert oracle[f"{data}.source_augmenter"] == oracle[f"{data}.target_augmenter"]


def test_fingerprints_know_arms_apart_and_seeds_not(tmp_path):
    arms = adaptation_arms.order_arms("streets")
    prints = {arm: _make("streets", arm, tmp_path).fingerprint for arm in arms}
    assert len(set(prints.values())) == len(prints)
    again = _make("streets", "drsl", tmp_path, gin_params=["drsl_tf.RunSettings.seed = 5"])
    assert again.fingerprint == prints["drsl"]
    other = _make("streets", "drsl", tmp_path, steps_scale=0.5)
    assert other.fingerprint != prints["drsl"]
    assert other.steps == pytest.approx(_make("streets", "drsl", tmp_path).steps / 2, abs=3)


def test_source_stages_are_shared_where_only_the_rounds_differ(tmp_path):
    def source(arm, *params):
        return _make("streets", arm, tmp_path, gin_params=params).source_fingerprint

    drsl = source("drsl")
    assert drsl == source("drsl", "drsl_tf.DrslModel.sma_weight = 0.7")
    assert drsl == source("drsl", "ROUNDS = 5", "ADAPTATION_RATE = 0.1")
    assert drsl == source("drsl", 'drsl_tf.PseudoLabeler.rule = "ratio"')
    assert drsl == source("drsl_frozen")
    # Without a term of the loss the older Keras has two variables less in its checkpoint.
    assert drsl != source("dml")
    for arm in ("cbst", "drsl_k1", "ema_drsl"):
        assert drsl != source(arm)
    for param in (
        "drsl_tf.DrslModel.dml_weight = 0.5",
        "SOURCE_RATE = 0.1",
        "SOURCE_STEPS = 7",
        "drsl_tf.MultimodalHead.embedding_dim = 32",
    ):
        assert drsl != source("drsl", param)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="streets2camvid"):
        adaptation_arms.find_setup("street")
    for arm in ("drls", "cbst_target_bn"):
        with pytest.raises(UserError, match="on streets there are source_only"):
            adaptation_arms.order_arms("streets", (arm,))


def test_core_arms_come_first():
    names = adaptation_arms.order_arms("streets", ("dml", "oracle", "cbst"))
    assert names == ("cbst", "oracle", "dml")
