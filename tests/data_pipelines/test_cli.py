"""Flags, output and errors of every command."""

from tests.support import calls

_COMMAND = """
from data_pipelines import cli

def main():
    print("road 道路")

cli.run_command(main)
"""


_COMMAND_OF_PATHS = """
from absl import flags

from data_pipelines import cli

_INPUT = flags.DEFINE_multi_string("input", None, "Paths.")

def main():
    print(*_INPUT.value)

cli.run_command(main)
"""


def test_letters_that_the_output_lacks_are_escaped():
    output = calls.read_output("-c", _COMMAND, PYTHONIOENCODING="cp1252")
    assert output == "road \\u9053\\u8def\n"


def test_letters_that_the_output_has_are_printed():
    output = calls.read_output("-c", _COMMAND, PYTHONIOENCODING="utf-8")
    assert output == "road 道路\n"


def test_the_home_folder_in_values_of_flags():
    words = ("--input=~/left,~/right", "--input=s://~/a~/b", "-input=~c/~", "--input=(1, ~/ 2)")
    output = calls.read_output("-c", _COMMAND_OF_PATHS, *words, HOME="/home/me")
    assert output == "/home/me/left,/home/me/right s://~/a~/b ~c/~ (1, ~/ 2)\n"
