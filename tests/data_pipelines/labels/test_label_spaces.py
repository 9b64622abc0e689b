"""Label spaces and tables, against lists of names written apart from them."""

from __future__ import annotations

import itertools

import gin
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels

from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from data_pipelines.labels import label_tables

TRAIN_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
NOT_IN_16 = {"terrain", "truck", "train"}
NOT_IN_13 = NOT_IN_16 | {"wall", "fence", "pole"}

# From the README of SYNTHIA-RAND-CITYSCAPES, in the words of Cityscapes; None for what it lacks.
SYNTHIA_NAMES = {
    0: None, 1: "sky", 2: "building", 3: "road", 4: "sidewalk", 5: "fence", 6: "vegetation",
    7: "pole", 8: "car", 9: "traffic sign", 10: "person", 11: "bicycle", 12: "motorcycle",
    13: None, 14: None, 15: "traffic light", 16: "terrain", 17: "rider", 18: "truck", 19: "bus",
    20: "train", 21: "wall", 22: None,
}  # fmt: skip

CAMVID_NAMES = {
    "sky": ["sky"],
    "building": ["building", "wall"],
    "pole": ["pole"],
    "road": ["road"],
    "pavement": ["sidewalk"],
    "tree": ["vegetation", "terrain"],
    "sign_symbol": ["traffic sign", "traffic light"],
    "fence": ["fence"],
    "car": ["car", "truck", "bus", "train"],
    "pedestrian": ["person"],
    "bicyclist": ["rider", "bicycle", "motorcycle"],
}

# labelId -> trainId as in the recipe tables, void ids apart.
RECIPE_LABEL_IDS = (
    "7:0 8:1 11:2 12:3 13:4 17:5 19:6 20:7 21:8 22:9 23:10 24:11 25:12 26:13 27:14 28:15 31:16 "
    "32:17 33:18"
)
RECIPE_SYNTHIA_IDS = (
    "3:0 4:1 2:2 21:3 5:4 7:5 15:6 9:7 6:8 16:9 1:10 10:11 17:12 8:13 18:14 19:15 20:16 12:17 11:18"
)


def parse_recipe(text):
    return {int(key): int(value) for key, value in (entry.split(":") for entry in text.split())}


def drop_ignored(table):
    return {key: value for key, value in table.items() if value != 255}


def test_classes_of_the_declared_spaces():
    assert label_spaces.cityscapes19().class_names == TRAIN_NAMES
    assert label_spaces.synthia16().class_names == tuple(
        name for name in TRAIN_NAMES if name not in NOT_IN_16
    )
    assert label_spaces.cityscapes13().class_names == tuple(
        name for name in TRAIN_NAMES if name not in NOT_IN_13
    )
    assert label_spaces.camvid11().class_names == tuple(CAMVID_NAMES)
    counts = {name: make().num_classes for name, make in label_spaces.DECLARED_SPACES.items()}
    assert counts == {
        "cityscapes19": 19,
        "synthia16": 16,
        "cityscapes13": 13,
        "cityscapes7": 7,
        "camvid11": 11,
    }
    for name, make in label_spaces.DECLARED_SPACES.items():
        assert make().name == name
        assert make() == make()
        assert len(set(make().palette)) == make().num_classes


def test_cityscapes_against_the_official_labels():
    table = label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19
    # License plates have the trainId -1 there, which no 8-bit file can hold: they are ignored.
    expected = {label.id: 255 if label.trainId == -1 else label.trainId for label in labels}
    assert table == expected
    space = label_spaces.cityscapes19()
    for label in labels:
        if label.trainId not in (-1, 255):
            assert space.class_names[label.trainId] == label.name
            assert space.palette[label.trainId] == label.color


def test_categories_against_the_official_labels():
    space = label_spaces.cityscapes7()
    evaluated = [label for label in labels if label.trainId not in (-1, 255)]
    expected = {label.trainId: space.class_names.index(label.category) for label in evaluated}
    assert label_tables.CITYSCAPES19_TO_CITYSCAPES7 == {**expected, 255: 255}
    assert set(expected.values()) == set(range(7))


