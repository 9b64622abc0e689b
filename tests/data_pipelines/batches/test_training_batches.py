"""A batch is a function of (seed, round, step), however the stage is cut up."""

import numpy as np
import pytest

from data_pipelines.batches import training_batches
from data_pipelines.batches.augment import Augmenter
from data_pipelines.batches.training_batches import Shard
from data_pipelines.domains.domain import Pair

_SIZE = (8, 12)


def _make_stream(num_items=5, batch_size=4, weights=None):
    pairs = [Pair(f"{i}", f"image{i}", f"label{i}") for i in range(num_items)]

    def read_image(path):
        return np.full((*_SIZE, 3), int(path[len("image") :]), np.uint8)

    def read_label(path):
        return np.full(_SIZE, int(path[len("label") :]), np.uint8)

    return training_batches.Stream(
        pairs=pairs,
        read_image=read_image,
        read_label=read_label,
        augmenter=Augmenter(size=_SIZE, brightness=0.3),
        batch_size=batch_size,
        weights=weights,
    )


def _collect(**arguments):
    options = {"steps": 6, "seed": 3, "round_index": 1, **arguments}
    batches = training_batches.make_training_batches(_make_stream(), _make_stream(7), **options)
    return list(batches.as_numpy_iterator())


def _assert_equal(batch, other):
    for half in ("source", "target"):
        for key in ("image", "label"):
            np.testing.assert_array_equal(batch[half][key], other[half][key])


def test_contract_of_a_batch():
    batch = _collect()[0]
    for half in ("source", "target"):
        assert batch[half]["image"].shape == (4, *_SIZE, 3)
        assert batch[half]["image"].dtype == np.float32
        assert batch[half]["label"].shape == (4, *_SIZE)
        assert batch[half]["label"].dtype == np.int32


def test_a_resumed_stage_goes_on_with_the_same_batches():
    whole = _collect()
    rest = _collect(start_step=4)
    assert len(whole) == 6 and len(rest) == 2
    for batch, other in zip(whole[4:], rest):
        _assert_equal(batch, other)


def test_replicas_share_the_batch_of_one():
    whole = _collect()
    parts = _collect(shard=Shard(2, range(2)))
    assert len(parts) == 12
    for step, batch in enumerate(whole):
        for half in ("source", "target"):
            joined = np.concatenate([p[half]["image"] for p in parts[2 * step : 2 * step + 2]])
            np.testing.assert_array_equal(batch[half]["image"], joined)


def test_workers_get_what_replicas_of_one_worker_get():
    together = _collect(shard=Shard(2, range(2)))
    second = _collect(shard=Shard(2, range(1, 2)))
    for batch, other in zip(together[1::2], second):
        _assert_equal(batch, other)


