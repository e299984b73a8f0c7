"""What the command lines share: flags are parsed and expected errors end in one line on stderr, never a traceback.

`ablate run ...` is `python -m harness.run ...`, whatever folders are called `harness` or `models` where one stands.
"""

import ast
import errno
import importlib.util
import math
import os
import runpy
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags, logging

# What to do about an error of the operating system, which names the file alone.
_MENDS = {errno.ENOENT: "give one that is there", errno.ENOTDIR: "give a folder", errno.EEXIST: "give another name",
          errno.EISDIR: "give a file", errno.ENOSPC: "free some room or give another folder",
          errno.EDQUOT: "free some room or give another folder"}
_MENDS |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "give one that you may use, or change who may")
# Each is a module that is run as a program.
COMMANDS = {"run": "harness.run", "report": "harness.report", "bench": "harness.bench", "predict": "harness.predict"}


class UsageError(Exception):
    """A command that cannot be carried out as given; the message is one line.

    Attributes:
      choices: names to choose from, printed below the message.
      exit_code: of the process.
      leaves_work: whether threads are still at something that nobody waits for.
    """

    exit_code = 1
    leaves_work = False

    def __init__(self, message: str, choices: Sequence[str] = ()):
        super().__init__(message)
        self.choices = tuple(choices)


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


class UnfinishedError(UsageError):
    """Runs are left that others train, or trained and lost; the command may be given again."""

    exit_code = getattr(os, "EX_TEMPFAIL", 75)


class StoppedError(UsageError):
    """The user has stopped the command; what it was at is saved, and it may be given again."""

    exit_code = getattr(os, "EX_TEMPFAIL", 75)
    leaves_work = True


def run(main: Callable[..., None], *expected: type[Exception], takes_names: bool = False) -> None:
    """Runs a command's main function and exits.

    Args:
      main: reads FLAGS itself; its return means success.
      expected: errors that are the user's to mend, each with a one-line message; names in their attribute `choices`
        are listed below it.
      takes_names: whether it is given what stands on the command line beside the flags, such as files.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as it is while a command imports what it needs
        signal.signal(signal.SIGINT, signal.default_int_handler)
    flags.FLAGS.set_gnu_getopt(True)  # flags also count after a name
    mendable: tuple[type[Exception], ...] = (UsageError, OSError, *expected)  # a full disk is no bug

    def guarded(arguments: Sequence[str]) -> None:
        try:
            if takes_names:
                main(arguments[1:])
                return
            if len(arguments) > 1:
                raise UsageError(f'unexpected argument "{arguments[1]}": options have the form --name=value')
            main()
        except KeyboardInterrupt:
            print("stopped; what was saved stays", file=sys.stderr)
            sys.exit(130)
        except mendable as error:
            tell(error, "", mendable)
            code = getattr(error, "exit_code", 1)
            if getattr(error, "leaves_work", False):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
            sys.exit(code)

    app.run(guarded, flags_parser=_parse)


def value(text: str) -> object:
    """Reads a Python literal, or takes the text as it stands."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # all that Python names
        return text
    return tuple(value) if isinstance(value, list) else value


def settings(texts: Sequence[str]) -> dict[str, object]:
    """Reads what --set gives: path -> value.

    Raises:
      UsageError: if one has another form, or a path is given twice.
    """
    found: dict[str, object] = {}
    for setting in texts:
        path, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set={setting} needs the form path=value, such as optimizer.learning_rate=0.01")
        if path in found:
            raise UsageError(f"--set={path}= is given twice: leave out one of them")
        found[path] = value(text)
    return found


def given(*names: str) -> list[str]:
    """Writes those of the flags that the command has, as it has them."""
    return [text for name in names if flags.FLAGS[name].present for text in flags.FLAGS[name].serialize().splitlines()]


def _said(error: Exception) -> str:
    if not isinstance(error, OSError) or error.strerror is None or error.filename is None:
        return str(error)
    mend = f"; {_MENDS[error.errno]}" if error.errno in _MENDS else ""
    return f"{error.filename}: {error.strerror.lower()}{mend}"


def _listed(choices: Sequence[str]) -> list[str]:
    lines = textwrap.wrap(", ".join(choices), 78, break_long_words=False, break_on_hyphens=False)
    return [f"  {line}" for line in lines]


def _check_numbers(arguments: Sequence[str]) -> None:
    """Refuses what Python reads as a number and a user can hardly mean: nan, infinity, digits of other scripts."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, text = argument.lstrip("-").partition("=")
        if not argument.startswith("-") or name not in flags.FLAGS:
            continue
        value, text = flags.FLAGS[name].value, text if equals else following
        if isinstance(value, int | float) and not isinstance(value, bool) and not (
                text.isascii() and math.isfinite(value)):
            raise flags.Error(f"--{name}={text} must be a finite number in the digits 0 to 9")


def tell(error: Exception, about: str, mendable: tuple[type[Exception], ...]) -> None:
    """Prints an error to stderr: one line if it is the user's to mend, with its traceback if it is a bug."""
    if isinstance(error, mendable):
        lines = [f"error: {about}{' '.join(_said(error).split())}", *_listed(getattr(error, "choices", ()))]
        print("\n".join(lines), file=sys.stderr)
    else:
        traceback.print_exception(error)


def _parse(arguments: Sequence[str]) -> list[str]:
    try:
        positional = flags.FLAGS(arguments)
        _check_numbers(arguments)
    except SystemExit:  # of --help, whose 1 would say that something went wrong
        sys.exit(0)
    except flags.Error as error:
        print(f"error: {' '.join(str(error).split())} (see --help)", file=sys.stderr)
        sys.exit(2)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # at its default, Orbax tells every step of every save
    return positional
