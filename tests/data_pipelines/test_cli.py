"""Output and errors of every command."""

from tests.support import calls

_COMMAND = """
from data_pipelines import cli

def main():
    print("road 道路")

cli.run_command(main)
"""


def test_letters_that_the_output_lacks_are_escaped():
    output = calls.read_output("-c", _COMMAND, PYTHONIOENCODING="cp1252")
    assert output == "road \\u9053\\u8def\n"


def test_letters_that_the_output_has_are_printed():
    output = calls.read_output("-c", _COMMAND, PYTHONIOENCODING="utf-8")
    assert output == "road 道路\n"
