"""Tests of the class subsets over which IoU is averaged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from data_pipelines.labels import label_spaces
from drsl_tf.evaluation import protocols
from drsl_tf.evaluation.confusion import ConfusionMatrix

NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky "
    "person rider car truck bus train motorcycle bicycle"
)
NAMES_19 = [name.replace("_", " ") for name in NAMES.split()]
NAMES_16 = [name for name in NAMES_19 if name not in ("terrain", "truck", "train")]
NAMES_13 = [name for name in NAMES_16 if name not in ("wall", "fence", "pole")]


def _draw_confusion(num_classes, seed=0, missing=()):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 100, (num_classes, num_classes + 1))
    matrix[list(missing)] = 0
    matrix[:, list(missing)] = 0
    return ConfusionMatrix.from_matrix(matrix)


def test_subsets_are_those_of_the_literature():
    subsets = {key: list(names) for key, names in protocols.PROTOCOLS.items()}
    assert subsets == {"19": NAMES_19, "16": NAMES_16, "13": NAMES_13}


@pytest.mark.parametrize("names", [NAMES_19, NAMES_16, NAMES_13])
def test_a_head_is_scored_under_every_subset_of_its_classes(names):
    confusion = _draw_confusion(len(names))
    scores = protocols.score_protocols(confusion, names)
    assert list(scores) == [key for key in ("19", "16", "13") if int(key) <= len(names)]
    iou = dict(zip(names, 100 * confusion.iou()))
    for key, subset in (("19", NAMES_19), ("16", NAMES_16), ("13", NAMES_13)):
        if key in scores:
            entry = scores[key]
            assert list(entry.iou) == subset
            np.testing.assert_allclose(list(entry.iou.values()), [iou[n] for n in subset])
            np.testing.assert_allclose(entry.miou, np.mean([iou[n] for n in subset]))
            assert entry.num_classes == len(subset)
    assert scores[str(len(names))].miou == pytest.approx(100 * confusion.mean_iou())


def test_conventions_are_named():
    conventions = {
        len(names): {
            key: entry.convention
            for key, entry in protocols.score_protocols(_draw_confusion(len(names)), names).items()
        }
        for names in (NAMES_19, NAMES_16, NAMES_13)
    }
    assert conventions == {
        19: {
            "19": "19-way head",
            "16": "19-way head averaged over 16",
            "13": "19-way head averaged over 13",
        },
        16: {"16": "16-way head", "13": "16-way head averaged over 13"},
        13: {"13": "13-way head"},
    }


def test_a_19_way_head_pays_for_the_classes_left_out():
    """Cars taken for trucks cost the car of a 19-way head, also among the 16."""
    matrix = np.zeros((19, 20), np.int64)
    np.fill_diagonal(matrix, 10)
    matrix[NAMES_19.index("car"), NAMES_19.index("truck")] = 10
    scores = protocols.score_protocols(ConfusionMatrix.from_matrix(matrix), NAMES_19)
    assert scores["16"].iou["car"] == 50.0
    assert scores["16"].miou == pytest.approx(100 * 15.5 / 16)


def test_classes_are_found_by_name_and_not_by_position():
    order = np.random.default_rng(0).permutation(19)
    matrix = _draw_confusion(19).matrix
    shuffled = ConfusionMatrix.from_matrix(matrix[order][:, [*order, 19]])
    expected = protocols.score_protocols(ConfusionMatrix.from_matrix(matrix), NAMES_19)
    assert protocols.score_protocols(shuffled, [NAMES_19[i] for i in order]) == expected


def test_a_class_without_iou_is_null_and_counted_out():
    train = NAMES_19.index("train")
    scores = protocols.score_protocols(_draw_confusion(19, missing=[train]), NAMES_19)
    assert scores["19"].iou["train"] is None
    assert scores["19"].num_classes == 18
    assert scores["16"].num_classes == 16
    known = [value for value in scores["19"].iou.values() if value is not None]
    assert scores["19"].miou == pytest.approx(np.mean(known))


def test_scores_are_valid_json_even_of_an_empty_matrix():
    scores = protocols.score_protocols(ConfusionMatrix(19), NAMES_19)
    assert scores["19"].miou is None and scores["19"].num_classes == 0
    content = scores["19"].as_json()
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_other_label_spaces_have_no_protocol():
    names = label_spaces.camvid11().class_names
    assert protocols.score_protocols(_draw_confusion(11), names) == {}
    names = [f"class {i}" for i in range(20)]
    assert protocols.score_protocols(_draw_confusion(20), names) == {}


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="16 class names do not fit .* of 19 classes"):
        protocols.score_protocols(ConfusionMatrix(19), NAMES_16)
