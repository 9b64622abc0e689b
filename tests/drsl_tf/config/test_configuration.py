"""What a configuration accepts, what it refuses, and what it records."""

import ast
import os
import re
from collections.abc import Callable

import gin
import pytest

import gin_configs
from data_pipelines.errors import UserError
from drsl_tf.config.configuration import Configuration
from drsl_tf.config.configuration import explain_bad_values
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


def fail(*, reason: str):
    """Stands for a run with an error of its own."""
    raise ValueError(reason)


_TEXT = """
from __gin__ import dynamic_registration
from tests.drsl_tf.config import test_configuration

test_configuration.experiment.first = %FIRST
test_configuration.experiment.part = @small/test_configuration.make_part()
small/test_configuration.make_part.size = 1
FIRST = 5
"""


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
    configuration = Configuration([_write(tmp_path, _TEXT)], ["FIRST = 9"])
    configuration.apply(experiment)
    record = configuration.format_record()
    assert "#   test_configuration.experiment.second = 'two'" in record
    assert "#   small/test_configuration.make_part.inner = None" in record
    again = Configuration([_write(tmp_path, record, "config.gin")])
    assert again.apply(experiment)() == (9, "two", (1, None))


@pytest.mark.parametrize(
    "line, words",
    [
        ("FRIST = 3", ["FRIST", "nothing uses", "FIRST"]),
        ("test_configuration.experiment.frist = 3", ["'frist'", "'first'"]),
        ("test_configuration.experimental.first = 3", ["experimental"]),
        ("test_configuration.make_other.size = 3", ["'size'", "known are width"]),
        ("FIRST = @test_configuration.make_prt()", ["'FIRST'", "'make_part'"]),
        ("test_configuration.frist = 3", ["test_configuration.frist", "MODULE.NAME.ARGUMENT"]),
        ("FIRST = 1e999", ["'FIRST'", "'inf'"]),
        ("other.thing.size = 3", ["'other'", "import statement"]),
        ("test_configuration.make_unused.size = 3", ["make_unused.size", "refers"]),
        ("large/test_configuration.make_part.size = 3", ["large/", "refers"]),
        ("test_configuration.experiment.second = %SECOND", ["%SECOND", "defines"]),
        ("test_configuration.experiment.second = 'open", ["not valid gin"]),
        (
            "from data_pipelines import augment\naugment.Augmenter.size = 3",
            ["from data_pipelines import augment", "an earlier version had others"],
        ),
        (
            "from drsl_tf import modle\nmodle.Model.size = 3",
            ["from drsl_tf import modle", "cannot be used"],
        ),
        ('include "nowhere.gin"', ["nowhere.gin", "does not exist"]),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, line, words):
    path = _write(tmp_path, _TEXT)
    with pytest.raises(UserError) as caught:
        Configuration([path], [line]).apply(experiment)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        r"C:\Users\me",
        r"C:\data\xyz",
        "C:\\data\\",
        r"data\train",
        r"C:\photos\new",
        r"a\b",
        r"\fileserver\a",
    ],
)
def test_a_path_with_backslashes_is_refused_with_a_hint(path):
    with pytest.raises(UserError, match='write a path with /.*r"C:'):
        Configuration([], [f'PATH = ["{path}"]'])


def test_a_path_with_backslashes_is_not_blamed_for_another_line(tmp_path):
    path = _write(tmp_path, 'PATH = r"C:\\data"\nSIZE = (1,\n')
    with pytest.raises(UserError, match="is not valid gin") as error:
        Configuration([path])
    assert "A backslash starts" not in str(error.value)


@pytest.mark.parametrize("text", [r'r"C:\Users\new"', r'"C:\\Users\\new"', r'"C:/Users/new"'])
def test_paths_of_windows_that_gin_accepts(text):
    bound = Configuration([], [f"PATH = {text}"]).bindings["PATH"]
    assert ast.literal_eval(bound).replace("\\", "/") == "C:/Users/new"


