"""What the command lines share: flags are parsed and expected errors end in one line on stderr, never a traceback."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging


class UsageError(Exception):
    """A command that cannot be carried out as given; the message is one line."""


def run(main: Callable[[], None], *expected: type[Exception]) -> None:
    """Runs a command's main function and exits.

    Args:
      main: reads FLAGS itself; its return means success.
      expected: errors that are the user's to mend, each with a one-line message.
    """
    expected += (UsageError, OSError)  # a full disk or a folder that may not be written is no bug

    def guarded(arguments: Sequence[str]) -> None:
        try:
            if len(arguments) > 1:
                raise UsageError(f'unexpected argument "{arguments[1]}": options have the form --name=value')
            main()
        except KeyboardInterrupt:
            print("stopped; what was saved stays", file=sys.stderr)
            sys.exit(130)
        except expected as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded, flags_parser=_parse)


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