def test_labels_of_another_size_lie_on_their_image():
    """Pseudo-labels made at half size: each of their pixels covers four of the image's."""
    size = (32, 48)
    rng = np.random.default_rng(0)
    small = rng.integers(0, 19, (size[0] // 2, size[1] // 2)).astype(np.uint8)
    large = small.repeat(2, axis=0).repeat(2, axis=1)
    image = np.repeat(large[..., np.newaxis], 3, axis=2)

    def collect(label):
        stream = training_batches.Stream(
            pairs=[Pair("scene", "image", "label")],
            read_image=lambda _: image,
            read_label=lambda _: label,
            augmenter=Augmenter(size=(16, 24), resize=size),
            batch_size=1,
        )
        batches = training_batches.make_training_batches(
            stream, stream, steps=4, seed=0, round_index=1
        )
        return [batch["target"] for batch in batches.as_numpy_iterator()]

    for found, expected in zip(collect(small), collect(large)):
        np.testing.assert_array_equal(found["label"], expected["label"])
        np.testing.assert_array_equal(found["image"][..., 0], found["label"])


def test_rounds_and_seeds_differ():
    first, other_round, other_seed = _collect(), _collect(round_index=2), _collect(seed=4)
    for other in (other_round, other_seed):
        assert any(
            np.any(a["source"]["image"] != b["source"]["image"]) for a, b in zip(first, other)
        )


def test_the_source_stage_has_an_empty_target_half():
    batches = training_batches.make_training_batches(
        _make_stream(), None, steps=2, seed=0, round_index=0
    )
    for batch in batches.as_numpy_iterator():
        assert batch["target"]["image"].shape == (0, *_SIZE, 3)
        assert batch["target"]["label"].shape == (0, *_SIZE)


def test_every_epoch_holds_every_item_once():
    order = training_batches.draw_order(21, num_items=7, seed=0, round_index=0, stream="source")
    for epoch in order.reshape(3, 7):
        assert sorted(epoch) == list(range(7))
    assert not np.array_equal(order[:7], order[7:14])


def test_weights_draw_in_proportion():
    order = training_batches.draw_order(
        4000, num_items=4, seed=0, round_index=0, stream="source", weights=np.array([0, 1, 1, 2])
    )
    share = np.bincount(order, minlength=4) / 4000
    # Four standard errors of a share drawn 4000 times.
    np.testing.assert_allclose(share, [0, 0.25, 0.25, 0.5], atol=4 * 0.5 / 4000**0.5)


def test_classes_are_drawn_for_each_image_in_proportion():
    weights = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 3.0]])
    order = np.arange(4000) % 2
    arguments = {"seed": 0, "round_index": 0, "stream": "source"}
    classes = training_batches.draw_classes(order, weights, **arguments)
    assert set(classes[order == 0]) == {1}
    assert (classes[order == 1] == 2).mean() == pytest.approx(0.75, abs=0.04)
    assert set(classes[order == 1]) == {0, 2}
    fewer = training_batches.draw_classes(order[:100], weights, **arguments)
    np.testing.assert_array_equal(fewer, classes[:100])


def _draw_crops(label, weights, min_crop_pixels):
    """Draws the labels of 64 crops from four images of the same label."""
    stream = training_batches.Stream(
        pairs=[Pair(f"{i}", "image", "label") for i in range(4)],
        read_image=lambda path: np.zeros((*label.shape, 3), np.uint8),
        read_label=lambda path: label,
        augmenter=Augmenter(size=_SIZE),
        batch_size=4,
        weights=weights,
        min_crop_pixels=min_crop_pixels,
    )
    batches = training_batches.make_training_batches(stream, None, steps=16, seed=1, round_index=0)
    return np.concatenate([b["source"]["label"] for b in batches.as_numpy_iterator()])


def test_crops_show_the_class_that_their_image_was_drawn_for():
    """Of two classes in the corners of every image, each crop shows the drawn one."""
    label = np.zeros((24, 36), np.uint8)
    label[:6, :6], label[-6:, -6:] = 1, 2
    weights = np.tile([0.0, 0.5, 0.5], (4, 1)) / 4

    def count(min_crop_pixels):
        crops = _draw_crops(label, weights, min_crop_pixels)
        order = training_batches.draw_order(
            64, num_items=4, seed=1, round_index=0, stream="source", weights=weights.sum(axis=1)
        )
        classes = training_batches.draw_classes(
            order, weights, seed=1, round_index=0, stream="source"
        )
        return np.array([(crop == c).sum() for crop, c in zip(crops, classes)])

    # One crop in about ten shows a corner; ten redraws find most.
    assert (count(5) > 5).mean() > 2 * (count(0) > 5).mean() > 0


def test_crops_of_images_drawn_for_no_class_are_not_searched():
    label = np.ones((24, 36), np.uint8)
    label[:6, :6] = 0
    np.testing.assert_array_equal(_draw_crops(label, None, 5), _draw_crops(label, None, 0))


def test_a_batch_is_named_as_it_was_drawn():
    stream = _make_stream()
    batches = training_batches.make_training_batches(stream, None, steps=3, seed=9, round_index=2)
    for step, batch in enumerate(batches.as_numpy_iterator()):
        named = training_batches.list_batch(stream, "source", step=step, seed=9, round_index=2)
        assert [int(p.name) for p in named] == batch["source"]["label"][:, 0, 0].tolist()


def test_uneven_replicas_are_refused():
    with pytest.raises(ValueError, match="3 replicas"):
        _collect(shard=Shard(3, range(3)))


def test_no_pipeline_is_autotuned():
    """Its thread would delay the end of a stage."""
    batches = training_batches.make_training_batches(
        _make_stream(), None, steps=2, seed=0, round_index=0
    )
    assert batches.options().autotune.enabled is False
