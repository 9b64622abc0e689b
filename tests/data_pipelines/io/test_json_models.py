"""JSON files as pydantic models: read as they are, or an error naming file and field."""

import json
from typing import Literal

import pydantic
import pytest
import tensorflow as tf

from data_pipelines.errors import UserError
from data_pipelines.io import json_models


class _Part(json_models.VersionedModel):
    size: pydantic.PositiveInt


class _Content(json_models.VersionedModel):
    version: Literal[2] = pydantic.Field(alias="schema")
    name: str
    parts: tuple[_Part, ...]


_VALID = {"schema": 2, "name": "Straße", "parts": [{"size": 1}, {"size": 3}]}


def _read(folder, text):
    path = folder / "content.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return json_models.read_model(str(path), _Content)


def test_a_file_is_read_as_its_model(tmp_path):
    content = _read(tmp_path, json.dumps(_VALID, ensure_ascii=False))
    assert content.name == "Straße"
    assert [part.size for part in content.parts] == [1, 3]
    with pytest.raises(pydantic.ValidationError):
        content.name = "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": [{"size": 1}, {"size": 0}]}, r"field 'parts\[1\]\.size': .*greater than 0.*0"),
        ({"parts": [{"size": "1"}]}, r"field 'parts\[0\]\.size': .*integer \(it is '1'\)"),
        ({"name": None}, r"field 'name': .*string \(it is None\)"),
        ({"nmae": "a"}, r"field 'nmae': Extra inputs are not permitted \(it is 'a'\)"),
    ],
)
def test_an_invalid_value_is_named_with_its_file_and_field(tmp_path, change, message):
    with pytest.raises(UserError, match=r"/content\.json is invalid: " + message):
        _read(tmp_path, json.dumps({**_VALID, **change}))


def test_a_missing_field_is_named(tmp_path):
    with pytest.raises(UserError, match=r"/content\.json is invalid: field 'name': .*required\.$"):
        _read(tmp_path, json.dumps({"schema": 2, "parts": []}))


def test_of_a_file_of_another_version_only_that_is_said(tmp_path):
    with pytest.raises(UserError, match=r"/content\.json has the schema 3, .* reads 2\.$"):
        _read(tmp_path, json.dumps({"schema": 3, "title": "a"}))


def test_of_many_failures_the_first_are_named_and_the_rest_counted(tmp_path):
    parts = [{"size": -number} for number in range(8)]
    with pytest.raises(UserError, match=r"parts\[2\]\.size.*; and 5 more\.$") as caught:
        _read(tmp_path, json.dumps({**_VALID, "parts": parts}))
    assert "parts[3]" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "null", '"a', b"\xff{}", "[" * 10**5, "9" * 10**5, '"\\ud800"']
)
def test_what_is_no_json_object_is_refused_by_name(tmp_path, text):
    with pytest.raises(UserError, match=r"/content\.json (is invalid|cannot be read): "):
        _read(tmp_path, text)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(UserError, match=r"/none\.json cannot be read: No such file"):
        json_models.read_model(str(tmp_path / "none.json"), _Content)
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        json_models.read_model(str(tmp_path), _Content)


def test_other_file_systems_of_tensorflow_serve():
    path = "ram://json_models.json"
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(_VALID))
    assert len(json_models.read_model(path, _Content).parts) == 2
    with pytest.raises(UserError, match="^ram://none.json is missing"):
        json_models.read_model("ram://none.json", _Content)


def test_text_without_a_place_in_utf8_is_refused():
    text = json.dumps(_VALID).replace("Stra", "\ud800")
    with pytest.raises(UserError, match="a.json is invalid"):
        json_models.parse_model(text, _Content, "a.json")
