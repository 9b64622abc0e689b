"""The page of bindings says what the code says."""

import inspect
import os
import re

import pytest

from drsl_tf.config import bindings_page
from drsl_tf.models.inference import Inference
from tests.support import repository


def _read_page():
    path = os.path.join(repository.ROOT, "docs", "configuration.md")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _list_rows(page):
    """Lists headings, and arguments with their defaults; their descriptions may differ."""
    return re.findall(r"^(?:### .*|\| `\w+` \| [^|]* \|)", page, flags=re.MULTILINE)


def test_the_page_holds_every_name_and_default():
    fix = "python -m drsl_tf.describe_bindings > docs/configuration.md"
    assert _list_rows(_read_page()) == _list_rows(bindings_page.format_page()), f"run: {fix}"


def test_every_name_that_configurations_bind_or_refer_to_is_on_the_page():
    paths = [path for _, paths in bindings_page.SECTIONS for path in paths]
    # Modules of data_pipelines are imported, and named without their package.
    known = {p if p.startswith("drsl_tf.") else ".".join(p.split(".")[-2:]) for p in paths}
    # Label spaces take no arguments, and the benchmarks are not installed.
    spaces = ("camvid11", "cityscapes19", "synthia16")
    others = {*(f"label_spaces.{name}" for name in spaces), "triplet_model.TripletModel"}
    named = set()
    for name in bindings_page.list_config_files():
        with open(os.path.join(repository.ROOT, "gin_configs", name), encoding="utf-8") as file:
            text = re.sub(r"#.*", "", file.read())
        named |= set(re.findall(r"@(?:\w+/)*([\w.]+)", text))
        named |= set(re.findall(r"^(?:\w+/)*([\w.]+\.\w+)\.\w+ =", text, flags=re.MULTILINE))
    ours = {name for name in named if not name.startswith("keras.")}
    assert len(ours) > 20 and ours - others <= known


def test_every_argument_stands_there_with_its_default():
    page = bindings_page.format_page()
    section = page.split("### `drsl_tf.Inference`")[1].split("###")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, flags=re.MULTILINE))
    parameters = dict(inspect.signature(Inference).parameters)
    assert list(rows) == list(parameters)
    assert rows["batch_size"] == f"`{parameters['batch_size'].default}`"
    section = page.split("### `drsl_tf.adapt`")[1].split("###")[0]
    assert "| `data` | required |" in section and "run_dir" not in section


def test_an_argument_without_a_description_is_an_error(monkeypatch):
    def bind(*, size):
        """Binds."""

    monkeypatch.setattr(bindings_page, "find_callable", lambda path: bind)
    with pytest.raises(ValueError, match="bind says nothing of size"):
        bindings_page.format_page()
