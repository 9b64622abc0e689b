"""What a round's pseudo-labels warn of."""

from __future__ import annotations

from drsl_tf.runs.label_report import LabelReport

# Below this share of what there was before, a round is said to have collapsed: our choice.
_COLLAPSE = 0.5


def list_warnings(report: LabelReport, previous: LabelReport | None = None) -> list[str]:
    """Compares the report of a round with that of the round before.

    Args:
        report: as `PseudoLabeler.generate` returns it.
        previous: of the round before; None for the first round, whose fraction is compared with
            the portion that was asked for.

    Returns:
        One sentence for a labelled fraction that is less than half of that, and one for all
        classes that the round before labelled and this one does not.
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
