"""The recipes of the paper's setting: complete in every combination, right in their values."""

import itertools
import os
import re

import keras
import numpy as np
import pytest

from data_pipelines.batches import class_statistics
from data_pipelines.domains.domain import Domain
from data_pipelines.errors import UserError
from drsl_tf import common
from drsl_tf.config.configuration import Configuration
from drsl_tf.experiments.experiment import Experiment
from drsl_tf.monitoring.callbacks import Monitoring
from drsl_tf.optimization.kernel_adamw import KernelAdamW
from drsl_tf.optimization.stage_schedule import StageSchedule
from drsl_tf.training.adapt import adapt
from tests.support import streets

_PAIRS = ("gta2cs", "synthia2cs")
_NAMES = [name.format(pair) for pair in _PAIRS for name in ("{}", "crst_{}", "{}_source_only")]
_NETWORKS = {
    "deeplab_v2": [],
    "deeplab_v3plus": ["models/deeplab_v3plus_resnet101.gin"],
    "fcn8s": ["models/fcn8s_vgg16.gin"],
    "segformer_b0": ["models/segformer_mit_b5.gin", "models/segformer_mit_b0.gin"],
    "segformer_b5": ["models/segformer_mit_b5.gin"],
}
_FLAGS = ("--gin_file", "--gin_param")
_MEMORY = [[], *([f"recipes/memory_{size}gb.gin"] for size in (11, 24, 80))]
_SAMPLING = [[], ["recipes/rare_classes.gin"]]
_TEACHER = ["recipes/mean_teacher.gin"]


def _read(files, params=()):
    """Reads a configuration as the training command does; gives what is bound in the end."""
    configuration = Configuration(files, params)
    configuration.apply(adapt)
    return configuration.bindings


def _list_combinations(name):
    """All of them for the first experiment; each network with nothing and with all for others."""
    memory = _MEMORY if name == _NAMES[0] else _MEMORY[::2]
    for network in _NETWORKS.values():
        for parts in itertools.product(memory, _SAMPLING):
            yield [f"{name}.gin", *network, *parts[0], *parts[1]]
        yield [f"{name}.gin", *network, *_TEACHER, *memory[-1]]


@pytest.mark.parametrize("name", _NAMES)
def test_every_combination_is_complete(name):
    """Each is refused if a binding of a part that is not there were left over."""
    for files in _list_combinations(name):
        bindings = _read(files)
        networks = [
            key for key in bindings if key.endswith(("resnet101.weights", ".vgg16.weights"))
        ]
        expected = "segformer" not in "".join(files)
        assert len(networks) == expected, files
        has_modes = any(key.startswith("drsl_tf.MultimodalHead.") for key in bindings)
        assert has_modes == (name in _PAIRS), files
        assert ("mean_teacher" in "".join(files)) == any(
            "OnlineDrslModel" in key for key in bindings
        )


_BEYOND = [f"{recipe}_{pair}" for recipe in ("daformer", "mic") for pair in _PAIRS]
_DRSL = "drsl_tf.build_model.multimodal_head = @drsl_tf.MultimodalHead"


@pytest.mark.parametrize("name", _BEYOND)
def test_every_memory_preset_fits_what_is_beyond_the_paper(name):
    for network, memory in itertools.product(([], ["models/segformer_mit_b0.gin"]), _MEMORY):
        bindings = _read([f"{name}.gin", *network, *memory])
        assert bindings["drsl_tf.build_model.model"] == "@drsl_tf.OnlineDrslModel"
        assert ("drsl_tf.OnlineDrslModel.mask_weight" in bindings) == name.startswith("mic")
    with_drsl = _read([f"{name}.gin"], [_DRSL])
    assert with_drsl["drsl_tf.MultimodalHead.modes_per_class"] == "3"


