"""The regret of choices without labels, on a run made by hand."""

import pytest

from benchmarks.selection import selection_regret
from drsl_tf.runs.results_schema import LabelFreeScores
from drsl_tf.runs.results_schema import Stage


def _make_scores(agreement):
    return LabelFreeScores(
        images=1, pixels={"road": 60, "car": 40}, agreement={"mirrored": dict.fromkeys(
            ("road", "car"), agreement)}, entropies={"road": 0.0, "car": 0.0}, entropy=0.0,
        marginal_entropy=0.5, density=1.0,
    )  # fmt: skip


def _make_stage(round_index, miou, agreement, statistics=None):
    with_statistics = None if statistics is None else _make_scores(statistics)
    return Stage(
        round=round_index, miou=miou, iou={"road": miou, "car": miou}, pseudo_label=None,
        seconds=1.0, label_free=_make_scores(agreement), label_free_with_statistics=with_statistics,
    )  # fmt: skip


def test_regret_is_the_best_miou_minus_that_of_the_selected_model():
    # The score prefers round 2, the labels round 1.
    stages = [_make_stage(0, 40.0, 0.5), _make_stage(1, 46.0, 0.6), _make_stage(2, 44.5, 0.7)]
    found = selection_regret.compare_choice(stages, None)
    assert (found["chosen"], found["best"], found["regret"]) == (2, 1, 1.5)
    assert found["candidates"][1] == {
        "name": "round 1", "score": pytest.approx(0.6), "miou": 46.0
    }  # fmt: skip
    found = selection_regret.compare_choice(stages[:2], None)
    assert (found["chosen"], found["best"], found["regret"]) == (1, 1, 0.0)


def test_batch_statistics_of_the_target_are_a_candidate_of_their_own():
    stages = [_make_stage(0, 40.0, 0.5, statistics=0.8), _make_stage(1, 46.0, 0.6)]
    found = selection_regret.compare_choice(stages, 37.0)
    assert [each["miou"] for each in found["candidates"]] == [40.0, 37.0, 46.0]
    assert (found["chosen"], found["best"], found["regret"]) == (1, 2, 9.0)
