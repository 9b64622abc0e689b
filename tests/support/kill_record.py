"""What kills cost: the record of a run that was killed again and again."""

import json
import os
import platform

import keras
import tensorflow as tf

from drsl_tf import files

PHASES = ("source stage", "round", "pseudo-labelling", "checkpoint write", "evaluation")


class KillRecord:
    """Collects kills.

    Args:
        checkpoint_every: the run's.
    """

    def __init__(self, checkpoint_every):
        self.kills = []
        self._checkpoint_every = checkpoint_every

    def add(self, found, before, resumed):
        """Records a kill, prints it as a row of a table, and returns the steps it lost.

        Args:
            found: "checkpoint write", or the title of the progress bar that was shown last.
            before: (round, steps done) at the kill.
            resumed: (round, steps done) from which the run went on.
        """
        # A resumed run that stands in a later round had saved the end of the one before.
        lost = before[1] - resumed[1] if before[0] == resumed[0] else 0
        assert resumed >= before or resumed[0] == before[0]
        self.kills.append({"phase": _name_phase(found), "steps_lost": lost})
        number = len(self.kills)
        print(f"| {number} | {found} | {before} | {resumed} | {lost} |", flush=True)
        return lost

    def count_phases(self):
        """Counts the kills of each phase."""
        phases = [kill["phase"] for kill in self.kills]
        return {phase: phases.count(phase) for phase in PHASES}

    def write(self, path, seed, difference, are_results_equal):
        """Adds the outcome to a JSON file, under TensorFlow's version.

        Args:
            path: the file; may be absent.
            seed: of the moments.
            difference: the largest between this run's variables and those of one never killed.
            are_results_equal: whether the numbers of both `results.json` are the same.
        """
        content = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        losses = {phase: [] for phase in PHASES}
        for kill in self.kills:
            losses[kill["phase"]].append(kill["steps_lost"])
        content[f"tensorflow {tf.__version__}"] = {
            "keras": keras.__version__,
            "python": platform.python_version(),
            "seed": seed,
            "checkpoint_every": self._checkpoint_every,
            "kills": len(self.kills),
            "phases": {
                phase: {"kills": len(lost), "steps_lost_at_most": max(lost, default=0)}
                for phase, lost in losses.items()
            },
            "steps_lost_at_most": max(kill["steps_lost"] for kill in self.kills),
            "largest_difference": difference,
            "bit_equal": difference == 0.0 and are_results_equal,
        }
        files.write_json(path, dict(sorted(content.items())))


def _name_phase(found):
    if found == "checkpoint write":
        return found
    stage, work = found.split(": ")
    if work == "training":
        return "source stage" if stage == "source stage" else "round"
    return "evaluation" if work == "scoring" else "pseudo-labelling"