def test_a_foundation_model_changes_the_network_of_mic_alone():
    mic, vfm = (_read([f"{name}_gta2cs.gin"]) for name in ("mic", "vfm"))
    own = ("EXPERIMENT", "VARIANT", "WEIGHTS", "drsl_tf.build_model.base", "drsl_tf.backbones.")
    differing = {key for key in {*mic, *vfm} if mic.get(key) != vfm.get(key)}
    # These two are MIC's values, and the defaults.
    differing -= {"drsl_tf.OnlineDrslModel.mask_ratio", "drsl_tf.OnlineDrslModel.mask_block"}
    layers = {key for key in differing if not key.startswith(own)}
    assert layers == {"drsl_tf.GradientUpdate.layer_decay"}
    for memory in _MEMORY[1:]:
        assert _read(["vfm_gta2cs.gin", *memory])["drsl_tf.OnlineDrslModel.mask_weight"] == "1.0"


def test_a_foundation_model_is_built_and_trains_by_layer():
    pytest.importorskip("keras_hub", reason="KerasHub needs the newer line and the extra vfm")
    tiny = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64}
    params = ["WEIGHTS = None", f"drsl_tf.backbones.dinov3.arguments = {tiny}", _DRSL]
    experiment = Experiment(["vfm_gta2cs.gin"], params)
    model = experiment.build_model()
    assert (model.logits_stride, model.embedding_stride) == (4, 8)
    learner = experiment.get("learner")
    model.compile(learner.optimizer(), gradient_update=learner.gradient_update, jit_compile=False)
    assert set(learner.gradient_update.copies) == {
        *(f"depth{depth}_optimizer" for depth in (1, 2, 3)),
        "head_optimizer",
    }


@pytest.mark.parametrize("files", [[], ["recipes/mean_teacher.gin"]])
def test_the_seed_reaches_the_run_the_modes_and_the_draws_of_the_model(files):
    modes = []
    for seed in (1, 1, 2):
        experiment = Experiment(["demo.gin", *files], ["WEIGHTS = None", f"SEED = {seed}", _DRSL])
        model = experiment.build_model()
        assert experiment.get("settings").seed == model.get_config()["seed"] == seed
        modes.append(np.array(model.multimodal_head.modes))
    np.testing.assert_array_equal(modes[0], modes[1])
    assert np.abs(modes[0] - modes[2]).max() > 0.01


@pytest.mark.parametrize("model", ["DrslModel", "OnlineDrslModel"])
def test_modes_from_data_are_complete_with_the_lines_that_they_offer(model):
    recipe = "recipes/modes_from_data.gin"
    files = ["gta2cs.gin", *(_TEACHER if model == "OnlineDrslModel" else []), recipe]
    bindings = _read(files)
    assert bindings["drsl_tf.Learner.mode_start"] == "@drsl_tf.ModeStart()"
    with open(f"gin_configs/{recipe}", encoding="utf-8") as file:
        lines = re.findall(r"^# (drsl_tf\.\S+ = .*)", file.read(), flags=re.MULTILINE)
    assert len(lines) == 2
    more = _read(files, [line.replace("DrslModel", model) for line in lines])
    assert set(more) - set(bindings) == {
        f"drsl_tf.{model}.sibling_weight",
        f"drsl_tf.{model}.sibling_steps",
    }


def test_presets_change_memory_alone():
    for name in ("gta2cs", "daformer_synthia2cs"):
        plain = _read([f"{name}.gin"])
        for memory in _MEMORY[1:]:
            bindings = _read([f"{name}.gin", *memory])
            differing = {key for key in bindings if bindings[key] != plain.get(key)}
            assert plain.keys() <= bindings.keys()
            assert differing <= {
                "drsl_tf.RunSettings.precision",
                "drsl_tf.Inference.batch_size",
                "drsl_tf.GradientUpdate.micro_batches",
            }


