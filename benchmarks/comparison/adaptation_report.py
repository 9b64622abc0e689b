"""Creates tables and summary numbers from the records of runs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.comparison import adaptation_arms
from benchmarks.comparison import bootstrap
from benchmarks.comparison import image_counts
from benchmarks.comparison import paired
from benchmarks.comparison import tables
from benchmarks.modes import mode_agreement

_USED_SHARE = 0.01
_FEWEST_SEEDS = 5


class AdaptationReport:
    """The scores of the methods, each over the seeds it has done.

    Differences are between the same seeds: those that both methods have done.

    Args:
        setup_name: name of the setup.
        records: by method, in the order of the tables, a record for each seed done, of one
            configuration per method and in order of the seeds.
    """

    def __init__(self, setup_name: str, records: dict[str, list[dict[str, Any]]]):
        self._setup_name = setup_name
        self._arms = {arm: found for arm, found in records.items() if found}

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of the JSON file.

        Returns:
            "setup" and "arms", by method "seeds" and, one number per seed, "miou" and
            "source_stage_miou" (percent) and "pseudo_label_accuracy" (fraction at the portion
            scored; None for the method that uses the labels); for a method that selects a model
            without labels also "regret", see `selection_regret`. "claims" has the differences of
            `adaptation_arms.CLAIMS` over the "seeds" that both methods have, see `bootstrap`, with
            "p_holm", and "without_rarest" without the class that the fewest images hold.
        """
        arms = {}
        for arm, records in self._arms.items():
            arms[arm] = {
                "seeds": _list_seeds(records),
                "miou": _list_scores(records),
                "source_stage_miou": [record["stages"][0]["miou"] for record in records],
                "pseudo_label_accuracy": _list_accuracies(arm, records),
            }
            if "choice" in records[0]:
                arms[arm]["regret"] = [record["choice"]["regret"] for record in records]
        return {"setup": self._setup_name, "arms": arms, "claims": self._claims}

    @functools.cached_property
    def _claims(self) -> list[dict[str, Any]]:
        block = adaptation_arms.find_setup(self._setup_name).block
        claims: list[dict[str, Any]] = []
        for better, than in adaptation_arms.CLAIMS:
            records = self._align(better, than)
            pair = image_counts.read_pair(*records)
            if pair is None:
                continue
            rarest, _ = bootstrap.find_rarest(pair[0])
            found = bootstrap.compare(*pair, block=block)
            others = [np.delete(values, rarest, axis=2) for values in pair]
            claims.append(
                {
                    "better": better,
                    "than": than,
                    "seeds": _list_seeds(records[0]),
                    "mean": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "p": found.p,
                    "without_rarest": bootstrap.compare(*others, block=block)._asdict(),
                }
            )
        adjusted = bootstrap.adjust_by_holm([claim["p"] for claim in claims])
        return [{**claim, "p_holm": p} for claim, p in zip(claims, adjusted)]

    def list_scores(self) -> dict[str, list[float]]:
        """Returns the mIoU of the model scored in percent, by method, one number per seed."""
        return {arm: _list_scores(records) for arm, records in self._arms.items()}

    def format_markdown(self) -> str:
        """Formats all tables and the commands.

        Returns:
            Markdown.
        """
        parts = [f"# Adaptation: {self._setup_name}"]
        if not self._arms:
            return parts[0] + "\n\nNo run is finished yet.\n"
        steps = sorted({r["steps"] for records in self._arms.values() for r in records})
        parts.append(
            "Target validation mIoU in percent, last round (or the model selected without labels, "
            f"where the method is that); {' or '.join(map(str, steps))} training steps in every "
            "run. Differences are paired by the seeds that both methods have; in brackets their "
            "95 % t-interval. The gap is that from source only to the oracle, over the seeds of "
            "all three. Pseudo-labels are those of the same model on the target's training images, "
            f"each predicted class labelled at {self._portion:.0%} of its pixels, without a floor."
        )
        parts.append(tables.format_rows(*self._make_summary()))
        if self._claims:
            parts += [
                "## Claims",
                self._describe_claims(),
                tables.format_rows(*self._make_claim_table()),
            ]
        parts += ["## IoU by class", tables.format_rows(*self._make_class_table())]
        rounds = self._make_round_table()
        if rounds[1]:
            parts += [
                "## Rounds",
                "Means over the seeds. Labelled and right: share of the target's training pixels "
                "that the round trained on, and the share of these that were right, in percent.",
                tables.format_rows(*rounds),
            ]
        choices = self._make_choice_table()
        if choices[1]:
            parts += [
                "## Selection without labels",
                "The model with the highest score on unlabelled target images, and the one with "
                "the highest mIoU. Their difference in mIoU is the regret, in points.",
                tables.format_rows(*choices),
            ]
        usage = self._make_usage_table()
        if usage[1]:
            parts += [
                "## Modes",
                f"A mode is used if it takes at least {_USED_SHARE:.0%} of the pixels predicted as "
                "its class. The effective number of modes of a class is exp(entropy of its mode "
                "usage), averaged over the classes predicted. Means over the seeds.",
                tables.format_rows(*usage),
            ]
        parts += ["## Commands", self._format_commands()]
        return "\n\n".join(parts) + "\n"

    @property
    def _portion(self):
        return next(iter(self._arms.values()))[0]["pseudo_label"]["portion"]

    def _align(self, *arms):
        """Returns the records of each method for the seeds that all of them have done."""
        by_seed = [{r["seed"]: r for r in self._arms.get(arm, ())} for arm in arms]
        seeds = sorted(set.intersection(*map(set, by_seed)))
        return [[records[seed] for seed in seeds] for records in by_seed]

    def _make_summary(self):
        header = [
            "method",
            "seeds",
            "mIoU",
            "sd",
            "difference to CBST",
            "gap closed",
            "pseudo-labels right",
            "fewer errors than CBST",
        ]
        rows = []
        for arm, records in self._arms.items():
            scores = _list_scores(records)
            accuracies = _list_accuracies(arm, records)
            rows.append(
                [
                    adaptation_arms.ARMS[arm].title,
                    _format_seeds(_list_seeds(records)),
                    f"{np.mean(scores):.2f}",
                    _format_number(paired.compute_sd(scores)),
                    self._format_gain(arm),
                    self._format_gap(arm),
                    "-" if accuracies is None else f"{100 * np.mean(accuracies):.2f}",
                    self._format_fewer_errors(arm),
                ]
            )
        return header, rows

    def _format_gain(self, arm):
        """Formats the difference to CBST."""
        own, reference = self._align(arm, "cbst")
        if arm == "cbst" or not own:
            return "-"
        return _format_difference(paired.compare_pairs(_list_scores(own), _list_scores(reference)))

    def _format_gap(self, arm):
        """Formats the share of the gap from source only to the oracle that a method closes."""
        if arm in ("source_only", "oracle"):
            return "-"
        found = self._align(arm, "source_only", "oracle")
        if not found[0]:
            return "-"
        own, source, oracle = (np.mean(_list_scores(records)) for records in found)
        return f"{(own - source) / (oracle - source):.0%}" if oracle != source else "-"

    def _format_fewer_errors(self, arm):
        """Formats how many of CBST's wrong pseudo-labels a method avoids."""
        own, reference = self._align(arm, "cbst")
        accuracies = _list_accuracies(arm, own), _list_accuracies("cbst", reference)
        if arm == "cbst" or not all(accuracies):
            return "-"
        errors, others = (1 - np.mean(values) for values in accuracies)
        return f"{1 - errors / others:+.0%}" if others else "-"

    def _describe_claims(self):
        block = adaptation_arms.find_setup(self._setup_name).block
        drawn = "images" if block == 1 else f"blocks of {block} consecutive images"
        few = ""
        if any(len(claim["seeds"]) < _FEWEST_SEEDS for claim in self._claims):
            few = f" Fewer than {_FEWEST_SEEDS} seeds make the intervals too narrow for a claim."
        return (
            f"Differences in points. Intervals of 95 % by a bootstrap over {drawn} and over the "
            "seeds, both methods on the same draws; p adjusted by Holm for the claims of this "
            f"table. The last column leaves out the class that the fewest images hold.{few}"
        )

    def _make_claim_table(self):
        rows = []
        for claim in self._claims:
            whole, part = (
                _format_difference(paired.Difference(d["mean"], d["low"], d["high"]))
                for d in (claim, claim["without_rarest"])
            )
            methods = f"{claim['better']} to {claim['than']}"
            seeds = _format_seeds(claim["seeds"])
            rows.append([methods, seeds, whole, f"{claim['p_holm']:.3f}", part])
        return ["methods", "seeds", "difference", "p", "without the rarest class"], rows

    def _make_class_table(self):
        """Tabulates IoU by class, with the number of images that hold the class where known."""
        names = list(next(iter(self._arms.values()))[0]["iou"])
        known = [image_counts.read_counts(records) for records in self._arms.values()]
        counts = next((values for values in known if values is not None), None)
        images = None if counts is None else bootstrap.find_rarest(counts)[1]
        rows = []
        for index, name in enumerate(names):
            row = [name] if images is None else [f"{name} ({images[index]})"]
            for records in self._arms.values():
                values = [r["iou"][name] for r in records if r["iou"][name] is not None]
                row.append(f"{np.mean(values):.1f}" if values else "-")
            rows.append(row)
        return ["class" if images is None else "class (images)", *self._arms], rows

    def _make_round_table(self):
        rows = []
        for arm, records in self._arms.items():
            for stages in zip(*(record["stages"] for record in records)):
                if len(records[0]["stages"]) > 1:
                    rows.append(
                        [
                            arm,
                            str(stages[0]["round"]),
                            *(
                                _mean([s[key] for s in stages], scale)
                                for key, scale in (
                                    ("miou", 1),
                                    ("fraction", 100),
                                    ("accuracy", 100),
                                )
                            ),
                        ]
                    )
        return ["method", "round", "mIoU", "labelled", "right"], rows

    def _make_choice_table(self):
        rows = []
        for arm, records in self._arms.items():
            for record in records:
                choice = record.get("choice")
                if choice is None:
                    continue
                row = [arm, str(record["seed"])]
                for model in (choice["candidates"][choice[key]] for key in ("chosen", "best")):
                    row += [model["name"], f"{model['miou']:.2f}"]
                rows.append([*row, f"{choice['regret']:.2f}"])
        return ["method", "seed", "selected", "mIoU", "best", "mIoU", "regret"], rows

    def _make_usage_table(self):
        rows = []
        for arm, records in self._arms.items():
            usages = [r["pseudo_label"]["mode_usage"] for r in records]
            if None in usages:
                continue
            total = sum(len(counts) for counts in usages[0].values())
            described = [describe_usage(usage) for usage in usages]
            used, effective = np.mean(described, axis=0)
            rows.append([arm, f"{used:.1f} of {total}", f"{effective:.2f}"])
        return ["method", "modes used", "effective modes a class"], rows

    def _format_commands(self):
        lines = []
        for arm, records in self._arms.items():
            for record in records:
                lines.append(
                    f"# {arm}, seed {record['seed']}: {record['wall_seconds']:.0f} s, "
                    f"finished {record['finished']}, code {record['code']}"
                )
                lines += record["commands"]
        return "```\n" + "\n".join(lines) + "\n```"


