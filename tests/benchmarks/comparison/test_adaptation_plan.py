"""Plans: equal steps, the oracle's data, and which arms share a source stage."""

import pytest

from benchmarks.comparison import adaptation_arms
from benchmarks.comparison.adaptation_plan import Plan
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from drsl_tf.config.configuration import Configuration
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.training.adapt import adapt


def _list_params(plan):
    """Returns the bindings of a run, with an initial run where the plan needs one."""
    return [*plan.gin_params, *(["INITIAL_RUN = 'runs/source'"] if plan.initial else [])]


def _read(plan):
    configuration = Configuration(plan.gin_files, _list_params(plan))
    configuration.apply(adapt)
    return configuration.bindings


@pytest.mark.parametrize(
    "setup, arm",
    [
        (setup, arm)
        for setup in adaptation_arms.SETUPS
        for arm in adaptation_arms.order_arms(setup)
        if adaptation_arms.is_available(arm)
    ],
)
def test_every_arm_is_a_valid_configuration_of_equal_steps(setup, arm):
    plan = Plan(setup, arm)
    experiment = Experiment(plan.gin_files, _list_params(plan))
    schedule = experiment.get("schedule")
    steps = [schedule.count_steps(r) for r in range(schedule.rounds + 1)]
    before = plan.initial.source_steps if plan.initial else 0
    assert before + sum(steps) == plan.steps == Plan(setup, "drsl").steps
    adapts = adaptation_arms.ARMS[arm].adapts
    assert (sum(steps[1:]) > 0) == adapts
    assert (schedule.rounds > 0) == (adapts or adaptation_arms.ARMS[arm].takes_statistics)


@pytest.mark.parametrize(
    "setup", [s for s in adaptation_arms.SETUPS if "oracle" in adaptation_arms.order_arms(s)]
)
def test_the_oracle_differs_from_source_only_in_its_data_alone(setup):
    oracle, control = (_read(Plan(setup, arm)) for arm in ("oracle", "source_only"))
    differing = {key for key in {*oracle, *control} if oracle.get(key) != control.get(key)}
    data = ("adaptation.", "rendered_root.", "gta5.", "folder.", "SOURCE", "ID_TABLE")
    differing.discard("EXPERIMENT")
    assert differing and all(any(name in key for name in data) for key in differing)
    assert not any("target/" in key or "TARGET" in key for key in differing)


def test_bindings_that_a_method_overrides_are_refused():
    param = "drsl_tf.MultimodalHead.mode_decay = 0.9"
    Plan("streets7", "drsl_p1_features_follow", gin_params=[param])
    with pytest.raises(UserError, match="mode_decay = 0.9.*no effect on drsl_p1, which binds it"):
        Plan("streets7", "drsl_p1", gin_params=[param])


def test_fingerprints_know_arms_apart_and_seeds_not():
    arms = adaptation_arms.order_arms("streets")
    prints = {arm: Plan("streets", arm).fingerprint for arm in arms}
    assert len(set(prints.values())) == len(prints)
    again = Plan("streets", "drsl", gin_params=["SEED = 5"])
    assert again.fingerprint == prints["drsl"]
    other = Plan("streets", "drsl", steps_scale=0.5)
    assert other.fingerprint != prints["drsl"]
    assert other.steps == pytest.approx(Plan("streets", "drsl").steps / 2, abs=3)


def test_source_stages_are_shared_where_only_the_rounds_differ():
    def source(arm, *params):
        return Plan("streets", arm, gin_params=params).source_fingerprint

    drsl = source("drsl")
    assert drsl == source("drsl", "SMA_WEIGHT = 0.7")
    assert drsl == source("drsl", "ROUNDS = 5", "ADAPTATION_RATE = 0.1")
    assert drsl == source("drsl", 'drsl_tf.PseudoLabeler.rule = "ratio"')
    assert drsl == source("drsl_frozen")
    assert source("teacher") == source("teacher_same_view") != source("teacher_mic")
    # Without a term of the loss the older Keras has two variables less in its checkpoint.
    assert drsl != source("dml")
    for arm in ("cbst", "drsl_k1", "teacher_drsl"):
        assert drsl != source(arm)
    for param in (
        "DML_WEIGHT = 0.5",
        "SOURCE_RATE = 0.1",
        "SOURCE_STEPS = 7",
        "drsl_tf.MultimodalHead.embedding_dim = 32",
        'drsl_tf.SelfTraining.selection = "label_free"',
    ):
        assert drsl != source("drsl", param)


