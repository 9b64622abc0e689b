"""Setups of the benchmarks of adaptation and of modes, and the methods compared on them."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence

from data_pipelines.errors import UserError
from data_pipelines.labels import label_tables


@dataclasses.dataclass(frozen=True)
class Setup:
    """A source and a target.

    Attributes:
        gin_file: the experiment that runs DRSL.
        oracle_params: bindings that put the labelled target in the place of the source.
        source_scopes: starts of bindings that the oracle, without the source, does not read.
        repeated_arms: methods that equal another one on this setup, such as those with the
            target's batch statistics if all methods have them.
        block: consecutive validation images that are drawn together for intervals: frames of one
            video are similar.
        arms: the only methods on this setup; none means all but the repeated ones.
        hidden_params: bindings that read the labels in the classes that are hidden from training;
            none hides no classes.
    """

    gin_file: str
    oracle_params: tuple[str, ...] = ()
    source_scopes: tuple[str, ...] = ()
    repeated_arms: tuple[str, ...] = ()
    block: int = 1
    arms: tuple[str, ...] = ()
    hidden_params: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Arm:
    """A training method, as an overlay on a setup's experiment.

    Attributes:
        title: its name in tables.
        gin_files: configuration files after the setup's experiment.
        gin_params: bindings after them.
        adapts: whether there are rounds; otherwise all steps are in the source stage, which
            methods that differ after it share.
        takes_statistics: without rounds, whether it computes the target's batch statistics at the
            end.
        on_target: whether it trains on the target's labels instead of the source.
        starts_from: the method whose source stage is the initial run of this one, which then opens
            no file of the source; "" is none.
        selected_from: the method whose runs this one scores, by the model that they select without
            labels instead of their last; all but the title is that method's. "" is none.
        module: a required package, or "".
    """

    title: str
    gin_files: tuple[str, ...] = ()
    gin_params: tuple[str, ...] = ()
    adapts: bool = True
    takes_statistics: bool = False
    on_target: bool = False
    starts_from: str = ""
    selected_from: str = ""
    module: str = ""


_WITH_STATISTICS = ("cbst_target_bn", "drsl_target_bn", "drsl_target_bn_frozen")
_FROZEN_ARMS = ("cbst_frozen", "drsl_frozen", "drsl_frozen_posterior", "drsl_target_bn_frozen")
_WITHOUT_STATISTICS = ("cbst_source_bn", "drsl_source_bn")
_LABEL_IDS = {k: v for k, v in label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19.items() if k >= 0}

MODE_ARMS = {
    "k1": "drsl_k1",
    "k3_shipped": "drsl",
    "k6": "drsl_k6",
    "p1": "drsl_p1",
    "p1_p2": "drsl_p1_p2",
    "p1_features": "drsl_p1_features",
    "p1_features_follow": "drsl_p1_features_follow",
    "k6_p1": "drsl_k6_p1",
}
"""The methods of the benchmark of modes, by their names in its results."""

SETUPS: dict[str, Setup] = {
    "streets": Setup(
        "benchmarks/streets.gin",
        ("adaptation.AdaptationData.source = @cityscapes.Cityscapes()",),
        ("game/",),
        _WITH_STATISTICS,
        block=1,
    ),
    "streets2camvid": Setup(
        "gin_configs/streets2camvid.gin",
        ("adaptation.AdaptationData.source = @camvid.CamVid()",),
        ("streets/",),
        (*_WITHOUT_STATISTICS, *_FROZEN_ARMS),
        block=10,
    ),
    "simtown2kitti": Setup(
        "benchmarks/simtown2kitti.gin",
        (
            "SOURCE = %TARGET",
            "SOURCE_SPLITS = %TARGET_SPLITS",
            "source/folder.Folder.masks = %TARGET_MASKS",
        ),
        (),
        _WITHOUT_STATISTICS,
        block=4,
    ),
    "simtown2camvid": Setup(
        "benchmarks/simtown2camvid.gin",
        (
            "SOURCE = %TARGET",
            "SOURCE_SPLITS = %TARGET_SPLITS",
            "source/folder.Folder.masks = %TARGET_MASKS",
            "ID_TABLE = None",
        ),
        (),
        _WITHOUT_STATISTICS,
        block=10,
    ),
    "streets7": Setup(
        "benchmarks/streets7.gin",
        arms=tuple(MODE_ARMS.values()),
        hidden_params=("LABEL_SPACE = @label_spaces.cityscapes19()",),
    ),
    "simtown7_kitti7": Setup(
        "benchmarks/simtown7_kitti7.gin",
        block=4,
        arms=tuple(MODE_ARMS.values()),
        hidden_params=(
            "folder.Folder.label_space = @label_spaces.cityscapes19()",
            f"ID_TABLE = {_LABEL_IDS}",
        ),
    ),
}

CORE_ARMS = ("source_only", "cbst", "drsl", "oracle")
"""The methods that run first; they show whether adaptation helps."""

CLAIMS = (
    ("source_only_drsl_head", "source_only"),
    ("target_statistics", "source_only"),
    ("source_free", "source_only"),
    ("cbst", "source_only"),
    ("drsl", "source_only"),
    ("drsl", "cbst"),
    ("teacher", "source_only"),
    ("teacher", "teacher_same_view"),
    ("teacher_mic", "source_only"),
    ("teacher_mic", "teacher"),
    ("teacher_mic_drsl", "source_only"),
    ("teacher_mic_drsl", "teacher_mic"),
    ("teacher_mic_modes", "teacher_mic"),
    ("teacher_mic_modes_p3", "teacher_mic"),
    ("selected", "source_only"),
)
"""Pairs of methods, the one that is expected to be better first."""

_ADDONS = "tensorflow_addons"
_NO_MODES = "drsl_tf.build_model.multimodal_head = None"
_SOURCE_ONLY = "recipes/source_only.gin"
_TEACHER = "recipes/mean_teacher.gin"
_MASKS = "recipes/mic.gin"
# The rounds here have 150 steps, too few for the average over 1,000 of the published recipes.
_DECAY = "drsl_tf.OnlineDrslModel.teacher_decay = 0.99"
_SAME_VIEW = (
    "drsl_tf.OnlineDrslModel.jitter_chance = 0.0",
    "drsl_tf.OnlineDrslModel.blur_chance = 0.0",
)
_TRIPLET = "benchmarks/triplet.gin"
_FROZEN = "FREEZE_STATISTICS = True"
_MODES = "drsl_tf.MultimodalHead.modes_per_class = {}"
_FROM_DATA = "recipes/modes_from_data.gin"
_IN_EMBEDDING = "drsl_tf.MultimodalHead.feature_share = 0.0"
_TRAINED = "drsl_tf.MultimodalHead.mode_decay = None"
_CORRECTION = "drsl_tf.OnlineDrslModel.mode_label_weight = 1.0"
_POSTERIOR = "POSTERIOR_WEIGHT = 0.5"
_STATISTICS = "drsl_tf.SelfTraining.target_statistics = @drsl_tf.TargetStatistics()"
_SELECTION = 'drsl_tf.SelfTraining.selection = "label_free"'
_PRIOR = "drsl_tf.TargetStatistics.prior_images = {}"
_TRAINING_STATISTICS = "drsl_tf.SelfTraining.target_statistics = None"


def _make_statistics_arm(title, *gin_params):
    """Creates a method that trains on the source alone and then takes the target's statistics."""
    return Arm(
        title,
        (_SOURCE_ONLY,),
        (_STATISTICS, *gin_params),
        adapts=False,
        takes_statistics=True,
    )


