"""Help, flags, errors and exit codes, common to all commands.

Exit codes: 0 success, 1 internal error, 2 bad input, flags or configuration, 3 success except for
files that were listed and skipped, 75 stopped early by SIGTERM or by the loss of another machine
(the same command resumes), 130 interrupted.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from absl import app
from absl import flags

from data_pipelines.errors import UserError

EXIT_BAD_INPUT = 2
EXIT_SKIPPED = 3
EXIT_STOPPED_EARLY = 75
EXIT_INTERRUPTED = 130

_HELP_FLAGS = ("-h", "-help", "--help", "-helpshort", "--helpshort")

_DEBUG = flags.DEFINE_bool("debug", False, "Show a traceback with every error.")


def run_command(main: Callable[..., int | None], *, takes_arguments: bool = False) -> None:
    """Parses flags, runs a command and exits.

    Bad input ends with one paragraph on standard error and no traceback, unless `--debug` is set.

    Args:
        main: the command; returns an exit code, None for 0.
        takes_arguments: whether `main` takes the list of positional arguments, which may be
            before, between and after flags. Otherwise they are an error.
    """
    # Hides TensorFlow's messages about its build.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    # A terminal or pipe with few letters, such as cp1252, shows the others as escapes.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

    flags.FLAGS.set_gnu_getopt(takes_arguments)

    def run(argv):
        if len(argv) > 1 and not takes_arguments:
            hint = f", such as --gin_file={argv[1]}" if argv[1].endswith(".gin") else ""
            _fail(f"Unexpected argument {argv[1]!r}: every option is a flag{hint}; see --help.")
        try:
            code = main(argv[1:]) if takes_arguments else main()
        except UserError as error:
            if _DEBUG.value:
                raise
            _fail(error.message)
        except KeyboardInterrupt:
            print("\nInterrupted; what was finished is kept.", file=sys.stderr)
            sys.exit(EXIT_INTERRUPTED)
        sys.exit(code)

    app.run(run, flags_parser=lambda argv: _parse_flags(argv, main.__module__))


def require_flags(*names: str) -> list[Any]:
    """Returns the values of required flags.

    Args:
        *names: flags without a default.

    Returns:
        One value for each name.

    Raises:
        UserError: a flag is missing; names the first one.
    """
    for name in names:
        if not flags.FLAGS[name].value:
            raise UserError(f"The flag --{name} is missing: {flags.FLAGS[name].help}")
    return [flags.FLAGS[name].value for name in names]


def name_run_dir(gin_files: Sequence[str]) -> str:
    """Returns the default run directory of configurations.

    Args:
        gin_files: paths or names.

    Returns:
        runs/NAME for NAME.gin, runs/NAME-OTHER for two files.
    """
    names = [os.path.splitext(os.path.basename(path))[0] for path in gin_files]
    return os.path.join("runs", "-".join(names))


def parse_size(text: str, otherwise: str = "native") -> tuple[int, int] | None:
    """Parses the size of a flag.

    Args:
        text: "HEIGHTxWIDTH" in pixels, or `otherwise`.
        otherwise: the word for no size.

    Returns:
        (height, width); None for `otherwise`.

    Raises:
        UserError: it is neither.
    """
    if text == otherwise:
        return None
    numbers = text.split("x")
    if len(numbers) != 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise UserError(
            f"The size {text!r} is neither HEIGHTxWIDTH in pixels, such as 512x1024, nor "
            f"{otherwise!r}."
        )
    return int(numbers[0]), int(numbers[1])


def _parse_flags(argv: list[str], module: str) -> list[str]:
    if any(argument in _HELP_FLAGS for argument in argv[1:]):
        flags.FLAGS(argv[:1])
        if module != "__main__":
            # In an installed script `__main__` does not describe the command.
            print(f"{sys.modules[module].__doc__}\nflags:\n{flags.FLAGS.module_help(module)}")
            sys.exit(0)
        app.usage(shorthelp=True, exitcode=0)
    try:
        return flags.FLAGS([_expand_home(argument) for argument in argv])
    except flags.Error as error:
        _fail(f"{error} See --help.")


def _expand_home(argument):
    """Expands "~/" in the value of a flag, where shells leave it: --input=~/left,~/right."""
    if not argument.startswith("-"):
        return argument
    return re.sub("(?<=[=,])~(?=/)", lambda _: os.path.expanduser("~"), argument)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)