def test_one_run_is_scored_by_its_last_and_by_its_selected_model():
    plans = [Plan("streets", arm) for arm in ("teacher_mic", "selected")]
    assert plans[0].make_arguments(3, "there") == plans[1].make_arguments(3, "there")
    assert plans[0].run_name == plans[1].run_name
    assert plans[0].fingerprint != plans[1].fingerprint
    assert [plan.scores_selected for plan in plans] == [False, True]
    # Records of last models hold whether the run selects one or not.
    selects = Plan("streets", "drsl", gin_params=['drsl_tf.SelfTraining.selection = "label_free"'])
    drsl = Plan("streets", "drsl")
    assert selects.fingerprint == drsl.fingerprint and selects.run_name != drsl.run_name
    assert drsl.run_name == f"drsl_{drsl.fingerprint}"


def test_controls_share_a_source_stage_of_all_steps():
    def plan(arm, *params):
        return Plan("streets", arm, gin_params=params)

    control = plan("source_only").source_fingerprint
    arms = ("target_statistics", "target_statistics_prior", "target_statistics_prior_1000")
    for arm in arms:
        assert plan(arm).source_fingerprint == control
        arguments = plan(arm).make_arguments(0, "there", rounds=False)
        stage = Experiment(
            [a.removeprefix("--gin_file=") for a in arguments if a.startswith("--gin_file=")],
            [a.removeprefix("--gin_param=") for a in arguments if a.startswith("--gin_param=")],
        ).get("schedule")
        assert (stage.rounds, stage.source_steps) == (0, plan(arm).steps)
    # The macro that scales the rounds sets the control's steps too.
    assert plan("source_only", "STEPS_PER_ROUND = 7").source_fingerprint != control
    assert plan("oracle").source_fingerprint != control


@pytest.mark.parametrize("setup", ["streets7", "simtown7_kitti7"])
def test_hidden_classes_are_those_of_the_categories(setup):
    """Every stored id has the category of its hidden class, and is ignored with it."""
    plan = Plan(setup, "drsl")
    hidden = adaptation_arms.find_setup(setup).hidden_params
    tables = []
    for params in (plan.gin_params, [*plan.gin_params, *hidden]):
        experiment = Experiment(plan.gin_files, params)
        tables.append((experiment.label_space, experiment.id_table))
    (categories, to_category), (classes, to_class) = tables
    assert (categories, classes) == (label_spaces.cityscapes7(), label_spaces.cityscapes19())
    assert set(to_class.values()) == {*range(19), 255}
    table = label_spaces.convert(classes, categories)
    assert to_category == label_spaces.compose(to_class, table)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="streets2camvid"):
        adaptation_arms.find_setup("street")
    for arm in ("drls", "cbst_target_bn"):
        with pytest.raises(UserError, match="on streets there are source_only"):
            adaptation_arms.order_arms("streets", (arm,))


def test_core_arms_come_first():
    names = adaptation_arms.order_arms("streets", ("dml", "oracle", "cbst"))
    assert names == ("cbst", "oracle", "dml")


def test_a_method_without_source_starts_from_the_source_stage_of_another():
    plan, cbst = Plan("streets", "source_free"), Plan("streets", "cbst")
    assert plan.initial is not None
    assert plan.initial.source_fingerprint == cbst.source_fingerprint
    assert plan.steps == cbst.steps
    assert _read(plan)["SOURCE_STEPS"] == "0"
    arguments = plan.make_arguments(2, "there", initial_run="runs/source")
    assert "--gin_param=INITIAL_RUN = 'runs/source'" in arguments
    # A scaled plan keeps its 0 steps.
    scaled = Plan("streets", "source_free", steps_scale=0.01)
    assert scaled.initial is not None and scaled.source_steps == 0
    assert scaled.steps == Plan("streets", "cbst", steps_scale=0.01).steps
