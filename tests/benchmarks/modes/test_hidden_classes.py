"""Modes of a model against hidden classes, against a loop over the pixels."""

import numpy as np
import pytest

from benchmarks.modes import hidden_classes
from benchmarks.modes import mode_agreement
from data_pipelines.domains.domain import Pair
from data_pipelines.labels.label_spaces import IGNORE_ID
from data_pipelines.labels.label_spaces import custom
from drsl_tf.models.inference import Inference
from tests.support import toys

_SIZE = (40, 52)  # Not a multiple of the network's strides.
_CLASSES = custom(name="classes", class_names=[f"class {i}" for i in range(10)])
_CATEGORIES = custom(name="categories", class_names=[f"category {i}" for i in range(5)])
_PAIRS = [Pair(str(i), str(i), str(i)) for i in range(3)]
# Class i belongs to category i // 2; the last class is ignored.
_TO_CATEGORY = np.full(256, IGNORE_ID, np.int16)
_TO_CATEGORY[:9] = np.arange(9) // 2


class _Domain:
    """Draws an image and a label for each name."""

    def read_image(self, path):
        return self._draw(path).integers(0, 256, (*_SIZE, 3)).astype(np.uint8)

    def read_label(self, path):
        blocks = self._draw(path).integers(0, 11, (10, 13))
        label = np.where(blocks == 10, IGNORE_ID, blocks).astype(np.uint8)
        return label.repeat(4, axis=0).repeat(4, axis=1)

    def _draw(self, path):
        return np.random.default_rng(int(path))


@pytest.fixture(scope="module")
def model():
    return toys.make_model()


@pytest.fixture(scope="module")
def reader(model):
    return hidden_classes.PixelReader(model, _TO_CATEGORY, Inference(batch_size=2))


def _read_naively(model):
    """Returns (category, class, mode, is right) of every pixel, image by image."""
    domain, stride = _Domain(), model.embedding_stride
    modes = model.multimodal_head.modes.numpy()
    for pair in _PAIRS:
        image, label = domain.read_image(pair.name), domain.read_label(pair.name)
        multiple = model.size_multiple
        margins = [(0, -n % multiple) for n in _SIZE]
        padded = np.pad(image.astype(np.float32), [*margins, (0, 0)], constant_values=127.5)
        features = model.base(padded[np.newaxis])["features"].numpy()[0]
        outputs = {k: v.numpy()[0] for k, v in model(padded[np.newaxis], training=False).items()}
        assert outputs["logits"].shape[:2] == outputs["embedding"].shape[:2]
        for row, column in np.ndindex(outputs["embedding"].shape[:2]):
            y, x = row * stride + stride // 2, column * stride + stride // 2
            if y >= _SIZE[0] or x >= _SIZE[1] or _TO_CATEGORY[label[y, x]] == IGNORE_ID:
                continue
            category = _TO_CATEGORY[label[y, x]]
            nearest = np.argmax(modes[category] @ outputs["embedding"][row, column])
            right = np.argmax(outputs["logits"][row, column]) == category
            cell = features[row, column].tolist()
            yield int(category), int(label[y, x]), int(nearest), bool(right), cell


def test_pixels_are_those_of_a_loop(model, reader):
    expected = sorted(_read_naively(model))
    found = []
    for pixels in reader.read(_Domain(), _PAIRS, "reading"):
        found += zip(*(array.tolist() for array in pixels))
    found.sort()
    assert [pixel[:4] for pixel in found] == [pixel[:4] for pixel in expected]
    assert len(expected) > 50
    np.testing.assert_allclose([p[4] for p in found], [p[4] for p in expected], atol=1e-5)


def test_the_measurement_counts_these_pixels(model, reader):
    splits = {"source": (_Domain(), _PAIRS[:1]), "target": (_Domain(), _PAIRS)}
    found = hidden_classes.measure(reader, splits, 2, 2, (_CATEGORIES, _CLASSES))
    pixels = zip(*_read_naively(model))
    categories, classes, modes, right, _ = (np.array(each) for each in pixels)
    table = mode_agreement.count_pixels(categories, modes, classes, (5, 2, 10))
    for index, name in enumerate(_CATEGORIES.class_names):
        entry = found["target"]["categories"][name]
        assert entry["usage"] == table[index].sum(axis=1).tolist()
        if index < 4:
            expected = mode_agreement.compute_agreement(table[index])
            assert entry["nmi"] == pytest.approx(expected["nmi"])
        usage = found["right"]["categories"].get(name, {"usage": [0]})["usage"]
        assert sum(usage) == np.sum(right & (categories == index))
        clusters = found["kmeans"]["categories"][name]["usage"]
        assert len(clusters) == len(entry["usage"]) == 2 and sum(clusters) == sum(entry["usage"])
    assert sum(map(lambda e: sum(e["usage"]), found["source"]["categories"].values())) < len(modes)
    again = hidden_classes.measure(reader, splits, 2, 2, (_CATEGORIES, _CLASSES))
    assert again == found
