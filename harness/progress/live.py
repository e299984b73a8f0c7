"""Draws the sweeps that other processes train, live in a terminal."""

import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live

from harness.progress import screen
from harness.progress.status import Reader
from harness.records import Folder, RecordError


def watch(folders: Sequence[Folder], console: Console, every_s: float = 1.0,
          pause: Callable[[float], None] = time.sleep) -> None:
    """Shows sweeps until all their runs are recorded and no process goes on that trained them, or the user stops it.

    Where there is no terminal it shows them once.

    Raises:
      harness.records.RecordError: at the end, if files could not be read, naming them.
    """
    watches = [Reader(folder) for folder in folders]

    damaged: list[str] = []

    def look() -> tuple[bool, Group]:
        sweeps = [one.read(time.time()) for one in watches]
        damaged[:] = [line for sweep in sweeps for line in sweep.damaged]
        lines = max(1, (console.height - 1) // len(sweeps) - screen.AROUND)
        over = all(sweep.recorded == len(sweep.runs) and not sweep.going_on for sweep in sweeps)
        return over, Group(*(screen.draw(sweep, console.width, lines) for sweep in sweeps))

    over, shown = look()
    if over or not console.is_terminal:
        console.print(shown)
    else:
        _until_over(look, shown, console, lambda: pause(every_s))
    if damaged:
        raise RecordError("; ".join(damaged))


def _until_over(look: Callable[[], tuple[bool, Group]], shown: Group, console: Console, wait: Callable[[], None]
                ) -> None:
    over = False
    try:
        with Live(shown, console=console, auto_refresh=False) as live:
            while not over:
                wait()
                over, shown = look()
                live.update(shown, refresh=True)
    except KeyboardInterrupt:
        pass  # how one leaves; what was last shown stays on the screen