def describe_usage(usage: dict[str, Sequence[int]]):
    """Computes how evenly the modes of the classes are used.

    Args:
        usage: by class, the number of pixels of each mode.

    Returns:
        The number of modes used, over all classes, and the mean effective number of modes of the
        classes with pixels (NaN if there is none).
    """
    used, effective = 0, []
    for counts in usage.values():
        total = sum(counts)
        if not total:
            continue
        shares = np.asarray(counts, np.float64) / total
        used += int(np.count_nonzero(shares >= _USED_SHARE))
        effective.append(mode_agreement.count_effective(counts))
    return used, float(np.mean(effective)) if effective else float("nan")


def _list_seeds(records):
    return [record["seed"] for record in records]


def _list_scores(records):
    return [record["miou"] for record in records]


def _list_accuracies(arm, records):
    accuracies = [record["pseudo_label"]["accuracy"] for record in records]
    return None if adaptation_arms.ARMS[arm].on_target or None in accuracies else accuracies


def _format_seeds(seeds):
    return ", ".join(map(str, seeds))


def _format_number(value):
    return "-" if value is None else f"{value:.2f}"


def _format_difference(difference):
    if difference.low is None:
        return f"{difference.mean:+.2f}"
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def _mean(values, scale):
    return "-" if None in values else f"{scale * np.mean(values):.1f}"