def test_controls_take_as_many_steps_with_every_network():
    for name in _PAIRS:
        for network in _NETWORKS.values():
            run, crst, control = (
                _read([f"{kind}.gin", *network])
                for kind in (name, f"crst_{name}", f"{name}_source_only")
            )
            own = {"EXPERIMENT", "POSTERIOR_WEIGHT", "drsl_tf.build_model.multimodal_head"}
            assert {key for key in crst if crst[key] != run[key]} == own
            assert {key for key in control if control[key] != crst.get(key)} == {
                "EXPERIMENT",
                "drsl_tf.Schedule.source_steps",
                "drsl_tf.Schedule.rounds",
                "drsl_tf.StageSchedule.source_steps",
                *(key for key in control if "count_all_steps." in key),
            }
        schedule = Experiment([f"{name}_source_only.gin"]).get("schedule")
        assert schedule.rounds == 0
        assert schedule.source_steps == 100000 + 3 * 5950


def _make_schedule(optimizer):
    return StageSchedule(**optimizer.get_config()["learning_rate"]["config"])


# (files, optimizer, {step: learning rate}), by the recipes in docs/recipes.md.
_RATES = {
    "sgd": (
        ["gta2cs.gin"],
        keras.optimizers.SGD,
        {0: 2.5e-4, 50000: 2.5e-4 * 0.5**0.9, 100000: 5e-5, 105949: 5e-5, 120000: 5e-5},
    ),
    "adam": (
        ["gta2cs.gin", "models/fcn8s_vgg16.gin"],
        keras.optimizers.Adam,
        {0: 1e-5, 49999: 1e-5, 50000: 1e-6, 99999: 1e-6, 100000: 2e-6, 120000: 2e-6},
    ),
    "adamw": (
        ["synthia2cs.gin", "models/segformer_mit_b5.gin"],
        KernelAdamW,
        {0: 6e-5 / 1500, 749: 3e-5 * (1 - 749 / 100000), 50000: 3e-5, 100000: 1.2e-5},
    ),
    "online": (
        ["daformer_gta2cs.gin"],
        KernelAdamW,
        {0: 6e-5 / 1500, 1499: 6e-5 * (1 - 1499 / 40000), 20000: 3e-5, 39999: 6e-5 / 40000},
    ),
}


@pytest.mark.parametrize("name", _RATES)
def test_optimizers_and_their_rates(name):
    files, kind, rates = _RATES[name]
    optimizer = Experiment(files).get("learner").optimizer()
    assert type(optimizer) is kind
    schedule = _make_schedule(optimizer)
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=2e-3), step
    config = optimizer.get_config()
    if name == "sgd":
        assert config["momentum"] == 0.9
    elif name != "adam":
        assert config["weight_decay"] == 0.01


@pytest.mark.parametrize(
    "files, decay, factor, parts",
    [
        (["gta2cs.gin"], "0.0005", "10.0", "1"),
        (
            ["synthia2cs.gin", *_NETWORKS["deeplab_v3plus"], *_MEMORY[3]],
            "0.0005",
            "10.0",
            "1",
        ),
        (["gta2cs.gin", *_NETWORKS["fcn8s"], *_MEMORY[1]], "0.0", "1.0", "%SOURCE_BATCH"),
        (
            ["gta2cs.gin", *_NETWORKS["segformer_b5"], *_MEMORY[2]],
            "0.0",
            "10.0",
            "%SOURCE_BATCH",
        ),
    ],
)
def test_gradient_updates(files, decay, factor, parts):
    bindings = _read(files)
    prefix = "drsl_tf.GradientUpdate."
    found = [
        bindings.get(prefix + key, "1")
        for key in ("weight_decay", "head_rate_factor", "micro_batches")
    ]
    assert found == [decay, factor, parts]
    batch = 3
    update = Experiment(files, [f"SOURCE_BATCH = {batch}"]).get("learner").gradient_update
    assert update.micro_batches == (batch if parts.startswith("%") else 1)


