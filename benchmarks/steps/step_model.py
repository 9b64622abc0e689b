"""The model and the batch of a measured training step."""

from __future__ import annotations

from typing import Any

NUM_CLASSES = 19
# The head's arguments in recipes/modes_from_data.gin.
_FROM_DATA = {"feature_share": 0.9, "usage_decay": 0.99, "mode_decay": 0.99}


def build_model(
    network: str,
    num_modes: int = 0,
    modes_from_data: bool = False,
    teacher: bool = False,
    mask_weight: float = 0.0,
    micro_batches: int = 1,
):
    """Builds a model with random weights, compiled to update all of them by Adam.

    Args:
        network: one of `networks.NAMES`.
        num_modes: modes per class; 0 trains by cross-entropy only.
        modes_from_data: whether the modes follow their pixels, as in the recipe of that name.
        teacher: whether a mean teacher labels the target, with ClassMix.
        mask_weight: weight of masked images, with `teacher`.
        micro_batches: number of parts of a batch.

    Returns:
        A `DrslModel` or `OnlineDrslModel`.
    """
    import keras

    from benchmarks.steps import networks
    from drsl_tf.models.model import DrslModel
    from drsl_tf.networks.heads.multimodal_head import MultimodalHead
    from drsl_tf.optimization.gradient_update import GradientUpdate
    from drsl_tf.self_training.online_model import OnlineDrslModel

    base, head = networks.build_parts(network, NUM_CLASSES)
    options = _FROM_DATA if modes_from_data else {}
    modes = MultimodalHead(NUM_CLASSES, num_modes, **options) if num_modes else None
    if teacher:
        model = OnlineDrslModel(base, head, modes, mix_classes=True, mask_weight=mask_weight)
    else:
        model = DrslModel(base, head, modes)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4),
        gradient_update=GradientUpdate(micro_batches=micro_batches),
        jit_compile=False,
    )
    return model


def draw_batch(images: int, height: int, width: int) -> dict[str, Any]:
    """Draws the batch of a training step.

    Args:
        images: images of each domain.
        height: height in pixels.
        width: width in pixels.

    Returns:
        {"source": half, "target": half}, each {"image": noise (images, height, width, 3) float32
        in 0 to 255, "label": (images, height, width) int32 in blocks}. A tenth of the source's
        blocks is ignored and half of the target's, as pseudo-labels would be.
    """
    ignored = {"source": 0.1, "target": 0.5}
    return {
        half: dict(zip(("image", "label"), draw_half(seed, share, (images, height, width))))
        for seed, (half, share) in enumerate(ignored.items())
    }


def draw_half(seed: int, ignored: float, size: tuple[int, int, int]):
    """Draws images of noise and labels in blocks of 16 pixels.

    Args:
        seed: decides both.
        ignored: share of blocks that are ignored.
        size: number of images, height and width.

    Returns:
        (images, (n, H, W, 3) float32; labels, (n, H, W) int32).
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    shape = (size[0], -(-size[1] // 16), -(-size[2] // 16))
    blocks = generator.integers(0, NUM_CLASSES, shape)
    blocks[generator.random(shape) < ignored] = 255
    label = blocks.repeat(16, axis=1).repeat(16, axis=2)[:, : size[1], : size[2]]
    return generator.uniform(0, 255, (*size, 3)).astype("float32"), label.astype("int32")
