"""What every command of the program does the same way: help, flags, errors, exit codes.

Exit codes: 0 done, 1 a defect of the program, 2 bad input, flags or configuration, 3 done but for
files that were named and skipped, 75 stopped early by SIGTERM or by the loss of another machine,
everything so far kept (the same command goes on), 130 interrupted.
"""

from __future__ import annotations

import os
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
        takes_arguments: whether `main` is given the list of arguments that are no flags, which
            may then stand before, between and after flags. Otherwise they are refused.
    """
    # TensorFlow's notes on its build would stand above everything the program says.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    flags.FLAGS.set_gnu_getopt(takes_arguments)

    def run(argv):
        if len(argv) > 1 and not takes_arguments:
            _fail(f"Unexpected argument {argv[1]!r}: every option is a flag, see --help.")
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
    """Returns the values of flags that must be given.

    Args:
        *names: flags without a default.

    Returns:
        A value for each name.

    Raises:
        UserError: names the first flag that is missing.
    """
    for name in names:
        if not flags.FLAGS[name].value:
            raise UserError(f"The flag --{name} is missing: {flags.FLAGS[name].help}")
    return [flags.FLAGS[name].value for name in names]


def name_run_dir(gin_files: Sequence[str]) -> str:
    """Names the run directory of configurations, where no flag names another.

    Args:
        gin_files: paths or names.

    Returns:
        runs/NAME for NAME.gin, runs/NAME-OTHER for two files.
    """
    names = [os.path.splitext(os.path.basename(path))[0] for path in gin_files]
    return os.path.join("runs", "-".join(names))


def _parse_flags(argv: list[str], module: str) -> list[str]:
    if any(argument in _HELP_FLAGS for argument in argv[1:]):
        flags.FLAGS(argv[:1])
        if module != "__main__":
            # An installed script: the module that runs says nothing of the command.
            print(f"{sys.modules[module].__doc__}\nflags:\n{flags.FLAGS.module_help(module)}")
            sys.exit(0)
        app.usage(shorthelp=True, exitcode=0)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error} See --help.")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(EXIT_BAD_INPUT)