def test_streams_of_the_full_size():
    data = Experiment(["gta2cs.gin", *_SAMPLING[1]]).get("data")
    with pytest.raises(UserError, match="target_sampler"):
        data.make_unlabelled_target_stream()
    data = Experiment(["daformer_gta2cs.gin"]).get("data")
    target = data.make_unlabelled_target_stream()
    assert target.augmenter.size == (512, 512) and target.batch_size == 2


# (experiment without modes, further files and parameters, stride of the logits)
_MODELS = {
    "deeplab_v2": ("gta2cs", [], ["drsl_tf.backbones.resnet101.freeze_batch_norm = False"], 8),
    "deeplab_v3plus": ("synthia2cs", _NETWORKS["deeplab_v3plus"], [], 4),
    # Narrow: fc6 alone would have 103 million weights.
    "fcn8s": ("gta2cs", _NETWORKS["fcn8s"], ["drsl_tf.backbones.vgg16.fc_units = 8"], 8),
    "segformer_b0": ("synthia2cs", _NETWORKS["segformer_b0"], [], 4),
    "segformer_b5": ("gta2cs", _NETWORKS["segformer_b5"], [], 4),
}


_SMALL = ("fcn8s", "segformer_b0")


def _list_models():
    for name in _MODELS:
        # Without modes the large ones are no different: test_whole_networks has their heads.
        for with_modes in (True, False) if name in _SMALL else (True,):
            slow = name == "segformer_b5"
            yield pytest.param(name, with_modes, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("name, with_modes", _list_models())
def test_every_network_is_built_with_either_head(name, with_modes):
    setting, files, params, stride = _MODELS[name]
    experiment = setting if with_modes else f"crst_{setting}"
    model = Experiment([f"{experiment}.gin", *files], ["WEIGHTS = None", *params]).build_model()
    classes = 19 if setting == "gta2cs" else 16
    outputs = model(np.full((1, 64, 128, 3), 100.0, "float32"))
    assert tuple(outputs[common.LOGITS].shape) == (1, 64 // stride, 128 // stride, classes)
    assert model.logits_stride == stride
    assert (common.EMBEDDING in outputs) == with_modes
    if with_modes:
        step = 16 if name == "deeplab_v3plus" else 8
        assert tuple(outputs[common.EMBEDDING].shape) == (1, 64 // step, 128 // step, 64)
        assert tuple(model.multimodal_head.modes.shape) == (classes, 3, 64)
    frozen = [
        layer
        for part in model.base.layers
        for layer in getattr(part, "layers", [])
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable
    ]
    assert len(frozen) == (104 if name == "deeplab_v3plus" else 0)


@pytest.mark.parametrize(
    "network, factory",
    [("deeplab_v2", "ResNet101"), ("deeplab_v3plus", "ResNet101"), ("fcn8s", "VGG16")],
)
def test_a_download_that_fails_ends_in_the_mend(monkeypatch, network, factory):
    original = getattr(keras.applications, factory)

    def build(weights=None, **arguments):
        if weights == "imagenet":
            raise Exception("URL fetch failure")
        return original(weights=weights, **arguments)

    monkeypatch.setattr(keras.applications, factory, build)
    params = ["drsl_tf.backbones.vgg16.fc_units = 8"] if network == "fcn8s" else []
    experiment = Experiment(["gta2cs.gin", *_NETWORKS[network]], params)
    with pytest.raises(UserError, match="cannot be fetched.*give its path.*weights=None"):
        experiment.build_model()


@pytest.mark.parametrize("network", ["fcn8s", "segformer_b0", "segformer_b5"])
def test_a_missing_weight_file_is_named(network):
    params = ["WEIGHTS = 'nowhere/weights.h5'"]
    params += ["drsl_tf.backbones.vgg16.fc_units = 8"] if network == "fcn8s" else []
    experiment = Experiment(["gta2cs.gin", *_NETWORKS[network]], params)
    with pytest.raises(UserError, match="nowhere/weights.h5.*does not exist"):
        experiment.build_model()


def test_segformer_says_how_its_weights_are_made():
    experiment = Experiment(["daformer_gta2cs.gin"])
    with pytest.raises(UserError, match=r"data/weights/mit_b5.npz.*mit_b5.pth.*docs/recipes.md"):
        experiment.build_model()


def test_statistics_are_counted_at_the_first_start_alone(tmp_path, monkeypatch):
    """From the gin files on: a second start reads no label, one after a change reads them."""
    game, camera = streets.render_roots(tmp_path, num_source=3)
    read = []
    read_label = Domain.read_label

    def watch(self, path):
        read.append(path)
        return read_label(self, path)

    def start():
        params = [f"GTA5 = '{game}'", f"CITYSCAPES = '{camera}'"]
        params.append("source/rare_classes.RareClassSampler.min_pixels = 1")
        data = Experiment(["gta2cs.gin", *_SAMPLING[1]], params).get("data")
        data.audit(str(tmp_path / "run" / "audit"))
        with monkeypatch.context() as patch:
            patch.setattr(Domain, "read_label", watch)
            return data, data.make_source_stream()

    data, first = start()
    labels = sorted(pair.label_path for pair in data.source_pairs)
    assert sorted(read) == labels and first.weights.sum() == pytest.approx(1.0)
    _, second = start()
    assert len(read) == len(labels)
    np.testing.assert_array_equal(first.weights, second.weights)

    os.replace(labels[1], labels[1] + ".old")
    with open(labels[0], "rb") as one, open(labels[1], "wb") as other:
        other.write(one.read())
    _, changed = start()
    assert len(read) == 2 * len(labels)
    counts = class_statistics.count_pixels(
        data.source_pairs, data.source.read_label, data.label_space.class_names
    )
    np.testing.assert_array_equal(counts[0], counts[1])
    assert changed.weights[0] == pytest.approx(changed.weights[1])


_TWO = ["SOURCE_BATCH = 2", "TARGET_BATCH = 2"]
_RUNS = {
    "crst": (["crst_gta2cs.gin", *_NETWORKS["segformer_b0"]], []),
    "rounds": (["gta2cs.gin", *_NETWORKS["segformer_b0"], *_MEMORY[1], *_SAMPLING[1]], _TWO),
    "beyond": (["mic_gta2cs.gin", "models/segformer_mit_b0.gin", *_MEMORY[2]], [*_TWO, _DRSL]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _RUNS)
def test_recipes_train_adapt_and_score(tmp_path, name):
    """On small images, in half precision, with parts of batches and rare classes."""
    files, params = _RUNS[name]
    game, camera = streets.render_roots(tmp_path, num_source=3)
    rounds_only = name == "beyond"
    params = [
        *params,
        f"GTA5 = '{game}'",
        f"CITYSCAPES = '{camera}'",
        "LABEL_SIZE = None",
        "WEIGHTS = None",
        "CROP = (64, 128)",
        "SOURCE_SIZE = (64, 128)",
        "TARGET_SIZE = (64, 128)",
        f"SOURCE_STEPS = {0 if rounds_only else 1}",
        "ROUNDS = 1",
        "STEPS_PER_ROUND = 2",
    ]
    losses = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs.get("loss", 0.0))

    configuration = Configuration(files, params)
    run = configuration.apply(adapt)
    try:
        results = run(
            str(tmp_path / "run"), monitoring=Monitoring(tensorboard=False, callbacks=[Watch()])
        )
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert [stage.round for stage in results.stages] == [0, 1]
    assert len(losses) == (2 if rounds_only else 3)
    assert np.isfinite(losses).all() and max(losses) > 0
    assert all(stage.miou is not None for stage in results.stages)
    assert (results.stages[1].pseudo_label is None) == rounds_only
