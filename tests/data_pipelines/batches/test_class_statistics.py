"""Counts of classes, what is kept of them, and the chances of images made of them."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from data_pipelines.batches import class_statistics
from data_pipelines.batches import training_batches
from data_pipelines.batches.adaptation import read_id_map
from data_pipelines.batches.rare_classes import RareClassSampler
from data_pipelines.domains.domain import Pair
from data_pipelines.domains.folder import Folder
from data_pipelines.errors import UserError
from tests.support import streets

_NAMES = ("road", "car", "train")


def _write_labels(folder, maps):
    pairs = []
    for index, label in enumerate(maps):
        path = str(folder / f"{index}.png")
        Image.fromarray(np.asarray(label, np.uint8)).save(path)
        pairs.append(Pair(f"{index}", "absent.png", path))
    return pairs


def _draw_maps(count=7):
    rng = np.random.default_rng(0)
    return rng.choice([0, 0, 0, 1, 2, 255], size=(count, 5, 9))


def test_counts_are_those_of_the_labels(tmp_path):
    maps = _draw_maps()
    counts = class_statistics.count_pixels(_write_labels(tmp_path, maps), read_id_map, _NAMES)
    expected = [[(label == c).sum() for c in range(3)] for label in maps]
    np.testing.assert_array_equal(counts, expected)


def test_labels_are_read_once_until_they_change(tmp_path):
    pairs = _write_labels(tmp_path, _draw_maps())
    path = str(tmp_path / "kept" / "classes.json")
    opened = []

    def read(label_path):
        opened.append(label_path)
        return read_id_map(label_path)

    first = class_statistics.count_pixels(pairs, read, _NAMES, path=path)
    assert sorted(opened) == sorted(pair.label_path for pair in pairs)
    again = class_statistics.count_pixels(pairs, read, _NAMES, path=path)
    assert len(opened) == len(pairs)
    np.testing.assert_array_equal(first, again)
    content = json.loads(open(path, encoding="utf-8").read())
    assert content["pixels"] == dict(zip(_NAMES, first.sum(axis=0).tolist()))
    assert os.listdir(tmp_path / "kept") == ["classes.json"]  # No partial file is left.

    Image.fromarray(np.full((5, 9), 2, np.uint8)).save(pairs[3].label_path)
    os.utime(pairs[3].label_path, ns=(1, 1))
    changed = class_statistics.count_pixels(pairs, read, _NAMES, path=path)
    assert len(opened) == 2 * len(pairs) and changed[3].tolist() == [0, 0, 45]
    assert class_statistics.count_pixels(pairs[:2], read, _NAMES, path=path).shape == (2, 3)


def test_a_spoilt_file_is_counted_anew(tmp_path):
    pairs = _write_labels(tmp_path, _draw_maps())
    path = str(tmp_path / "classes.json")
    expected = class_statistics.count_pixels(pairs, read_id_map, _NAMES, path=path)
    for content in ("", "{", "[]", '{"images": {"0": [1]}}', '{"images": {"0": [1e999]}}'):
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        counts = class_statistics.count_pixels(pairs, read_id_map, _NAMES, path=path)
        np.testing.assert_array_equal(counts, expected)


def _draw_counts():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 500, (40, 5)) * (rng.uniform(size=(40, 5)) < (0.9, 0.7, 0.5, 0.2, 0))
    counts[:, 0] *= 20
    return counts


@pytest.mark.parametrize("temperature, min_pixels", [(0.01, 1), (0.3, 200)])
def test_chances_are_those_of_drawing_a_class_and_then_an_image(temperature, min_pixels):
    counts = _draw_counts()
    weights = RareClassSampler(temperature=temperature, min_pixels=min_pixels).weigh(counts)
    assert weights.sum() == pytest.approx(1.0)
    share = counts.sum(0) / counts.sum()
    classes = [c for c in range(5) if (counts[:, c] >= min_pixels).any()]
    powers = {c: np.exp((1 - share[c]) / temperature) for c in classes}
    for index, c in np.ndindex(counts.shape):
        expected = 0.0
        if c in classes and counts[index, c] >= min_pixels:
            images = (counts[:, c] >= min_pixels).sum()
            expected = powers[c] / sum(powers.values()) / images
        assert weights[index, c] == pytest.approx(expected)


def test_rare_classes_come_up_more_often_than_they_occur():
    counts = _draw_counts()
    weights = RareClassSampler(temperature=0.05).weigh(counts).sum(axis=1)
    order = training_batches.draw_order(
        4000, num_items=40, seed=0, round_index=0, stream="source", weights=weights
    )
    drawn = (counts[order, 3] > 0).mean()
    assert drawn > 2 * (counts[:, 3] > 0).mean()
    expected = weights[counts[:, 3] > 0].sum()
    assert drawn == pytest.approx(expected, abs=0.03)


def test_without_any_class_images_are_drawn_alike():
    assert RareClassSampler().weigh(np.zeros((3, 4))) is None
    assert RareClassSampler(min_pixels=9).weigh(np.ones((3, 4))) is None


@pytest.mark.parametrize(
    "setting", [{"temperature": 0.0}, {"min_pixels": 0}, {"min_crop_pixels": -1}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(UserError, match=next(iter(setting))):
        RareClassSampler(**setting)


def test_both_streams_are_weighed_and_their_statistics_kept(tmp_path):
    data = streets.make_data(
        streets.render_roots(tmp_path, num_source=4),
        source_sampler=RareClassSampler(),
        target_sampler=RareClassSampler(temperature=1.0),
    )
    data.audit(str(tmp_path / "audit"))
    source = data.make_source_stream()
    counts = class_statistics.count_pixels(
        data.source_pairs, data.source.read_label, data.label_space.class_names
    )
    np.testing.assert_array_equal(source.weights, RareClassSampler().weigh(counts))
    labels = tmp_path / "labels"
    labels.mkdir()
    pairs = _write_labels(labels, [np.full((4, 8), c) for c in (0, 0, 0, 13)])
    target = data.make_target_stream(pairs)
    assert target.image_weights[3] > 2 * target.image_weights[0]
    assert {"classes-source.json", "classes-target.json"} <= set(os.listdir(tmp_path / "audit"))
    with pytest.raises(UserError, match="target_sampler"):
        data.make_unlabelled_target_stream()


def test_other_tables_are_counted_again(tmp_path):
    pairs = _write_labels(tmp_path, [[[0, 1]]])
    path = str(tmp_path / "classes.json")

    def count(**tables):
        domain = Folder(root=str(tmp_path), masks=".", class_names=_NAMES, **tables)
        return class_statistics.count_pixels(
            pairs, domain.read_label, _NAMES, domain=domain, path=path
        ).tolist()

    assert count() == [[1, 1, 0]]
    assert count(id_table={0: 2, 1: 255}) == [[0, 0, 1]]
    colors = {_NAMES[0]: (1, 1, 1), _NAMES[2]: (0, 0, 0)}
    assert count(color_table=colors) == [[1, 0, 1]]
