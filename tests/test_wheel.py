"""The distributions: built, installed where nothing of the repository is, and run."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import venv

import pytest

from tests.support import repository

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("build") is None, reason="the extra dev is not installed"
    ),
]

_COMMANDS = ("train", "evaluate", "predict", "export", "report", "inspect", "audit")
_PACKED = ("benchmarks", "constraints", "data_pipelines", "docs", "drsl_tf", "gin_configs", "tests")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Builds sdist and wheel of a copy, installs the wheel alone; gives the places of both."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    copy.mkdir()
    for name in os.listdir(repository.ROOT):
        path = os.path.join(repository.ROOT, name)
        if name in _PACKED:
            shutil.copytree(path, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif os.path.isfile(path):
            shutil.copy(path, copy)
    # Without isolation, so that nothing is fetched.
    _call([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")], copy)
    (wheel,) = (folder / "dist").glob("*.whl")
    home = folder / "venv"
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    _call([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], folder)
    # The dependencies are those of this environment; they take minutes to install.
    (library,) = home.glob("lib/python*/site-packages")
    found = importlib.util.find_spec("absl").submodule_search_locations[0]
    (library / "dependencies.pth").write_text(os.path.dirname(found) + "\n")
    (folder / "empty").mkdir()
    return home / "bin", folder / "empty", folder / "dist"


def _call(command, folder, code=0):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300
    )
    assert result.returncode == code, result.stdout[-2000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.mark.parametrize("name", [*_COMMANDS, "prepare", "render-streets"])
def test_every_command_is_installed_and_helps(installed, name):
    scripts, empty, _ = installed
    text = _call([str(scripts / f"drsl-{name}"), "--help"], empty)
    assert "python -m" in text and "flags:" in text and "  --" in text


def test_configurations_travel_and_are_found_by_name(installed):
    scripts, empty, _ = installed
    place = _call([str(scripts / "python"), "-c", "import drsl_tf; print(drsl_tf.__file__)"], empty)
    assert place.startswith(str(scripts.parent))
    error = _call([str(scripts / "drsl-train"), "--gin_file=synthia2cs.gin"], empty, code=2)
    assert "data/synthia" in error and "render_streets" in error
    error = _call([str(scripts / "drsl-train"), "--gin_file=absent.gin"], empty, code=2)
    assert "demo.gin" in error and repository.ROOT not in error


def test_the_template_of_the_report_is_installed(installed):
    scripts, empty, _ = installed
    code = "import jinja2; jinja2.PackageLoader('drsl_tf.reporting').list_templates()[0]"
    _call([str(scripts / "python"), "-c", code], empty)


def test_the_source_distribution_holds_what_it_is_built_from(installed):
    (sdist,) = installed[2].glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.split("/", 1)[-1] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "drsl_tf/train.py"} <= names
    assert {"gin_configs/demo.gin", "gin_configs/data/streets.gin"} <= names
