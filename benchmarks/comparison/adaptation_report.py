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
    """The scores of all methods over the same seeds: those done by both CBST and DRSL.

    If either of the two has not run yet, they are the seeds done by all core methods.

    Args:
        setup_name: name of the setup.
        records: by method, a record for each seed done, of one configuration per method.
    """

    def __init__(self, setup_name: str, records: dict[str, list[dict[str, Any]]]):
        self._setup_name = setup_name
        by_seed = {arm: {r["seed"]: r for r in found} for arm, found in records.items() if found}
        core = [arm for arm in by_seed if arm in adaptation_arms.CORE_ARMS] or list(by_seed)
        if set(adaptation_arms.COMPARED_ARMS) <= by_seed.keys():
            core = list(adaptation_arms.COMPARED_ARMS)
        seeds = [set(by_seed[arm]) for arm in core]
        self.seeds = sorted(set.intersection(*seeds)) if seeds else []
        self._arms: dict[str, list[dict[str, Any]]] = {}
        self._incomplete: dict[str, list[int]] = {}
        for arm in adaptation_arms.order_arms(setup_name, tuple(by_seed)) if by_seed else ():
            if set(self.seeds) <= set(by_seed[arm]):
                self._arms[arm] = [by_seed[arm][seed] for seed in self.seeds]
            else:
                self._incomplete[arm] = sorted(by_seed[arm])

    def as_dict(self) -> dict[str, Any]:
        """Returns the content of the JSON file.

        Returns:
            "setup", "seeds" and by method "miou" and "source_stage_miou" (percent) and
            "pseudo_label_accuracy" (fraction at the portion scored; None for the method that uses
            the labels), one number per seed; for a method that selects a model without labels also
            "regret", see `selection_regret`. Methods that lack one of the seeds are in
            "incomplete". "claims" has the differences of `adaptation_arms.CLAIMS`, see
            `bootstrap`, with "p_holm", and "without_rarest" without the class that the fewest
            images hold.
        """
        arms = {}
        for arm, records in self._arms.items():
            accuracies: list[float] | None = [r["pseudo_label"]["accuracy"] for r in records]
            if adaptation_arms.ARMS[arm].on_target or None in accuracies:
                accuracies = None
            arms[arm] = {
                "miou": self._list_scores(arm),
                "source_stage_miou": [record["stages"][0]["miou"] for record in records],
                "pseudo_label_accuracy": accuracies,
            }
            if "choice" in records[0]:
                arms[arm]["regret"] = [record["choice"]["regret"] for record in records]
        return {
            "setup": self._setup_name,
            "seeds": self.seeds,
            "arms": arms,
            "incomplete": self._incomplete,
            "claims": self._claims,
        }

    @functools.cached_property
    def _claims(self) -> list[dict[str, Any]]:
        block = adaptation_arms.find_setup(self._setup_name).block
        claims: list[dict[str, Any]] = []
        for better, than in adaptation_arms.CLAIMS:
            pair = image_counts.read_pair(self._arms.get(better, ()), self._arms.get(than, ()))
            if pair is None:
                continue
            rarest, _ = bootstrap.find_rarest(pair[0])
            found = bootstrap.compare(*pair, block=block)
            others = [np.delete(values, rarest, axis=2) for values in pair]
            claims.append(
                {
                    "better": better,
                    "than": than,
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
        return {arm: self._list_scores(arm) for arm in self._arms}

    def format_markdown(self) -> str:
        """Formats all tables and the commands.

        Returns:
            Markdown.
        """
        parts = [f"# Adaptation: {self._setup_name}"]
        if not self._arms:
            return parts[0] + "\n\nNo seed is complete yet.\n"
        steps = sorted({r["steps"] for records in self._arms.values() for r in records})
        count = len(self.seeds)
        parts.append(
            "Target validation mIoU in percent, last round (or the model selected without labels, "
            f"where the method is that), over {count} seed"
            f"{'' if count == 1 else 's'} ({', '.join(map(str, self.seeds))}); "
            f"{' or '.join(map(str, steps))} training steps in every run. Differences are paired "
            "by seed; in brackets their 95 % t-interval. The gap is that from source only to the "
            "oracle. Pseudo-labels are those of the same model on the target's training images, "
            f"each predicted class labelled at {self._portion:.0%} of its pixels, without a floor."
        )
        parts.append(tables.format_rows(*self._make_summary()))
        if self._incomplete:
            missing = ", ".join(f"{arm} ({len(s)} done)" for arm, s in self._incomplete.items())
            parts.append(f"Not complete, and left out: {missing}.")
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

    def _list_scores(self, arm):
        return [record["miou"] for record in self._arms[arm]]

    def _make_summary(self):
        header = [
            "method",
            "mIoU",
            "sd",
            "difference to CBST",
            "gap closed",
            "pseudo-labels right",
            "fewer errors than CBST",
        ]
        content = self.as_dict()["arms"]
        reference = content.get("cbst")
        means = {arm: np.mean(entry["miou"]) for arm, entry in content.items()}
        rows = []
        for arm, entry in content.items():
            difference = fewer = gap = "-"
            if reference and arm != "cbst":
                difference = _format_difference(
                    paired.compare_pairs(entry["miou"], reference["miou"])
                )
            if {"source_only", "oracle"} <= set(means) and arm not in ("source_only", "oracle"):
                whole = means["oracle"] - means["source_only"]
                gap = f"{(means[arm] - means['source_only']) / whole:.0%}" if whole else "-"
            accuracy = entry["pseudo_label_accuracy"]
            right = "-" if accuracy is None else f"{100 * np.mean(accuracy):.2f}"
            if reference and arm != "cbst" and accuracy and reference["pseudo_label_accuracy"]:
                errors = 1 - np.mean(reference["pseudo_label_accuracy"])
                fewer = f"{1 - (1 - np.mean(accuracy)) / errors:+.0%}" if errors else "-"
            rows.append(
                [
                    adaptation_arms.ARMS[arm].title,
                    f"{means[arm]:.2f}",
                    _format_number(paired.compute_sd(entry["miou"])),
                    difference,
                    gap,
                    right,
                    fewer,
                ]
            )
        return header, rows

    def _describe_claims(self):
        block = adaptation_arms.find_setup(self._setup_name).block
        drawn = "images" if block == 1 else f"blocks of {block} consecutive images"
        few = ""
        if len(self.seeds) < _FEWEST_SEEDS:
            few = f" {len(self.seeds)} seeds are too few for a claim: the intervals are too narrow."
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
            rows.append([methods, whole, f"{claim['p_holm']:.3f}", part])
        return ["methods", "difference", "p", "without the rarest class"], rows

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


def _format_number(value):
    return "-" if value is None else f"{value:.2f}"


def _format_difference(difference):
    if difference.low is None:
        return f"{difference.mean:+.2f}"
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def _mean(values, scale):
    return "-" if None in values else f"{scale * np.mean(values):.1f}"
