"""The BUILD files declare what the Python files need, no more and no less."""

import os
import re

import pytest

from tests import build_files
from tests import build_targets
from tests import python_imports


@pytest.fixture(scope="module")
def expected():
    """Every file's target, by path."""
    return build_targets.expect_targets()


def _list_folders(targets):
    return sorted({path.rpartition("/")[0] for path in targets})


def test_every_file_is_in_exactly_one_target_with_its_true_dependencies(expected):
    wrong = []
    for folder in _list_folders(expected):
        declared = {name: target for name, (target, _) in build_files.read_targets(folder).items()}
        wanted = {t.name: t for path, t in expected.items() if path.rpartition("/")[0] == folder}
        for name in sorted({*declared, *wanted}):
            if name not in wanted:
                wrong.append(f"{folder}/BUILD: no file belongs to the target {name}; drop it.")
            elif declared.get(name) != wanted[name]:
                text = build_files.format_target(wanted[name])
                wrong.append(f"{folder}/BUILD: the target {name} should be\n{text}")
        wrong += [f"{folder}/BUILD: {line}." for line in build_files.check_loads(folder)]
    if wrong:
        wrong.append("`python -m tests.build_files --fix` writes all of this.")
    assert not wrong, "\n\n".join(wrong)


def test_no_targets_depend_on_each_other_in_a_circle(expected):
    assert build_targets.find_cycle(expected) is None


def test_no_product_depends_on_tests(expected):
    for path, target in expected.items():
        assert path.startswith("tests/") or "//tests" not in " ".join(target.deps), path


def test_third_party_packages_are_declared_for_installation_too(expected):
    root = python_imports.ROOT
    places = ["pyproject.toml", *(f"constraints/{n}" for n in os.listdir(f"{root}/constraints"))]
    known = set()
    for place in places:
        with open(os.path.join(root, place), encoding="utf-8") as file:
            known |= {
                name.lower().replace("_", "-") for name in re.findall(r"[\w.-]+", file.read())
            }
    used = {dep for target in expected.values() for dep in target.deps if "requirement(" in dep}
    names = {dep[len('requirement("') : -2].lower() for dep in used}
    # PyTorch stands in an environment that benchmarks/speed_steps.py makes for itself.
    assert names - known == {"torch"}


def test_what_a_file_needs_is_found_in_imports_calls_and_texts(tmp_path, monkeypatch):
    """The reading itself, on a repository made for it."""
    files = {
        "data_pipelines/errors.py": "",
        "data_pipelines/tool.py": "import numpy\n\nif __name__ == '__main__':\n    pass\n",
        "drsl_tf/config/configuration.py": "from data_pipelines.errors import UserError\n",
        "gin_configs/__init__.py": "",
        "tests/conftest.py": "",
        "tests/run_pytest.py": "import pytest\n\nif __name__ == '__main__':\n    pass\n",
        "tests/drsl_tf/test_it.py": (
            '"""Runs data_pipelines.errors."""\nimport os\n\n'
            "from drsl_tf.config import configuration\n\n"
            'COMMAND = ["-m", "data_pipelines.tool"]\n'
            'CODE = "import os; from tests import helper"\n'
        ),
        "tests/helper.py": "from PIL import Image\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "gin_configs" / "a.gin").write_text("from drsl_tf.config import configuration\n")
    monkeypatch.setattr(python_imports, "ROOT", str(tmp_path))
    targets = build_targets.expect_targets()
    assert targets["data_pipelines/tool.py"].rule == "py_binary"
    assert targets["data_pipelines/tool.py"].deps == ('requirement("numpy")',)
    assert targets["drsl_tf/config/configuration.py"].deps == ("//data_pipelines:errors",)
    assert targets["gin_configs/__init__.py"].deps == ("//drsl_tf/config:configuration",)
    assert targets["tests/helper.py"].deps == ('requirement("pillow")',)
    assert targets["tests/drsl_tf/test_it.py"].deps == (
        "//data_pipelines:tool",
        "//drsl_tf/config:configuration",
        "//gin_configs:__init__",
        "//tests:conftest",
        "//tests:helper",
        "//tests:run_pytest",
    )
    # What is fixed is what is expected, and other attributes stay.
    build = tmp_path / "data_pipelines" / "BUILD"
    build.write_text('"""Tools."""\n\npy_binary(\n    name = "tool",\n    data = ["x.txt"],\n)\n')
    wanted = [t for path, t in targets.items() if path.startswith("data_pipelines/")]
    build_files.fix_folder("data_pipelines", wanted)
    found = build_files.read_targets("data_pipelines")
    assert {name: target for name, (target, _) in found.items()} == {t.name: t for t in wanted}
    assert build_files.check_loads("data_pipelines") == []
    assert 'data = ["x.txt"]' in build.read_text()
