"""Warnings about a round's pseudo-labels."""

from __future__ import annotations

from drsl_tf.runs.label_report import LabelReport

# A round below this share of the previous one counts as collapsed: this project's choice.
_COLLAPSE = 0.5


def list_warnings(report: LabelReport, previous: LabelReport | None = None) -> list[str]:
    """Compares the report of a round with that of the previous round.

    Args:
        report: as `PseudoLabeler.generate` returns it.
        previous: of the previous round; None for the first round, whose fraction is compared with
            the requested portion.

    Returns:
        One sentence for a labelled fraction of less than half of that, and one for all classes
        that the previous round labelled and this one does not.
    """
    found = []
    name = f"The pseudo-labels of round {report.round}"
    if previous is None:
        expected, source = report.portion, "asked for"
    else:
        expected, source = previous.fraction, "of the round before"
    if report.fraction < _COLLAPSE * expected:
        found.append(
            f"{name} cover {report.fraction:.1%} of the pixels, less than half of the "
            f"{expected:.1%} {source}."
        )
    before = {} if previous is None else previous.pixels
    gone = [key for key, pixels in report.pixels.items() if not pixels and before.get(key)]
    if gone:
        found.append(
            f"{name} hold no pixel of {', '.join(gone)}, which those of the round before did."
        )
    return found
