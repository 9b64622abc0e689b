"""DRSL: adapting semantic segmentation models from a labelled source to an unlabelled target.

The names of `__all__` are imported on first use, so that `import drsl_tf` is fast.
Using any of them registers all classes that Keras serialises, for `keras.models.load_model`.

    import drsl_tf

    drsl_tf.train(["demo.gin"], run_dir="runs/demo")
    drsl_tf.export("runs/demo", "models/demo")
    labels, confidence = drsl_tf.Predictor("models/demo").predict(images)
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

__version__ = "0.1.0"

# Public name -> its module; after a colon its name there if it differs, or nothing for the
# module itself.
_HOMES = {
    "DAFormerHead": "drsl_tf.networks.heads.daformer_head",
    "DeepLabV2Head": "drsl_tf.networks.heads.deeplab_v2_head",
    "DeepLabV3PlusHead": "drsl_tf.networks.heads.deeplab_v3plus_head",
    "DrslModel": "drsl_tf.models.model",
    "Fcn8sHead": "drsl_tf.networks.heads.fcn8s_head",
    "GradientUpdate": "drsl_tf.optimization.gradient_update",
    "Inference": "drsl_tf.models.inference",
    "KernelAdamW": "drsl_tf.optimization.kernel_adamw",
    "Learner": "drsl_tf.training.settings",
    "LinearHead": "drsl_tf.networks.heads.linear_head",
    "ModeStart": "drsl_tf.modes.start",
    "Monitoring": "drsl_tf.monitoring.callbacks",
    "MultimodalHead": "drsl_tf.networks.heads.multimodal_head",
    "OnlineDrslModel": "drsl_tf.self_training.online_model",
    "Predictor": "drsl_tf.serving.predictor",
    "PseudoLabeler": "drsl_tf.self_training.pseudo_labeler",
    "RunSettings": "drsl_tf.training.settings",
    "Schedule": "drsl_tf.self_training.schedule",
    "SegFormerHead": "drsl_tf.networks.heads.segformer_head",
    "SelfTraining": "drsl_tf.training.settings",
    "SelfTrainingCallback": "drsl_tf.self_training.fit_callback",
    "StageSchedule": "drsl_tf.optimization.stage_schedule",
    "TargetStatistics": "drsl_tf.self_training.target_statistics",
    "adapt": "drsl_tf.training.adapt",
    "backbones": "drsl_tf.networks.backbones:",
    "build_model": "drsl_tf.models.builder",
    "count_all_steps": "drsl_tf.self_training.schedule",
    "export": "drsl_tf.experiments.exporting:export_run",
    "load_model": "drsl_tf.models.loading",
    "losses": "drsl_tf.losses:",
    "train": "drsl_tf.experiments.launcher:launch",
}

# Modules with classes that Keras serialises; importing them registers the classes.
_SERIALISABLE = (
    "drsl_tf.models.model",
    "drsl_tf.networks.backbones.preprocessing",
    "drsl_tf.networks.heads.daformer_head",
    "drsl_tf.networks.heads.deeplab_v2_head",
    "drsl_tf.networks.heads.deeplab_v3plus_head",
    "drsl_tf.networks.heads.fcn8s_head",
    "drsl_tf.networks.heads.multimodal_head",
    "drsl_tf.networks.heads.segformer_head",
    "drsl_tf.networks.heads.linear_head",
    "drsl_tf.networks.layers.conv_block",
    "drsl_tf.networks.layers.dinov3_encoder",
    "drsl_tf.networks.layers.efficient_attention",
    "drsl_tf.networks.layers.image_grid",
    "drsl_tf.networks.layers.mit_block",
    "drsl_tf.networks.layers.resize_like",
    "drsl_tf.optimization.gradient_update",
    "drsl_tf.optimization.kernel_adamw",
    "drsl_tf.optimization.stage_schedule",
    "drsl_tf.optimization.scaled_schedule",
    "drsl_tf.self_training.online_model",
)

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'drsl_tf' has no attribute {name!r}")
    # The names come from the tables above, never from a file.
    for serialisable in _SERIALISABLE:
        importlib.import_module(serialisable)  # noqa: TID251
    home, colon, inner = _HOMES[name].partition(":")
    module = importlib.import_module(home)  # noqa: TID251
    value = module if colon and not inner else getattr(module, inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(types.ModuleType):
    """This package; importing the commands does not replace the functions `train` and `export`."""

    def __setattr__(self, name: str, value: Any) -> None:
        is_command = name in ("train", "export") and isinstance(value, types.ModuleType)
        if not is_command:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
