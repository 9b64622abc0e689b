"""The paths of a run, each spelled here and nowhere else."""

from __future__ import annotations

import dataclasses
import glob
import os


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The files and folders that a run leaves behind, as `docs/runs.md` lists them.

    Nothing is read or written here; the paths may be of files that do not exist yet.

    Args:
        path: what `--run_dir` names.
    """

    path: str

    @property
    def config(self) -> str:
        """Every binding of the run."""
        return os.path.join(self.path, "config.gin")

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
        """Picture of the data as training sees them."""
        return os.path.join(self.path, "inspection.png")

    @property
    def audit(self) -> str:
        """Folder of the audit's stamps and of class statistics."""
        return os.path.join(self.path, "audit")

    @property
    def checkpoints(self) -> str:
        """Folder of what a rerun of the same command resumes from."""
        return os.path.join(self.path, "checkpoints")

    @property
    def source_checkpoint(self) -> str:
        """Folder of the checkpoint before adaptation."""
        return os.path.join(self.path, "source_stage")

    @property
    def best_checkpoint(self) -> str:
        """Folder of the checkpoint of highest mIoU; its name says what the choice took."""
        return os.path.join(self.path, "best_by_target_labels")

    @property
    def tensorboard(self) -> str:
        """Folder of event files."""
        return os.path.join(self.path, "tensorboard")

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

    def locate_confusion(self, round_index: int) -> str:
        """Returns the path of a stage's confusion matrix; round 0 is the source stage."""
        return os.path.join(self.path, "confusion", f"round_{round_index}.csv")

    def locate_pseudo_labels(self, round_index: int) -> str:
        """Returns the folder of a round's pseudo-labels."""
        return os.path.join(self.path, "pseudo_labels", f"round_{round_index}")

    def locate_predictions(self, round_index: int) -> str:
        """Returns the folder of a stage's predictions of the figure's frames."""
        return os.path.join(self.path, "predictions", f"round_{round_index}")

    def locate_evaluation(self, name: str) -> str:
        """Returns the folder of what `drsl_tf.evaluate` found by one kind of test."""
        return os.path.join(self.path, "evaluation", name)

    def list_evaluations(self) -> list[str]:
        """Returns the folders of all kinds of tests, sorted."""
        return sorted(glob.glob(os.path.join(glob.escape(self.path), "evaluation", "*")))