def test_lines_can_share_a_block(tmp_path):
    block = "test_configuration.experiment:\n    first = 6\n    second = 'x'\n"
    path = _write(
        tmp_path, _TEXT.replace("FIRST = 5", block).replace("first = %FIRST", "first = 5")
    )
    assert Configuration([path]).apply(experiment)() == (6, "x", (1, None))


def test_a_module_that_python_cannot_parse_is_named(tmp_path, monkeypatch):
    (tmp_path / "torn.py").write_text("def f(:")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"invalid syntax \(torn.py, line 1\)"):
        Configuration([_write(tmp_path, _TEXT + "import torn\n")]).apply(experiment)


def test_a_refused_configuration_leaves_nothing_in_gin(tmp_path):
    path = _write(tmp_path, _TEXT)
    with pytest.raises(UserError, match="nothing uses"):
        Configuration([path], ["FRIST = 3"]).apply(experiment)
    assert not gin.get_bindings(experiment)


def test_a_tab_alone_is_no_path():
    assert Configuration([], [r'SEPARATOR = "\t"']).bindings["SEPARATOR"] == r"'\t'"


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text(_TEXT, encoding="utf-8-sig")
    marked = Configuration([str(path)]).bindings
    assert marked == Configuration([_write(tmp_path, _TEXT)]).bindings


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


@pytest.mark.parametrize("given_first", [True, False])
def test_a_required_macro_is_given_before_or_after(tmp_path, given_first):
    path = _write(tmp_path, _TEXT.replace("FIRST = 5", "FIRST = %gin.REQUIRED"))
    with pytest.raises(UserError, match=r"test.gin requires FIRST, which.*FIRST = \.\.\."):
        Configuration([path]).apply(experiment)
    files = [_write(tmp_path, "FIRST = 6", "mine.gin"), path]
    run = Configuration(files if given_first else files[::-1]).apply(experiment)
    assert run()[0] == 6


def test_a_part_replaced_by_none_is_logged_with_what_it_drops(tmp_path, caplog):
    configuration = Configuration(
        [_write(tmp_path, _TEXT)], ["test_configuration.experiment.part = None"]
    )
    with caplog.at_level("INFO", logger="absl"):
        assert configuration.apply(experiment)() == (5, "two", None)
    (message,) = caplog.messages
    assert "small/test_configuration.make_part.size" in message
    assert "test.gin" in message and "part = None" in message


def test_a_line_of_another_file_for_a_replaced_part_names_both_files(tmp_path):
    mine = "small/test_configuration.make_part.inner = @test_configuration.make_unused"
    files = [
        _write(tmp_path, _TEXT),
        _write(tmp_path, mine, "mine.gin"),
        _write(tmp_path, _REPLACING, "other.gin"),
    ]
    with pytest.raises(UserError, match=r"mine.gin binds small/.*nothing.*other.gin binds"):
        Configuration(files).apply(experiment)


_CLASSES = "CLASS_NAMES = ['background', 'foreground']"


def test_files_of_the_project_drop_their_lines_for_a_part_replaced_later(caplog):
    """The teacher is chosen by one file; two others bind its arguments."""
    files = ["folder.gin", "recipes/rounds.gin"]
    configuration = Configuration(files, [_CLASSES])
    assert configuration.bindings["drsl_tf.OnlineDrslModel.teacher_decay"] == "0.99"
    with caplog.at_level("INFO", logger="absl"):
        configuration.apply(adapt)
    assert not any("OnlineDrslModel" in key for key in configuration.bindings)
    assert configuration.bindings["drsl_tf.DrslModel.freeze_statistics"] == "%FREEZE_STATISTICS"
    for name, argument in (("folder", "teacher_decay"), ("recipes/mic", "mask_weight")):
        assert re.search(rf"rounds.gin replaces .*{name}.gin, .*{argument}", caplog.text)
    with pytest.raises(UserError, match=r"mic.gin binds .*mask_weight, .*rounds.gin binds"):
        Configuration([*files, "recipes/mic.gin"], [_CLASSES]).apply(adapt)


