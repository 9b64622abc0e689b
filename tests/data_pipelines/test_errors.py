"""Errors caused by user input keep their text on the way through gin."""

import types

import gin
import pytest

from data_pipelines import cli
from data_pipelines.errors import UserError


def _refuse():
    raise UserError("the file is missing")


def _call(part):
    part()


_REFUSE = gin.external_configurable(_refuse, module="test_errors")
_CALL = gin.external_configurable(_call, module="test_errors")


@pytest.fixture
def refused():
    """The error as it comes through two configurables."""
    with pytest.raises(UserError) as caught:
        _CALL(_REFUSE)
    return caught.value


def test_gin_adds_nothing_to_the_message(refused):
    assert "In call to configurable '_call'" in str(refused)
    assert refused.message == "the file is missing"


def test_commands_print_the_message_alone(refused, monkeypatch, capsys):
    def fail():
        raise refused

    monkeypatch.setattr(cli, "_DEBUG", types.SimpleNamespace(value=False))
    monkeypatch.setattr(cli.app, "run", lambda main, **_: main(["command"]))
    with pytest.raises(SystemExit) as caught:
        cli.run_command(fail)
    assert caught.value.code == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err == "error: the file is missing\n"
