"""What the command lines share: flags are parsed and expected errors end in one line on stderr, never a traceback.

`ablate run ...` is `python -m harness.run ...`, whatever folders are called `harness` or `models` where one stands.
"""

import importlib.util
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

# Each is a module that is run as a program.
COMMANDS = {"run": "harness.run", "report": "harness.report", "bench": "harness.bench", "predict": "harness.predict"}


class UsageError(Exception):
    """A command that cannot be carried out as given; the message is one line."""


def ablate() -> None:
    """Carries out `ablate COMMAND ...`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    there = {name: module for name, module in COMMANDS.items() if importlib.util.find_spec(module)}
    usage = f"ablate COMMAND --flag=value ..., where COMMAND is one of {', '.join(there)}; ablate COMMAND --help"
    if command in ("-h", "--help", "--helpfull"):
        print(f"usage: {usage}")
        return
    if command not in there:
        print(f'error: no command "{command}"; usage: {usage}', file=sys.stderr)
        sys.exit(2)
    del sys.argv[1]
    runpy.run_module(there[command], run_name="__main__", alter_sys=True)


def run(main: Callable[[], None], *expected: type[Exception]) -> None:
    """Runs a command's main function and exits.

    Args:
      main: reads FLAGS itself; its return means success.
      expected: errors that are the user's to mend, each with a one-line message.
    """
    mendable: tuple[type[Exception], ...] = (UsageError, OSError, *expected)  # a full disk is no bug

    def guarded(arguments: Sequence[str]) -> None:
        try:
            if len(arguments) > 1:
                raise UsageError(f'unexpected argument "{arguments[1]}": options have the form --name=value')
            main()
        except KeyboardInterrupt:
            print("stopped; what was saved stays", file=sys.stderr)
            sys.exit(130)
        except mendable as error:
            tell(error, "", mendable)
            sys.exit(1)

    app.run(guarded, flags_parser=_parse)


def tell(error: Exception, about: str, mendable: tuple[type[Exception], ...]) -> None:
    """Prints an error to stderr: one line if it is the user's to mend, with its traceback if it is a bug."""
    if isinstance(error, mendable):
        print(f"error: {about}{' '.join(str(error).split())}", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _parse(arguments: Sequence[str]) -> list[str]:
    try:
        positional = flags.FLAGS(arguments)
    except SystemExit:  # of --help, whose 1 would say that something went wrong
        sys.exit(0)
    except flags.Error as error:
        print(f"error: {' '.join(str(error).split())} (see --help)", file=sys.stderr)
        sys.exit(2)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # at its default, Orbax tells every step of every save
    return positional
