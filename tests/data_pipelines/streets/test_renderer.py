"""The renderer: determinism, styles that share labels, what streets hold, the frozen styles."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from data_pipelines.errors import UserError
from data_pipelines.streets import renderer
from data_pipelines.streets.plan import draws
from data_pipelines.streets.plan import looks
from data_pipelines.streets.plan import scene
from tests.support import calls

SIZE = (64, 128)


@pytest.fixture(scope="module")
def labels():
    """The labels of 120 scenes."""
    return np.stack([renderer.render_scene(11, index, SIZE, "game")[1] for index in range(120)])


@pytest.mark.parametrize("style", renderer.STYLES)
def test_scene_has_its_size_and_types(style):
    image, label = renderer.render_scene(1, 2, SIZE, style)
    assert image.shape == SIZE + (3,) and image.dtype == np.uint8
    assert label.shape == SIZE and label.dtype == np.uint8
    assert set(np.unique(label)) <= set(range(19)) | {255}
    assert image.std() > 20


@pytest.mark.parametrize("style", renderer.STYLES)
def test_styles_are_frozen(style):
    assert renderer.style_fingerprint(style) == renderer.FINGERPRINTS[style]


def test_same_arguments_same_pixels_in_another_process():
    code = (
        "import hashlib; from data_pipelines.streets import renderer\n"
        "for style in renderer.STYLES:\n"
        "    image, label = renderer.render_scene(4, 9, (64, 128), style)\n"
        "    print(hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest())"
    )
    found = calls.read_output("-c", code).split()
    for style, digest in zip(renderer.STYLES, found):
        image, label = renderer.render_scene(4, 9, SIZE, style)
        assert hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest() == digest


def test_styles_share_everything_but_the_picture():
    for index in range(6):
        game = renderer.render_layers(2, index, SIZE, "game")
        camera = renderer.render_layers(2, index, SIZE, "camera")
        assert (game.label == camera.label).all()
        assert (game.instance == camera.instance).all()
        assert (game.void_kind == camera.void_kind).all()
        assert np.abs(game.image.astype(int) - camera.image).mean() > 10


def test_other_index_or_seed_is_another_scene():
    base = renderer.render_scene(2, 0, SIZE, "game")[1]
    for seed, index in ((2, 1), (3, 0)):
        assert (renderer.render_scene(seed, index, SIZE, "game")[1] != base).mean() > 0.05


@pytest.mark.parametrize("size", [(32, 32), (37, 101), (150, 60), (90, 120)])
@pytest.mark.parametrize("style", renderer.STYLES)
def test_any_size_renders(size, style):
    image, label = renderer.render_scene(5, 3, size, style)
    assert image.shape == size + (3,) and label.shape == size


def test_the_same_street_at_another_size():
    # The label is a picture of one scene, not of the pixel grid.
    small = renderer.render_scene(7, 1, (64, 128), "game")[1]
    large = renderer.render_scene(7, 1, (128, 256), "game")[1][::2, ::2]
    assert (small == large).mean() > 0.9


def test_every_class_is_there_at_a_plausible_share(labels):
    valid = labels[labels != 255]
    share = np.bincount(valid, minlength=19) / valid.size
    assert (share > 0).all()
    bounds = {
        0: (0.24, 0.36),
        1: (0.03, 0.09),
        2: (0.15, 0.28),
        8: (0.07, 0.18),
        10: (0.08, 0.2),
        11: (0.005, 0.02),
        13: (0.04, 0.11),
        5: (0.007, 0.025),
    }
    for class_id, (low, high) in bounds.items():
        assert low < share[class_id] < high, class_id
    assert 0.005 < (labels == 255).mean() < 0.06


def test_layout_of_a_street(labels):
    # Sky above, road below; nobody walks in the sky.
    height = labels.shape[1]
    assert (labels[:, : height // 8] == 0).sum() == 0
    assert (labels[:, -height // 4 :] == 10).sum() == 0
    bottom = labels[:, -height // 4 :]
    assert (bottom[bottom != 255] == 0).mean() > 0.5


def test_void_is_the_hood_or_things_without_a_class():
    kinds = set()
    for index in range(12):
        found = renderer.render_layers(3, index, SIZE, "game")
        assert ((found.label == 255) == (found.void_kind > 0)).all()
        assert (found.instance[found.void_kind == 250] == 0).all()
        kinds |= set(np.unique(found.void_kind))
    assert kinds == {0, 250, 251}


def test_instances_belong_to_things():
    found = renderer.render_layers(3, 1, SIZE, "game")
    stuff = np.isin(found.label, (0, 1, 2, 3, 8, 9, 10))
    assert (found.instance[stuff] == 0).all()
    things = np.isin(found.label, (11, 12, 13, 14, 15, 16, 17, 18))
    assert (found.instance[things] > 0).all()


def test_classes_have_several_looks():
    found = {}
    for index in range(60):
        plan = scene.sample_scene(draws.Draws(1, index, 0))
        for thing in plan.things:
            found.setdefault(thing.kind, set()).add(thing.look)
        for sign in (-1, 1):
            for lot in plan.street.side(sign).lots:
                for house in lot.buildings:
                    found.setdefault("building", set()).add(house.look)
    for kind, count in {
        "car": 6,
        "building": 6,
        "person": 5,
        "sign": 5,
        "tree": 5,
        "bus": 3,
        "truck": 3,
        "pole": 3,
        "light": 3,
        "rider": 3,
        "bicycle": 3,
    }.items():
        assert len(found[kind]) == count, kind
    assert looks.count_looks("facade") == 6
    assert looks.count_looks("leaf") == 6


def test_both_styles_have_the_same_looks_in_other_colours():
    for material, (game, camera) in looks._COLOURS.items():
        assert len(game) == len(camera), material
        colour = looks.find_colour("game", material, 0, 0.3)
        assert colour.shape == (3, 1, 1) and colour.dtype == np.float32
        assert (colour != looks.find_colour("camera", material, 0, 0.3)).any(), material


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((1, 0, SIZE, "film"), "game, camera"),
        ((1, 0, (16, 128), "game"), "at least 32"),
        ((1, 0, (9000, 9000), "game"), "at most"),
        ((-1, 0, SIZE, "game"), "negative"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(UserError, match=words):
        renderer.render_scene(*arguments)
