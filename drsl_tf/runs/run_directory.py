"""The paths of a run, defined only here; nothing is read or written."""

from __future__ import annotations

import dataclasses
import glob
import os


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The files and folders of a run, as listed in `docs/runs.md`.

    The files may not exist yet.

    Args:
        path: what `--run_dir` names.
    """

    path: str

    @property
    def config(self) -> str:
        """Every binding of the run."""
        return os.path.join(self.path, "config.gin")

    @property
    def data(self) -> str:
        """Lists of the files that the run reads."""
        return os.path.join(self.path, "data.json")

    @property
    def lock(self) -> str:
        """The file that a process locks while it trains in this directory."""
        return os.path.join(self.path, "lock")

    @property
    def results(self) -> str:
        """Scores of every stage."""
        return os.path.join(self.path, "results.json")

    @property
    def figure(self) -> str:
        """Picture of a few frames before and after adaptation."""
        return os.path.join(self.path, "figure.png")

    @property
    def inspection(self) -> str:
        """Picture of the training data after augmentation."""
        return os.path.join(self.path, "inspection.png")

    @property
    def audit(self) -> str:
        """Folder of the audit's stamps and of class statistics."""
        return os.path.join(self.path, "audit")

    @property
    def checkpoints(self) -> str:
        """Folder of the checkpoints that the same command resumes from."""
        return os.path.join(self.path, "checkpoints")

    @property
    def source_checkpoint(self) -> str:
        """Folder of the checkpoint before adaptation."""
        return os.path.join(self.path, "source_stage")

    @property
    def best_checkpoint(self) -> str:
        """Folder of the checkpoint of highest mIoU, which is chosen with target labels."""
        return os.path.join(self.path, "best_by_target_labels")

    @property
    def selected_checkpoint(self) -> str:
        """Folder of the checkpoint that is selected without target labels."""
        return os.path.join(self.path, "selected")

    @property
    def tensorboard(self) -> str:
        """Folder of event files."""
        return os.path.join(self.path, "tensorboard")

    @property
    def projector_config(self) -> str:
        """List of the stages in TensorBoard's Projector, at the path that TensorBoard expects."""
        return os.path.join(self.tensorboard, "projector_config.pbtxt")

    @property
    def panels(self) -> str:
        """List of the frames that panels are kept of."""
        return os.path.join(self.path, "panels", "index.json")

    def locate_panel(self, folder: str, frame: int, panel: str) -> str:
        """Returns the path of one picture of a frame.

        Args:
            folder: "frames", or "round_N".
            frame: the frame's number, from 0.
            panel: what it shows.
        """
        return os.path.join(self.path, "panels", folder, f"{frame}_{panel}.png")

    def locate_mode_picture(self, class_id: int) -> str:
        """Returns the path of the picture of a class's modes."""
        return os.path.join(self.path, "modes", f"{class_id}.png")

    def locate_confusion(self, round_index: int) -> str:
        """Returns the path of a stage's confusion matrix; round 0 is the source stage."""
        return os.path.join(self.path, "confusion", f"round_{round_index}.csv")

    def locate_vectors(self, round_index: int) -> str:
        """Returns the path of a stage's vectors for the Projector."""
        return os.path.join(self.tensorboard, "projector", f"round_{round_index}", "vectors.tsv")

    def locate_vector_metadata(self, round_index: int) -> str:
        """Returns the path of the table that describes each of a stage's vectors."""
        return os.path.join(self.tensorboard, "projector", f"round_{round_index}", "metadata.tsv")

    def locate_pseudo_labels(self, round_index: int) -> str:
        """Returns the folder of a round's pseudo-labels."""
        return os.path.join(self.path, "pseudo_labels", f"round_{round_index}")

    def locate_predictions(self, round_index: int) -> str:
        """Returns the folder of a stage's predictions of the figure's frames."""
        return os.path.join(self.path, "predictions", f"round_{round_index}")

    def locate_evaluation(self, name: str) -> str:
        """Returns the folder of the scores of `drsl_tf.evaluate` by one kind of test."""
        return os.path.join(self.path, "evaluation", name)

    def list_evaluations(self) -> list[str]:
        """Returns the folders of all kinds of tests, sorted."""
        return sorted(glob.glob(os.path.join(glob.escape(self.path), "evaluation", "*")))


@dataclasses.dataclass(frozen=True)
class PseudoLabelDirectory:
    """The files of one round's pseudo-labels, in a run or elsewhere.

    Args:
        path: the folder, such as `RunDirectory.locate_pseudo_labels` returns.
    """

    path: str

    @property
    def report(self) -> str:
        """Report of the pseudo-labels; written after all of them."""
        return os.path.join(self.path, "report.json")

    def locate_label(self, name: str) -> str:
        """Returns the path of the PNG of an image's pseudo-label.

        Args:
            name: the image's, as `Pair.name`.
        """
        return os.path.join(self.path, f"{name}.png")


@dataclasses.dataclass(frozen=True)
class EvaluationDirectory:
    """The files that `drsl_tf.evaluate` writes, in a run or elsewhere.

    Args:
        path: the folder, such as `RunDirectory.locate_evaluation` returns.
    """

    path: str

    @property
    def scores(self) -> str:
        """What was evaluated, and its scores."""
        return os.path.join(self.path, "evaluation.json")

    @property
    def confusion(self) -> str:
        """Confusion matrix."""
        return os.path.join(self.path, "confusion.csv")

    @property
    def picture(self) -> str:
        """Confusion matrix, drawn."""
        return os.path.join(self.path, "confusion.png")