def test_a_macro_of_the_project_may_serve_a_part_that_was_replaced_before(tmp_path):
    """Files of targets bind the size for labelling; a mean teacher has no such step."""
    space = "from data_pipelines.labels import label_spaces\n"
    space += "LABEL_SPACE = @label_spaces.cityscapes19()\n"
    mine = _write(tmp_path, f'include "folder.gin"\n{space}{_CLASSES}\n', "mine.gin")
    configuration = Configuration([mine, "data/acdc_target.gin"])
    configuration.apply(adapt)
    assert "LABEL_SIZE" not in configuration.bindings


@pytest.mark.parametrize(
    "line, words",
    [
        ("drsl_tf.PseudoLabeler.confidence_floor = 0.95", "pseudo_labeler to None"),
        ("LABEL_SIZE = (64, 64)", "pseudo_labeler to None"),
        ("drsl_tf.MultimodalHead.modes_per_class = 1", "multimodal_head to None"),
    ],
)
def test_lines_of_another_method_name_the_file_that_leaves_it_out(tmp_path, line, words):
    """Lines of files that were written when folder.gin was DRSL in rounds."""
    text = f'include "folder.gin"\nimport drsl_tf\n{_CLASSES}\n'
    path = _write(tmp_path, text + line, "mine.gin")
    with pytest.raises(UserError, match=rf"mine.gin binds .*folder.gin binds drsl_tf.*{words}"):
        Configuration([path]).apply(adapt)
    path = _write(tmp_path, f'{text}include "recipes/rounds.gin"\n{line}', "mine.gin")
    Configuration([path]).apply(adapt)


def test_a_macro_whose_only_use_is_overridden_is_dropped_with_its_file_alone(tmp_path):
    param = "test_configuration.experiment.first = 8"
    path = _write(tmp_path, _TEXT)
    assert Configuration([path], [param]).apply(experiment)()[0] == 8
    mine = _write(tmp_path, "FIRST = 6", "mine.gin")
    with pytest.raises(UserError, match=r"mine.gin binds FIRST.*first to 8"):
        Configuration([path, mine], [param]).apply(experiment)


def test_a_binding_outside_the_scope_that_is_used_reaches_nothing(tmp_path):
    """The part is used in one scope, which binds the same parameter."""
    line = "test_configuration.make_part.size = 2"
    with pytest.raises(UserError, match="binds test_configuration.make_part.size"):
        Configuration([_write(tmp_path, _TEXT)], [line]).apply(experiment)
    line = "test_configuration.make_part.inner = @test_configuration.make_unused"
    assert Configuration([_write(tmp_path, _TEXT)], [line]).apply(experiment)()[2] == (1, 3)


def test_the_experiment_is_named_after_its_first_file(tmp_path):
    text = _TEXT + "test_configuration.experiment.second = %EXPERIMENT\n"
    path = _write(tmp_path, text, "mine.gin")
    assert Configuration([path]).apply(experiment)()[1] == "mine"
    assert Configuration([path], ["EXPERIMENT = 'x'"]).apply(experiment)()[1] == "x"


def test_a_circle_of_includes_is_named(tmp_path):
    path = _write(tmp_path, 'include "test.gin"')
    with pytest.raises(UserError, match="circle"):
        Configuration([path])


@pytest.mark.parametrize("others", [["SECOND"], ["SECOND", "THIRD"]])
def test_a_circle_of_macros_is_refused(tmp_path, others):
    names = ["FIRST", *others, "FIRST"]
    circle = "\n".join(f"{name} = %{other}" for name, other in zip(names, names[1:]))
    path = _write(tmp_path, _TEXT.replace("FIRST = 5", circle))
    with pytest.raises(UserError, match="requires SECOND, which refers to it, as it binds FIRST"):
        Configuration([path]).apply(experiment)


