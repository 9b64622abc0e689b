"""The steps measured by the memory benchmark."""

from __future__ import annotations

from typing import NamedTuple

_NETWORKS = (
    "deeplab_v2_resnet101",
    "fcn8s_vgg16",
    "deeplab_v3plus_resnet101",
    "segformer_b5",
)
_SIZES = ((256, 512), (384, 768), (512, 1024))


class Measurement(NamedTuple):
    """A step whose memory and seconds are measured.

    Attributes:
        network: name of the network, one of `networks.NAMES`.
        step: "train" or "evaluate".
        height: height of the images.
        width: width of the images.
        images: images of each domain in training, of one domain in evaluation.
        policy: Keras's precision policy.
        micro_batches: parts into which a training batch is split.
    """

    network: str
    step: str
    height: int
    width: int
    images: int = 1
    policy: str = "float32"
    micro_batches: int = 1


def list_measurements(
    *, quick: bool = False, network: str | None = None, size: tuple[int, int] | None = None
) -> list[Measurement]:
    """Lists the measurements, small sizes first.

    Args:
        quick: one network at a tiny size, to check that everything runs.
        network: only this network, even if it is not in the table.
        size: only this (height, width).

    Returns:
        Measurements of training and evaluation steps; without `network` and `size` also with
        `micro_batches` and mixed precision.
    """
    default_networks, default_sizes = _NETWORKS, _SIZES
    if quick:
        default_networks, default_sizes = ("small_cnn",), ((32, 64),)
    plan = [
        Measurement(its_network, step, *its_size)
        for its_size in ([size] if size else default_sizes)
        for its_network in ([network] if network else default_networks)
        for step in ("train", "evaluate")
    ]
    if network is None and size is None:
        of_four = Measurement(default_networks[0], "train", *default_sizes[0], images=2)
        plan += [
            of_four,
            of_four._replace(micro_batches=2),
            of_four._replace(policy="mixed_bfloat16"),
        ]
    return plan
