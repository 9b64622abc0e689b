"""Every reader on its own layout: pairs, names, ids, missing data; and readers under tf.data."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from data_pipelines import domains
from data_pipelines.errors import UserError
from data_pipelines.labels import label_spaces
from tests.support import data_sets

LABELLED_SPLIT = {"dark_zurich": "val"}
WRITERS = {
    "gta5": data_sets.write_gta5,
    "synthia": data_sets.write_synthia,
    "cityscapes": data_sets.write_cityscapes,
    "camvid": data_sets.write_camvid,
    "acdc": data_sets.write_acdc,
    "dark_zurich": data_sets.write_dark_zurich,
    "bdd100k": data_sets.write_bdd100k,
    "idd": data_sets.write_idd,
    "mapillary": data_sets.write_mapillary,
}
LABEL_FOLDERS = {
    "gta5": "labels", "synthia": "GT", "cityscapes": "gtFine", "camvid": "labels", "acdc": "gt",
    "dark_zurich": "gt", "bdd100k": "labels", "idd": "gtFine", "mapillary": "training/v1.2",
}  # fmt: skip
WITHOUT_TEST_LABELS = ("cityscapes", "camvid", "acdc", "dark_zurich", "bdd100k", "idd", "mapillary")


def split_of(name):
    return LABELLED_SPLIT.get(name, "train")


def make_domain(name, root, **options):
    return domains.find_reader(name)(root=str(root), **options)


def test_every_reader_is_tested_and_named_after_its_module():
    assert set(domains.READERS) == {*WRITERS, "folder", "records"}
    for name in domains.READERS:
        assert domains.find_reader(name).name == name
    with pytest.raises(UserError, match="gta6.*gta5"):
        domains.find_reader("gta6")


@pytest.mark.parametrize("name", WRITERS)
def test_reader_finds_what_was_written(name, tmp_path):
    samples = WRITERS[name](tmp_path)
    domain = make_domain(name, tmp_path)
    split = split_of(name)
    assert domain.has_labels(split)
    assert domain.list_orphans(split) == []
    expected = sorted((s.name, s.image_path, s.label_path) for s in samples)
    assert [tuple(pair) for pair in domain.list_pairs(split)] == expected
    for sample in samples:
        image = domain.read_image(sample.image_path)
        assert image.dtype == np.uint8 and image.shape == sample.image.shape
        # JPEG is not exact.
        limit = 12 if sample.image_path.endswith(".jpg") else 0
        assert np.abs(image.astype(int) - sample.image).max() <= limit
        label = domain.read_label(sample.label_path)
        assert label.dtype == np.uint8
        table = {key % 65536: value for key, value in domain.id_table().items()}
        expected = np.vectorize(table.__getitem__)(sample.raw)
        np.testing.assert_array_equal(label, expected)


@pytest.mark.parametrize("name", WRITERS)
def test_ids_outside_the_table_are_an_error(name, tmp_path):
    sample = WRITERS[name](tmp_path)[0]
    domain = make_domain(name, tmp_path)
    writer = data_sets.write_synthia_label if name == "synthia" else data_sets.write_image
    raw = sample.raw.copy()
    raw[0, :2] = [200, 100]
    writer(sample.label_path, raw)
    with pytest.raises(UserError) as error:
        domain.read_label(sample.label_path)
    message = str(error.value)
    assert message.startswith(f"{sample.label_path} holds 2 id(s)")
    assert message.endswith("100 (1 px), 200 (1 px)")


@pytest.mark.parametrize("name", WRITERS)
def test_reader_works_without_labels(name, tmp_path):
    samples = WRITERS[name](tmp_path)
    shutil.rmtree(tmp_path / LABEL_FOLDERS[name])
    if name == "mapillary":
        os.remove(tmp_path / "config_v1.2.json")
    domain = make_domain(name, tmp_path)
    split = split_of(name)
    assert not domain.has_labels(split)
    assert domain.list_orphans(split) == []
    pairs = domain.list_pairs(split)
    assert [pair.name for pair in pairs] == sorted(sample.name for sample in samples)
    assert {pair.label_path for pair in pairs} == {None}


@pytest.mark.parametrize("name", WITHOUT_TEST_LABELS)
def test_one_split_may_have_labels_and_another_none(name, tmp_path):
    WRITERS[name](tmp_path)
    WRITERS[name](tmp_path, split="test", labels=False)
    domain = make_domain(name, tmp_path)
    assert domain.has_labels(split_of(name)) and not domain.has_labels("test")
    assert all(pair.label_path for pair in domain.list_pairs(split_of(name)))
    assert not any(pair.label_path for pair in domain.list_pairs("test"))


@pytest.mark.parametrize("name", WRITERS)
def test_missing_data_says_where_and_whence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    domain = make_domain(name, "data/set")
    with pytest.raises(UserError) as error:
        domain.list_pairs(split_of(name))
    message = str(error.value)
    assert str(tmp_path / "data/set") in message
    assert any(word in message for word in ("Register", "Download", "Request", "page"))
    layouts = {"gta5": "game", "synthia": "game", "cityscapes": "camera"}
    command = f"--layout={name} --out=data/set --count=200 --size=256x128 --seed=0"
    if name in layouts:
        assert f"python -m data_pipelines.render_streets {command}" in message
        assert f"--style={layouts[name]}" in message
    else:
        assert "render_streets" not in message


def test_the_command_for_a_stand_in_is_one_that_the_renderer_takes():
    from absl import flags

    from data_pipelines import render_streets

    with pytest.raises(UserError) as error:
        make_domain("synthia", "nowhere").list_pairs("train")
    words = str(error.value).partition("render_streets ")[2].split()
    named = {word.removeprefix("--").partition("=")[0] for word in words}
    known = {flag.name for flag in flags.FLAGS.get_flags_for_module(render_streets)}
    assert "layout" in named and named <= known


@pytest.mark.parametrize("name", ["gta5", "synthia"])
def test_unsplit_data_sets_hold_the_last_out(name, tmp_path):
    samples = WRITERS[name](tmp_path, count=5)
    names = [sample.name for sample in samples]
    domain = make_domain(name, tmp_path)
    assert [pair.name for pair in domain.list_pairs("train")] == names
    with pytest.raises(UserError, match="val_count"):
        domain.list_pairs("val")
    domain = make_domain(name, tmp_path, val_count=2)
    assert [pair.name for pair in domain.list_pairs("train")] == names[:3]
    assert [pair.name for pair in domain.list_pairs("val")] == names[3:]
    assert domain.list_orphans("val") == domain.list_orphans("train") == []
    with pytest.raises(UserError, match="val_count is 5.*5 images"):
        make_domain(name, tmp_path, val_count=5).list_pairs("train")
    with pytest.raises(UserError, match="val_count is -1"):
        make_domain(name, tmp_path, val_count=-1)


def test_license_plates(tmp_path):
    # Cityscapes numbers them -1, which eight bits store as 255; GTA5 numbers them 34.
    path = data_sets.write_image(str(tmp_path / "a.png"), np.array([[255, 7]], np.uint8))
    for name in ("cityscapes", "gta5"):
        assert make_domain(name, tmp_path).read_label(path).tolist() == [[255, 0]]
    data_sets.write_image(path, np.array([[34, 7]], np.uint8))
    assert make_domain("gta5", tmp_path).read_label(path).tolist() == [[255, 0]]
    with pytest.raises(UserError, match="34"):
        make_domain("cityscapes", tmp_path).read_label(path)


def test_gta5_in_rgb_says_why(tmp_path):
    sample = data_sets.write_gta5(tmp_path)[0]
    data_sets.write_image(sample.label_path, sample.image)
    with pytest.raises(UserError, match="colours are not class ids.*palette"):
        make_domain("gta5", tmp_path).read_label(sample.label_path)


def test_synthia_refuses_eight_bits_and_one_channel(tmp_path):
    sample = data_sets.write_synthia(tmp_path)[0]
    domain = make_domain("synthia", tmp_path)
    data_sets.write_image(sample.label_path, np.stack([sample.raw] * 3, -1))
    with pytest.raises(UserError, match="8 bits, RGB; expected 16 bits and three channels"):
        domain.read_label(sample.label_path)
    data_sets.write_image(sample.label_path, sample.raw.astype(np.uint16))
    with pytest.raises(UserError, match="16 bits, grey"):
        domain.read_label(sample.label_path)
    data_sets.write_image(sample.label_path.replace(".png", ".bmp"), sample.raw)
    os.rename(sample.label_path.replace(".png", ".bmp"), sample.label_path)
    with pytest.raises(UserError, match="not a PNG"):
        domain.read_label(sample.label_path)


def test_synthia_reads_the_class_from_the_first_of_four_channels(tmp_path):
    raw = np.arange(24, dtype=np.uint16).reshape(4, 6) % 23
    channels = np.stack([raw, raw * 300, raw * 0, raw * 0], -1)
    domain = make_domain("synthia", tmp_path)
    expected = [[domain.id_table()[value] for value in row] for row in raw.tolist()]
    label = domain.decode_label(data_sets.encode_uint16(channels))
    np.testing.assert_array_equal(label, expected)


def test_synthia_ids_above_eight_bits_are_not_taken_for_small_ones(tmp_path):
    channels = np.full((2, 2, 3), 256 + 3, np.uint16)
    with pytest.raises(UserError, match="259"):
        make_domain("synthia", tmp_path).decode_label(data_sets.encode_uint16(channels))


@pytest.mark.parametrize("space", label_spaces.DECLARED_SPACES)
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "camvid"])
def test_labels_come_in_the_space_asked_for(name, space, tmp_path):
    sample = WRITERS[name](tmp_path)[0]
    space = label_spaces.DECLARED_SPACES[space]()
    native = make_domain(name, tmp_path).read_label(sample.label_path)
    domain = make_domain(name, tmp_path, label_space=space)
    assert domain.label_space == space
    table = label_spaces.convert(label_spaces.cityscapes19(), space)
    expected = np.vectorize(table.__getitem__)(native)
    label = domain.read_label(sample.label_path)
    np.testing.assert_array_equal(label, expected)
    assert set(np.unique(label)) <= {*range(space.num_classes), 255}


def test_acdc_reads_the_conditions_asked_for(tmp_path):
    data_sets.write_acdc(tmp_path, conditions=("fog", "night", "rain", "snow"))
    names = [pair.name.split("/")[0] for pair in make_domain("acdc", tmp_path).list_pairs("train")]
    assert names == ["fog", "night", "rain", "snow"]
    pairs = make_domain("acdc", tmp_path, conditions=["rain"]).list_pairs("train")
    assert [pair.name.split("/")[0] for pair in pairs] == ["rain"]
    for conditions in ("fog", [], ["dusk"]):
        with pytest.raises(UserError, match="conditions"):
            make_domain("acdc", tmp_path, conditions=conditions)


def test_acdc_says_where_a_missing_label_belongs(tmp_path):
    samples = data_sets.write_acdc(tmp_path)
    os.remove(samples[1].label_path)
    pairs = make_domain("acdc", tmp_path).list_pairs("train")
    assert [pair.label_path for pair in pairs] == [sample.label_path for sample in samples]


def test_mapillary_goes_by_the_names_in_its_own_list(tmp_path):
    data_sets.write_mapillary(tmp_path)
    in_order = make_domain("mapillary", tmp_path).id_table()
    assert sorted(in_order) == list(range(66))
    mixed = data_sets.MAPILLARY_CLASSES[::-1]
    data_sets.write_mapillary(tmp_path, classes=mixed)
    assert make_domain("mapillary", tmp_path).id_table() == {
        65 - index: value for index, value in in_order.items()
    }
    # The classes whose names are those of Cityscapes, under any reading of its policy.
    names = label_spaces.cityscapes19().class_names
    same = {
        "construction--flat--road": "road", "construction--flat--sidewalk": "sidewalk",
        "construction--structure--building": "building", "construction--barrier--wall": "wall",
        "construction--barrier--fence": "fence", "object--support--pole": "pole",
        "object--traffic-light": "traffic light", "object--traffic-sign--front": "traffic sign",
        "nature--vegetation": "vegetation", "nature--terrain": "terrain", "nature--sky": "sky",
        "human--person": "person", "human--rider--bicyclist": "rider",
        "human--rider--motorcyclist": "rider", "object--vehicle--car": "car",
        "object--vehicle--truck": "truck", "object--vehicle--bus": "bus",
        "object--vehicle--on-rails": "train", "object--vehicle--motorcycle": "motorcycle",
        "object--vehicle--bicycle": "bicycle",
    }  # fmt: skip
    assert {same[name] for name in same} == set(names)
    for name, expected in same.items():
        assert names[in_order[data_sets.MAPILLARY_CLASSES.index(name)]] == expected


def test_mapillary_table_lists_the_classes_of_the_data_set():
    from data_pipelines.domains import mapillary

    table = mapillary.CLASS_TO_CITYSCAPES19
    assert tuple(sorted(table)) == tuple(sorted(data_sets.MAPILLARY_CLASSES))
    assert set(table.values()) == {*range(19), 255}
    names = label_spaces.cityscapes19().class_names
    for name in ("street-light", "support--traffic-sign-frame", "support--utility-pole"):
        assert names[table[f"object--{name}"]] == "pole"
    for name in ("mountain", "sand", "terrain"):
        assert names[table[f"nature--{name}"]] == "terrain"


@pytest.mark.parametrize("split", ["train", "val"])
def test_mapillary_reads_the_layout_of_its_first_versions(split, tmp_path):
    samples = data_sets.write_mapillary_v1(tmp_path, split)
    data_sets.write_mapillary_v1(tmp_path, "test", labels=False)
    domain = make_domain("mapillary", tmp_path)
    assert [(*pair,) for pair in domain.list_pairs(split)] == [
        (sample.name, sample.image_path, sample.label_path) for sample in samples
    ]
    table = np.array([domain.id_table()[index] for index in range(66)])
    for sample in samples:
        np.testing.assert_array_equal(domain.read_label(sample.label_path), table[sample.raw])
    assert domain.list_orphans(split) == [] and not domain.has_labels("test")


def test_mapillary_prefers_the_newer_of_two_layouts(tmp_path):
    data_sets.write_mapillary_v1(tmp_path, classes=data_sets.MAPILLARY_CLASSES[::-1])
    newer = make_domain("mapillary", tmp_path / "newer")
    samples = data_sets.write_mapillary(tmp_path)
    data_sets.write_mapillary(tmp_path / "newer")
    domain = make_domain("mapillary", tmp_path)
    assert domain.id_table() == newer.id_table()
    assert [pair.label_path for pair in domain.list_pairs("train")] == [
        sample.label_path for sample in samples
    ]


@pytest.mark.parametrize("write", [data_sets.write_mapillary, data_sets.write_mapillary_v1])
def test_mapillary_labels_without_a_list_of_classes_are_an_error(write, tmp_path):
    label_path = write(tmp_path)[0].label_path
    for config in tmp_path.glob("config*.json"):
        config.unlink()
    domain = make_domain("mapillary", tmp_path)
    assert domain.has_labels("train")
    with pytest.raises(UserError, match="neither config_v1.2.json nor config.json") as error:
        domain.read_label(label_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "write, name",
    [
        (data_sets.write_mapillary, "config_v1.2.json"),
        (data_sets.write_mapillary_v1, "config.json"),
    ],
)
@pytest.mark.parametrize(
    "content, words",
    [
        ("", "empty"),
        ("{", "cannot be parsed"),
        ('{"labels": [1]}', "cannot be parsed"),
        ('{"labels": [{"name": "road"}]}', "lists 1 classes.*unknown are: road"),
        ('{"labels": [{"name": "human--person"}]}', "lists 1 classes.*unknown are: none"),
    ],
)
def test_mapillary_with_a_wrong_list_of_classes(content, words, write, name, tmp_path):
    write(tmp_path)
    config = tmp_path / name
    config.write_text(content)
    with pytest.raises(UserError, match=words) as error:
        make_domain("mapillary", tmp_path).id_table()
    assert str(config) in str(error.value)


@pytest.mark.parametrize("name", ["gta5", "synthia"])
def test_readers_work_inside_tf_data(name, tmp_path):
    import tensorflow as tf

    samples = WRITERS[name](tmp_path, count=4)
    domain = make_domain(name, tmp_path)

    def read(image_path, label_path):
        return domain.read_image(image_path.decode()), domain.read_label(label_path.decode())

    dataset = tf.data.Dataset.from_tensor_slices(
        ([sample.image_path for sample in samples], [sample.label_path for sample in samples])
    ).map(
        lambda *paths: tf.numpy_function(read, paths, [tf.uint8, tf.uint8], stateful=False),
        num_parallel_calls=2,
    )
    for sample, (image, label) in zip(samples, dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, sample.image)
        np.testing.assert_array_equal(label, domain.read_label(sample.label_path))