def test_an_error_of_a_module_may_speak_of_lines_too(tmp_path, monkeypatch):
    (tmp_path / "refusing.py").write_text("raise ValueError('no (line 900)')")
    monkeypatch.syspath_prepend(tmp_path)
    path = _write(tmp_path, _TEXT + "import refusing\n")
    with pytest.raises(UserError, match=r"test.gin: 'import refusing' .*no \(line 900\)"):
        Configuration([path]).apply(experiment)


def test_a_missing_file_lists_what_is_known():
    with pytest.raises(UserError, match="demo.gin"):
        Configuration(["dmeo.gin"])


def test_a_missing_parameter_is_named(tmp_path):
    text = "from __gin__ import dynamic_registration\n"
    configuration = Configuration([_write(tmp_path, text)])
    with pytest.raises(UserError, match="experiment.first"):
        configuration.apply(experiment)


def _list_experiments():
    folder = gin_configs.__path__[0]
    return sorted(name for name in os.listdir(folder) if name.endswith(".gin"))


def _list_opened(name, depth=0):
    """Lists the files that a gin file opens, itself first, with their depths."""
    with open(os.path.join(gin_configs.__path__[0], name), encoding="utf-8") as file:
        included = re.findall(r'^include "(.*)"$', file.read(), re.MULTILINE)
    return [(name, depth)] + [pair for n in included for pair in _list_opened(n, depth + 1)]


@pytest.mark.parametrize("name", _list_experiments())
def test_an_experiment_opens_few_files(name):
    opened = _list_opened(name)
    assert len(opened) <= 6
    assert max(depth for _, depth in opened) <= 2
    assert all("/" in part for part, depth in opened if depth == 2)


@pytest.mark.parametrize("name", _list_experiments())
def test_every_experiment_is_complete(name):
    # Nobody else can know a user's classes.
    params = [_CLASSES] if name == "folder.gin" else []
    configuration = Configuration([name], params)
    configuration.apply(adapt)
    assert configuration.bindings["EXPERIMENT"] == repr(name.removesuffix(".gin"))


class _Base:
    def __init__(self, size):
        self.size = size.bit_length() if isinstance(size, list) else size + 1


class Wide(_Base):
    """Inherits its constructor, as the readers of data sets do."""


class Narrow(_Base):
    """Shares it."""


_BAD = "test_configuration.experiment.part = @test_configuration.{0}()\n"
_BAD += "test_configuration.{0}.size = {1!r}\n"


@pytest.mark.parametrize("value, words", [("wide", "can only"), ([1], "'list' object has no")])
@pytest.mark.parametrize("name", ["Wide", "Narrow"])
def test_a_bad_value_names_the_class_that_was_built(tmp_path, name, value, words):
    """Two classes share a constructor."""
    files = [_write(tmp_path, _TEXT), _write(tmp_path, _BAD.format(name, value), "bad.gin")]
    run = Configuration(files).apply(experiment)
    with pytest.raises(UserError, match=f"gives {name} a value that it cannot take: {words}"):
        with explain_bad_values(experiment):
            run()


def test_an_error_of_the_run_itself_is_no_bad_value(tmp_path):
    line = "test_configuration.fail.reason = 'a bug'"
    path = _write(tmp_path, _TEXT.partition("\n\n")[0] + "\n" + line)
    run = Configuration([path]).apply(fail)
    with pytest.raises(ValueError, match="a bug") as caught:
        with explain_bad_values(fail):
            run()
    assert not isinstance(caught.value, UserError)


def test_a_missing_parameter_is_named_with_its_scope(tmp_path):
    parts = ", ".join(f"@{scope}/test_configuration.fail" for scope in "ab")
    params = [
        f"test_configuration.experiment.part = [{parts}]",
        "a/test_configuration.fail.reason = 'known'",
    ]
    path = _write(tmp_path, _TEXT)
    with pytest.raises(UserError, match="Nothing binds b/test_configuration.fail.reason"):
        Configuration([path], params).apply(experiment)