def test_cityscapes_and_gta5_label_ids():
    table = label_tables.CITYSCAPES_LABEL_ID_TO_CITYSCAPES19
    assert sorted(table) == list(range(-1, 34))
    assert drop_ignored(table) == parse_recipe(RECIPE_LABEL_IDS)
    assert label_tables.GTA5_LABEL_ID_TO_CITYSCAPES19 == {**table, 34: 255}


def test_synthia_ids_name_by_name():
    table = label_tables.SYNTHIA_ID_TO_CITYSCAPES19
    assert sorted(table) == list(range(23)) == sorted(SYNTHIA_NAMES)
    for raw, name in SYNTHIA_NAMES.items():
        assert table[raw] == (255 if name is None else TRAIN_NAMES.index(name)), raw
    assert drop_ignored(table) == parse_recipe(RECIPE_SYNTHIA_IDS)


def test_identity_tables():
    identity = {index: index for index in range(19)}
    assert label_tables.CITYSCAPES_TRAIN_ID_TO_CITYSCAPES19 == {**identity, 255: 255}
    identity = {index: index for index in range(11)}
    assert label_tables.CAMVID_ID_TO_CAMVID11 == {**identity, 255: 255}


@pytest.mark.parametrize(
    "table, names",
    [
        (label_tables.CITYSCAPES19_TO_SYNTHIA16, NOT_IN_16),
        (label_tables.CITYSCAPES19_TO_CITYSCAPES13, NOT_IN_13),
    ],
)
def test_subsets_keep_names_and_order(table, names):
    kept = [name for name in TRAIN_NAMES if name not in names]
    assert sorted(table) == [*range(19), 255]
    for index, name in enumerate(TRAIN_NAMES):
        assert table[index] == (255 if name in names else kept.index(name)), name
    assert table[255] == 255


def test_camvid_name_by_name():
    table = label_tables.CITYSCAPES19_TO_CAMVID11
    assert sorted(table) == [*range(19), 255]
    expected = {
        TRAIN_NAMES.index(name): index
        for index, names in enumerate(CAMVID_NAMES.values())
        for name in names
    }
    assert drop_ignored(table) == expected
    assert len(expected) == 19


def test_synthia16_back_to_cityscapes19():
    there = label_tables.CITYSCAPES19_TO_SYNTHIA16
    back = label_tables.SYNTHIA16_TO_CITYSCAPES19
    assert sorted(back) == [*range(16), 255]
    assert label_spaces.compose(back, there) == {**{i: i for i in range(16)}, 255: 255}


@pytest.mark.parametrize(
    "start, end",
    [
        pair
        for pair in itertools.product(("cityscapes19", "synthia16", "cityscapes13"), repeat=2)
        if pair[0] != "cityscapes13" or pair[1] == "cityscapes13"
    ],
)
def test_convert_goes_by_name(start, end):
    start, end = label_spaces.DECLARED_SPACES[start](), label_spaces.DECLARED_SPACES[end]()
    table = label_spaces.convert(start, end)
    assert sorted(table) == [*range(start.num_classes), 255]
    for index, name in enumerate(start.class_names):
        expected = end.class_names.index(name) if name in end.class_names else 255
        assert table[index] == expected, name
    assert table[255] == 255


def test_convert_composes_to_camvid():
    table = label_spaces.convert(label_spaces.synthia16(), label_spaces.camvid11())
    names = label_spaces.synthia16().class_names
    for index, name in enumerate(names):
        target = label_spaces.camvid11().class_names[table[index]]
        assert name in CAMVID_NAMES[target]


def test_convert_without_a_table_is_an_error():
    mine = label_spaces.custom(name="mine", class_names=["a", "b"])
    for start, end in (
        (label_spaces.camvid11(), label_spaces.cityscapes19()),
        (mine, label_spaces.cityscapes19()),
        (label_spaces.cityscapes19(), mine),
    ):
        with pytest.raises(UserError, match=f"{start.name}.*{end.name}"):
            label_spaces.convert(start, end)
    same = label_spaces.custom(name="other", class_names=["a", "b"])
    assert label_spaces.convert(mine, same) == {0: 0, 1: 1, 255: 255}


