"""What a configuration accepts, what it refuses, and what it records."""

import os
from collections.abc import Callable

import gin
import pytest

import gin_configs
from data_pipelines.errors import UserError
from drsl_tf.config.bad_values import explain_bad_values
from drsl_tf.config.configuration import Configuration
from drsl_tf.training.adapt import adapt


def experiment(*, first: int, second: str = "two", part: object | None = None):
    """Stands for the callable that an experiment starts from."""
    return first, second, part


def make_part(*, size: int = 3, inner: Callable | None = None):
    """Stands for what an experiment refers to."""
    return size, inner and inner()


def make_other(*, width: int = 1):
    """Replaces `make_part` in another file."""
    return width


def make_unused(*, size: int = 3):
    """Stands for what nothing refers to."""
    return size


_TEXT = """
from __gin__ import dynamic_registration
from tests.drsl_tf.config import test_configuration

test_configuration.experiment.first = %FIRST
test_configuration.experiment.part = @small/test_configuration.make_part()
small/test_configuration.make_part.size = 1
FIRST = 5
"""


@pytest.fixture(autouse=True)
def _forget():
    yield
    gin.clear_config()


def _write(folder, text, name="test.gin"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_bindings_macros_and_scopes_apply(tmp_path):
    run = Configuration([_write(tmp_path, _TEXT)]).apply(experiment)
    assert run() == (5, "two", (1, None))


def test_params_win_over_files_and_reach_names_that_only_a_file_imports(tmp_path):
    params = ["FIRST = 7", "test_configuration.experiment.second = 'x'"]
    run = Configuration([_write(tmp_path, _TEXT)], params).apply(experiment)
    assert run() == (7, "x", (1, None))


def test_includes_are_found_beside_the_file(tmp_path):
    _write(tmp_path, _TEXT, "base.gin")
    path = _write(tmp_path, 'include "base.gin"\nFIRST = 8\n')
    assert Configuration([path]).apply(experiment)()[0] == 8


def test_the_record_gives_the_same_run_and_shows_defaults(tmp_path):
    record = Configuration([_write(tmp_path, _TEXT)], ["FIRST = 9"]).format_record(experiment)
    assert "#   test_configuration.experiment.second = 'two'" in record
    assert "#   test_configuration.make_part.inner = None" in record
    again = Configuration([_write(tmp_path, record, "config.gin")])
    assert again.apply(experiment)() == (9, "two", (1, None))


@pytest.mark.parametrize(
    "line, words",
    [
        ("FRIST = 3", ["FRIST", "nothing uses", "FIRST"]),
        ("test_configuration.experiment.frist = 3", ["'frist'", "'first'"]),
        ("test_configuration.experimental.first = 3", ["experimental"]),
        ("other.thing.size = 3", ["'other'", "imported"]),
        ("test_configuration.make_unused.size = 3", ["make_unused.size", "refers"]),
        ("large/test_configuration.make_part.size = 3", ["large/", "refers"]),
        ("test_configuration.experiment.second = %SECOND", ["%SECOND", "defines"]),
        ("test_configuration.experiment.second = 'open", ["not valid gin"]),
        (
            "from data_pipelines import augment\naugment.Augmenter.size = 3",
            ["augment.Augmenter", "an earlier version had others"],
        ),
        ("from drsl_tf import modle\nmodle.Model.size = 3", ["modle.Model", "cannot be found"]),
        ('include "nowhere.gin"', ["nowhere.gin", "does not exist"]),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, line, words):
    path = _write(tmp_path, _TEXT)
    with pytest.raises(UserError) as caught:
        Configuration([path], [line]).apply(experiment)
    for word in words:
        assert word in str(caught.value)


_REPLACING = """
from __gin__ import dynamic_registration
from tests.drsl_tf.config import test_configuration

test_configuration.experiment.part = @test_configuration.make_other()
test_configuration.make_other.width = 7
"""


def test_a_part_that_a_later_file_replaces_takes_its_bindings_with_it(tmp_path):
    deeper = "test_configuration.make_part.inner = @test_configuration.make_unused\n"
    deeper += "test_configuration.make_unused.size = %DEPTH\nDEPTH = 2\n"
    files = [_write(tmp_path, _TEXT + deeper), _write(tmp_path, _REPLACING, "other.gin")]
    configuration = Configuration(files)
    assert configuration.apply(experiment)() == (5, "two", 7)
    assert set(configuration.bindings) == {
        "test_configuration.experiment.first",
        "test_configuration.experiment.part",
        "test_configuration.make_other.width",
        "FIRST",
    }
    again = Configuration([_write(tmp_path, configuration.format_text(), "config.gin")])
    assert again.apply(experiment)() == (5, "two", 7)


@pytest.mark.parametrize(
    "line",
    [
        "small/test_configuration.make_part.size = 4",
        "test_configuration.make_unused.size = 4",
        "DEPTH = 4",
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_what_is_bound_for_a_replaced_part_afterwards_is_refused(tmp_path, line, as_file):
    files = [_write(tmp_path, _TEXT), _write(tmp_path, _REPLACING, "other.gin")]
    if as_file:
        files.append(_write(tmp_path, line, "last.gin"))
    with pytest.raises(UserError, match="nothing"):
        Configuration(files, [] if as_file else [line]).apply(experiment)


def test_a_circle_of_includes_is_named(tmp_path):
    path = _write(tmp_path, 'include "test.gin"')
    with pytest.raises(UserError, match="circle"):
        Configuration([path])


def test_a_missing_file_lists_what_is_known():
    with pytest.raises(UserError, match="demo.gin"):
        Configuration(["dmeo.gin"])


def test_a_missing_parameter_is_named(tmp_path):
    text = "from __gin__ import dynamic_registration\n"
    configuration = Configuration([_write(tmp_path, text)])
    with pytest.raises(UserError, match="experiment.first"):
        configuration.check_required(experiment, [])
    configuration.check_required(experiment, ["first"])


def _list_experiments():
    folder = gin_configs.__path__[0]
    return sorted(name for name in os.listdir(folder) if name.endswith(".gin"))


@pytest.mark.parametrize("name", _list_experiments())
def test_every_experiment_is_complete(name):
    configuration = Configuration([name])
    configuration.check_required(adapt, ["run_dir"])
    configuration.apply(adapt)


class _Base:
    def __init__(self, size):
        self.size = size + 1


class _First(_Base):
    """Inherits its constructor, as the readers of data sets do."""


class _Second(_Base):
    """Shares it."""


@pytest.mark.parametrize("part", [_First, _Second])
def test_a_bad_value_names_the_class_that_was_built(part):
    with pytest.raises(UserError, match=f"gives {part.__name__} a value"):
        with explain_bad_values(experiment, [_First, _Second]):
            part("wide")
