"""Pseudo-labels of a round: what stops them."""

import os
import types

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.domains.camvid import CamVid
from data_pipelines.errors import UserError
from drsl_tf.self_training import pseudo_labeler
from drsl_tf.self_training.label_tally import LabelTally
from drsl_tf.self_training.pseudo_labeler import PseudoLabeler
from drsl_tf.self_training.thresholds import ConfidenceHistogram
from tests.support import data_sets


@pytest.fixture
def generate(tmp_path):
    """Labels two images by a model that is never called, because `predict` is."""
    data_sets.write_camvid(str(tmp_path / "camvid"))
    domain = CamVid(root=str(tmp_path / "camvid"))
    model = types.SimpleNamespace(num_classes=11, multimodal_head=None)

    def generate(predict, monkeypatch, **options):
        monkeypatch.setattr(pseudo_labeler, "ReplicatedFunction", lambda *_: predict)
        PseudoLabeler(**options).generate(
            model,
            tf.distribute.get_strategy(),
            domain,
            domain.list_pairs("train"),
            round_index=1,
            directory=str(tmp_path / "round_1"),
        )

    return generate


def test_a_device_without_memory_is_not_taken_for_a_full_disk(generate, monkeypatch):
    # Both raise errors of the same type.
    memory = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    def predict(_):
        raise memory

    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        generate(predict, monkeypatch)
    assert caught.value is memory


def test_a_file_that_cannot_be_opened_is_named(generate, monkeypatch, tmp_path):
    os.makedirs(tmp_path / "round_1.partial" / ".logits-0")
    monkeypatch.setattr(pseudo_labeler.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(UserError, match=r"\.logits-0 cannot be written: Is a directory"):
        generate(None, monkeypatch)


@pytest.mark.parametrize("passes", ["one", "two"])
def test_predictions_that_are_not_finite_are_named_with_their_images(generate, monkeypatch, passes):
    """Also in the second pass, over images that no threshold comes from."""
    found = []

    def predict(images):
        shape = tuple(images.shape[:3])
        kept = np.zeros((*shape, 11), np.float16)
        found.append(shape)
        if passes == "two" and len(found) == 1:
            return kept, np.full(shape, 0.5, np.float32), np.zeros(shape, np.int32)
        kept[-1, 0, 0, 5] = np.inf
        return (kept, None, None) if passes == "one" else (kept,)

    options = {"threshold_images": 1} if passes == "two" else {}
    with pytest.raises(UserError, match="not finite for these images: .*mixed_bfloat16") as caught:
        generate(predict, monkeypatch, **options)
    assert len(found) == (2 if passes == "two" else 1)
    # Of the images of a batch the one is named.
    assert "," not in str(caught.value).partition("images: ")[2].partition(".")[0]


@pytest.mark.parametrize(
    "option, value",
    [
        ("portion_step", -0.1),
        ("num_bins", 0),
        ("portion", 0.6),
        ("rule", "best"),
        ("size", 512),
        ("size", (512,)),
        ("size", (0, 512)),
        ("size", (512.0, 1024)),
    ],
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(UserError, match=f"PseudoLabeler.*{option}"):
        PseudoLabeler(**{option: value})


def test_shares_are_estimated_where_the_histogram_is_of_a_sample():
    tally = LabelTally(2)
    tally.add(np.uint8([[0, 0, 1, 255], [0, 0, 1, 255]]), None)
    histogram = ConfidenceHistogram(2)
    # Of four pixels of the sample three are predicted as "a": about six of all eight.
    histogram.update(np.full(4, 0.5), np.array([0, 0, 0, 1]))
    found = tally.as_dict(["a", "b"], histogram)
    assert found["fractions"] == {"a": pytest.approx(4 / 6), "b": pytest.approx(1.0)}
    assert found["fraction"] == 6 / 8 and found["accuracy"] is None