ARMS: dict[str, Arm] = {
    "source_only": Arm("source only", (_SOURCE_ONLY,), adapts=False),
    "cbst": Arm("cross-entropy self-training (CBST)", gin_params=(_NO_MODES,)),
    "drsl": Arm("CBST + DML + SMA (DRSL, K = 3)"),
    "oracle": Arm("trained on target labels", (_SOURCE_ONLY,), adapts=False, on_target=True),
    "dml": Arm("CBST + DML", gin_params=("SMA_WEIGHT = 0.0",)),
    "margin": Arm("CBST + margin over all pixels + SMA", gin_params=("CLASS_BALANCE = False",)),
    "drsl_posterior": Arm("DRSL + posterior loss", gin_params=(_POSTERIOR,)),
    "target_statistics": _make_statistics_arm("source only, the target's batch statistics"),
    "target_statistics_prior": _make_statistics_arm(
        "source only, the target's batch statistics and the source's as 100 images",
        _PRIOR.format(100),
    ),
    "target_statistics_prior_1000": _make_statistics_arm(
        "source only, the target's batch statistics and the source's as 1,000 images",
        _PRIOR.format(1000),
    ),
    "cbst_target_bn": Arm(
        "CBST, the target's batch statistics", gin_params=(_NO_MODES, _STATISTICS)
    ),
    "drsl_target_bn": Arm("DRSL, the target's batch statistics", gin_params=(_STATISTICS,)),
    "cbst_source_bn": Arm(
        "CBST, batch statistics of training", gin_params=(_NO_MODES, _TRAINING_STATISTICS)
    ),
    "drsl_source_bn": Arm("DRSL, batch statistics of training", gin_params=(_TRAINING_STATISTICS,)),
    "cbst_frozen": Arm(
        "CBST, batch statistics frozen in the rounds", gin_params=(_NO_MODES, _FROZEN)
    ),
    "drsl_frozen": Arm("DRSL, batch statistics frozen in the rounds", gin_params=(_FROZEN,)),
    "drsl_frozen_posterior": Arm(
        "DRSL + posterior loss, batch statistics frozen in the rounds",
        gin_params=(_FROZEN, _POSTERIOR),
    ),
    "drsl_target_bn_frozen": Arm(
        "DRSL, the target's batch statistics, frozen in the rounds",
        gin_params=(_STATISTICS, _FROZEN),
    ),
    "drsl_k1": Arm("DRSL, K = 1", gin_params=(_MODES.format(1),)),
    "drsl_k2": Arm("DRSL, K = 2", gin_params=(_MODES.format(2),)),
    "drsl_k5": Arm("DRSL, K = 5", gin_params=(_MODES.format(5),)),
    "drsl_k6": Arm("DRSL, K = 6", gin_params=(_MODES.format(6),)),
    "drsl_p1": Arm(
        "DRSL, modes from data, in the embedding", (_FROM_DATA,), (_IN_EMBEDDING, _TRAINED)
    ),
    "drsl_p1_p2": Arm(
        "DRSL, modes from data, in the embedding, that compete",
        (_FROM_DATA,),
        (_IN_EMBEDDING, "drsl_tf.DrslModel.sibling_weight = 1.0"),
    ),
    "drsl_p1_features": Arm(
        "DRSL, modes from data, in embedding and features, that train",
        (_FROM_DATA,),
        (_TRAINED,),
    ),
    "drsl_p1_features_follow": Arm(
        "DRSL, modes from data (in embedding and features, that follow their pixels)",
        (_FROM_DATA,),
    ),
    "drsl_k6_p1": Arm(
        "DRSL, K = 6, modes from data, in the embedding",
        (_FROM_DATA,),
        (_MODES.format(6), _IN_EMBEDDING, _TRAINED),
    ),
    "triplet_semihard": Arm("CBST + semi-hard triplets", (_TRIPLET,), module=_ADDONS),
    "triplet_hard": Arm(
        "CBST + hard triplets",
        (_TRIPLET,),
        ('triplet_model.TripletModel.mining = "hard"',),
        module=_ADDONS,
    ),
    "teacher": Arm("mean teacher", (_TEACHER,), (_NO_MODES, _DECAY)),
    "teacher_same_view": Arm(
        "mean teacher, whose student sees the same image",
        (_TEACHER,),
        (_NO_MODES, _DECAY, *_SAME_VIEW),
    ),
    "teacher_drsl": Arm("mean teacher + DRSL", (_TEACHER,), (_DECAY,)),
    "source_only_drsl_head": Arm(
        "source only with DRSL's head and losses",
        (_SOURCE_ONLY,),
        ("drsl_tf.build_model.multimodal_head = @drsl_tf.MultimodalHead",),
        adapts=False,
    ),
    "source_free": Arm(
        "source-free: one round from the source stage of CBST",
        ("recipes/source_free.gin",),
        (_NO_MODES,),
        starts_from="cbst",
    ),
    "teacher_mic": Arm(
        "mean teacher + masks (MIC)", (_TEACHER, _MASKS), (_NO_MODES, _DECAY, _SELECTION)
    ),
    "selected": Arm(
        "mean teacher + masks, the model selected without labels", selected_from="teacher_mic"
    ),
    "teacher_mic_drsl": Arm("mean teacher + masks + DRSL", (_TEACHER, _MASKS), (_DECAY,)),
    "teacher_mic_modes": Arm(
        "mean teacher + masks + DRSL, modes from data",
        (_TEACHER, _MASKS, _FROM_DATA),
        (_DECAY,),
    ),
    "teacher_mic_modes_p3": Arm(
        "mean teacher + masks + DRSL, modes from data that correct labels",
        (_TEACHER, _MASKS, _FROM_DATA),
        (_DECAY, _CORRECTION),
    ),
}


def find_setup(name: str) -> Setup:
    """Returns a setup by its name.

    Args:
        name: such as "streets".

    Returns:
        The setup.

    Raises:
        UserError: there is none of this name.
    """
    if name not in SETUPS:
        raise UserError(f"--setup={name} is not known; choose one of {', '.join(SETUPS)}.")
    return SETUPS[name]


def order_arms(setup_name: str, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Sorts methods, the core methods first.

    Args:
        setup_name: name of the setup.
        names: names of methods; none means all that differ on this setup.

    Returns:
        The names, in the order in which to run them.

    Raises:
        UserError: a method is unknown on this setup.
    """
    setup = find_setup(setup_name)
    known = [name for name in setup.arms or ARMS if name not in setup.repeated_arms]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"--arms names {unknown[0]!r}; on {setup_name} there are {', '.join(known)}."
        )
    return tuple(sorted(names or known, key=lambda n: (n not in CORE_ARMS, known.index(n))))


def is_available(name: str) -> bool:
    """Returns whether the package that a method requires is installed.

    Args:
        name: name of the method.

    Returns:
        True if it is installed or none is required.
    """
    module = ARMS[name].module
    return not module or importlib.util.find_spec(module) is not None
