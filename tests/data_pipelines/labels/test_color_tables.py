"""Colour tables as tools write them."""

from __future__ import annotations

import json

import pytest

from data_pipelines.errors import UserError
from data_pipelines.labels import color_tables

COLORS = {(0, 0, 0): "background", (128, 64, 128): "road"}
ROAD = (128, 64, 128)
UNITY = {
    "annotation_definitions": [
        {"name": "bounding box", "spec": [{"label_id": 1, "label_name": "road"}]},
        {
            "name": "semantic segmentation",
            "spec": [
                {"label_name": "background", "pixel_value": {"r": 0.0, "g": 0.0, "b": 0.0, "a": 1}},
                {"label_name": "road", "pixel_value": {"r": 0.502, "g": 0.251, "b": 0.502}},
            ],
        },
    ]
}
SOLO = {
    "captures": [
        {
            "position": [0, 0, 0],
            "annotations": [
                {
                    "instances": [
                        {"labelName": "background", "pixelValue": [0, 0, 0, 255]},
                        {"labelName": "road", "pixelValue": [128, 64, 128, 255]},
                    ]
                }
            ],
        }
    ]
}
REPLICATOR = {
    "(0, 0, 0, 0)": {"class": "background"},
    "(0, 0, 0, 255)": {"class": "UNLABELLED"},
    "(128, 64, 128, 255)": {"class": "road"},
}
SUPERVISELY = {
    "classes": [
        {"title": "background", "shape": "bitmap", "color": "#000000"},
        {"title": "road", "shape": "bitmap", "color": "#804080"},
    ]
}


@pytest.mark.parametrize(
    "path, text",
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::"),
        ("classes.csv", "name,r,g,b\nbackground,0,0,0\nroad,128,64,128\n"),
        ("classes.csv", "id;Name;Red;Green;Blue\r\n0;background;0;0;0\r\n1;road;128;64;128\r\n"),
        ("a.json", json.dumps({"background": [0, 0, 0], "road": [128, 64, 128]})),
        ("a.json", json.dumps({"background": "#000000", "road": "#804080ff"})),
        ("a.json", "\ufeff" + json.dumps(REPLICATOR)),
        ("annotation_definitions.json", json.dumps(UNITY)),
        ("step0.frame_data.json", json.dumps(SOLO)),
        ("meta.json", json.dumps(SUPERVISELY)),
    ],
)
def test_tables_of_colors(path, text):
    assert color_tables.parse_file(text.encode(), path) == (COLORS, {})


@pytest.mark.parametrize(
    "path, text",
    [
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, road\n"),
        ("labels.json", json.dumps({"0": {"class": "background"}, "1": {"class": "road"}})),
    ],
)
def test_tables_of_ids(path, text):
    assert color_tables.parse_file(text.encode(), path) == ({}, {0: "background", 1: "road"})


@pytest.mark.parametrize(
    "path, text, words",
    [
        ("labelmap.txt", "road 128 64 128", "the line 'road 128 64 128'; expected NAME:RED"),
        ("labelmap.txt", "road:128,64::", "'road': '128,64'; a colour is three numbers"),
        ("labelmap.txt", "road:128,64,300::", "'128,64,300'; a colour"),
        ("labelmap.txt", "a:1,2,3::\nb:1,2,3::", r"\(1, 2, 3\) to both 'a' and 'b'"),
        ("labelmap.txt", "\n", "lists no class with its colour"),
        ("a.csv", "road,1,2,3\n", "starts with 'road,1,2,3'; expected columns"),
        ("a.csv", "name,r,g,b\nroad,1,2\n", "'road,1,2' without the numbers"),
        ("a.csv", "", "expected columns"),
        ("a.csv", "id,counts\n1," + "1 2 " * 50_000, "is not CSV: field larger"),
        ("_classes.csv", "Pixel Value,Class\n1,a\n1,b\n", "id 1 to both 'a' and 'b'"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100000, "is not JSON"),
        ("a.json", "{}", "lists no class"),
        ("a.json", '{"0": "sky", "(1, 2, 3)": "road"}', "both colours and ids"),
    ],
)
def test_files_that_are_no_tables(path, text, words):
    with pytest.raises(UserError, match=words):
        color_tables.parse_file(text.encode(), path)


def test_text_in_another_encoding():
    with pytest.raises(UserError, match="not text in UTF-8"):
        color_tables.parse_file("Straße:1,2,3::".encode("latin-1"), "labelmap.txt")


def test_bound_tables():
    table = {"background": (0, 0, 0), "road": [(128, 64, 128), [1, 1, 1]]}
    assert color_tables.check_table(table) == {**COLORS, (1, 1, 1): "road"}
    assert color_tables.check_table({(0, 0, 0): "background", "#804080": "road"}) == COLORS
    for bad in (
        {"road": 3},
        {3: "road"},
        {"road": (1, 2)},
        {"road": (1, 2, 256)},
        {"road": (0.5, 0, 0)},
    ):
        with pytest.raises(UserError, match="(3: 'road'|'road': .*); a colour is three"):
            color_tables.check_table(bad)
    with pytest.raises(UserError, match="to both 'a' and 'b'"):
        color_tables.check_table({"a": ROAD, "b": ROAD})