def test_compose_keeps_ignored():
    assert label_spaces.compose({0: 1, 5: 255, -1: 0}, {0: 3, 1: 255}) == {0: 255, 5: 255, -1: 3}


@pytest.mark.parametrize("size", [256, 65536])
def test_lookup_table(size):
    table = {-1: 255, 0: 7, 3: 255}
    lookup = label_spaces.lookup_table(table, size)
    assert lookup.dtype == np.int16 and lookup.shape == (size,)
    expected = np.full(size, -1)
    expected[[0, 3, size - 1]] = [7, 255, 255]
    np.testing.assert_array_equal(lookup, expected)


@pytest.mark.parametrize("entry", [{256: 0}, {-129: 0}, {0: -1}, {0: 256}])
def test_lookup_table_refuses_what_does_not_fit(entry):
    with pytest.raises(UserError, match="id table"):
        label_spaces.lookup_table(entry, 256)


def test_custom_space():
    space = label_spaces.custom(name="mine", class_names=["a", "b"], palette=[[1, 2, 3], [4, 5, 6]])
    assert space == label_spaces.LabelSpace("mine", ("a", "b"), ((1, 2, 3), (4, 5, 6)))
    assert hash(space) == hash(label_spaces.custom(
        name="mine", class_names=("a", "b"), palette=((1, 2, 3), (4, 5, 6))
    ))  # fmt: skip
    assert space.num_classes == 2
    many = label_spaces.custom(name="many", class_names=[str(i) for i in range(255)])
    assert len(set(many.palette)) == 255
    assert many.palette[:2] == label_spaces.custom(name="x", class_names=["p", "q"]).palette


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"class_names": []}, "0 classes"),
        ({"class_names": [str(i) for i in range(256)]}, "256 classes"),
        ({"class_names": ["a", "b", "a"]}, "twice: a"),
        ({"class_names": "ab"}, "list of names"),
        ({"class_names": ["a"], "palette": [(0, 0, 0), (1, 1, 1)]}, "2 colours"),
        ({"class_names": ["a"], "palette": [(0, 0)]}, "three numbers"),
        ({"class_names": ["a"], "palette": [(0, 0, 256)]}, "three numbers"),
        ({"class_names": ["a"], "name": "cityscapes19"}, "declared already"),
    ],
)
def test_custom_space_refuses(arguments, words):
    with pytest.raises(UserError, match=words):
        label_spaces.custom(**{"name": "mine", **arguments})


@pytest.mark.parametrize(
    "names", [{"road": 2, "sky": 0, "ground": 1}, {2: "road", 0: "sky", 1: "ground"}]
)
def test_class_names_as_a_dict_either_way_round(names):
    assert label_spaces.custom(name="mine", class_names=names) == label_spaces.custom(
        name="mine", class_names=["sky", "ground", "road"]
    )


@pytest.mark.parametrize(
    "names",
    [
        {"road": 2, "sky": 0},
        {0: "sky", 2: "road"},
        {1: "sky", 2: "road"},
        {"road": 0, "sky": 0},
        {"0": "sky", "1": "road"},
        {0: 1, 1: 0},
        {"road": [0], "sky": [1]},
        {},
        {"sky", "road"},
        7,
    ],
)
def test_class_names_whose_order_is_not_plain_are_refused(names):
    with pytest.raises(UserError, match="every id from 0 to|give a list of names|between 1 and"):
        label_spaces.custom(name="mine", class_names=names)


def test_spaces_come_from_gin():
    config = """
        from __gin__ import dynamic_registration
        from data_pipelines.labels import label_spaces
        from data_pipelines.domains import cityscapes
        cityscapes.Cityscapes:
            root = "data/cityscapes"
            label_space = @label_spaces.synthia16()
    """
    from data_pipelines.domains import cityscapes

    gin.parse_config(config)
    domain = gin.get_configurable(cityscapes.Cityscapes)()
    assert domain.label_space == label_spaces.synthia16()
    assert domain.root == "data/cityscapes"
