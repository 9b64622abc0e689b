"""The scores that `drsl_tf.evaluate` writes: the model of `evaluation.json`."""

from __future__ import annotations

from typing import Literal

import pydantic

from data_pipelines.io.json_models import VersionedModel
from drsl_tf import files
from drsl_tf.evaluation.protocols import ProtocolScores
from drsl_tf.files import Number


class Testing(files.Entry):
    """How images were passed to the network, see `TestProtocol`.

    Attributes:
        name: description of the test.
        scales: factors of the image's size.
        flip: whether the mirrored image was added.
        window: (height, width) of sliding windows, or None.
        stride: (down, right) from window to window, or None.
        size: (height, width) that scale 1 stands for; None is each image's own.
    """

    name: str
    scales: tuple[Number, ...] = ()
    flip: bool = False
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    size: tuple[int, int] | None = None


class Evaluation(files.Entry, VersionedModel):
    """The content of `evaluation.json`.

    Attributes:
        version: of this format.
        title: description of the evaluation.
        model: path of the checkpoint, model or label maps.
        weights: which weights of a run; None for other models.
        target: the data set.
        root: its folder.
        split: its split.
        images: number of scored images.
        label_space: name of the classes.
        testing: how images were passed to the network; None for label maps on disk.
        miou: mean IoU in percent; None where no class has an IoU.
        num_classes_scored: classes that `miou` averages.
        iou: IoU in percent by class name, None for a class neither present nor predicted.
        protocols: scores over subsets of Cityscapes' classes, by name.
    """

    version: Literal[1] = pydantic.Field(alias="schema")
    title: str = ""
    model: str = ""
    weights: str | None
    target: str
    root: str = ""
    split: str
    images: int = 0
    label_space: str = ""
    testing: Testing | None
    miou: Number | None
    num_classes_scored: int
    iou: dict[str, Number | None]
    protocols: dict[str, ProtocolScores]

    @pydantic.model_validator(mode="after")
    def _check_testing(self) -> Evaluation:
        if self.weights is not None and self.testing is None:
            raise ValueError("testing is missing, though weights of a run were tested")
        return self


def read_evaluation(path: str) -> Evaluation:
    """Reads the scores of `drsl_tf.evaluate`.

    Args:
        path: the file `evaluation.json`.

    Returns:
        Its content.

    Raises:
        UserError: it cannot be read, or holds an invalid value.
    """
    fix = "Run drsl_tf.evaluate again, or delete the file."
    return files.read_model(path, Evaluation, fix)
