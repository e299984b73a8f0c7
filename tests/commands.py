"""Carries out the harness's commands in processes that begin with what they import imported, and made brief.

Started as a program in the folder whose code is to run, it forks a process for each command it is told of. `in_seconds`
says what is left out: the pictures of harness.run, and most of what harness.bench measures.
"""

import atexit
import functools
import importlib
import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

# What the commands import, themselves left out: each is run as a program.
IMPORTED = ("harness.executor", "harness.contents", "harness.exporters", "harness.page_index", "harness.watch",
            "harness.bench_plots", "harness.bench_tables", "harness.rounds", "harness.workloads", "in_seconds")


class Commands:
    """A process that carries out commands in a folder, one after another.

    Attributes:
      folder: where they run, and whose code runs.
      cpu: what the machine's CPU passes for; None leaves its name.
    """

    def __init__(self, folder: pathlib.Path, cpu: str | None = None):
        self.folder = folder
        self._process = subprocess.Popen([sys.executable, __file__, cpu or ""], cwd=folder, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Is `python -m COMMAND`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as log:
            streams = {name: f"{log}/{name}" for name in ("stdout", "stderr")}
            self._process.stdin.write(json.dumps({"command": command, "environment": environment, **streams}) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            told = {name: pathlib.Path(path).read_text() for name, path in streams.items()}
        return subprocess.CompletedProcess(command, code, **told)

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


@functools.cache
def here() -> Commands:
    """Gives the process that carries out this checkout's commands for all tests."""
    started = Commands(pathlib.Path(__file__).parent.parent)
    atexit.register(started.close)
    return started


def _serve(cpu: str) -> None:
    sys.path.insert(0, "")  # as for python -m
    for name in IMPORTED:
        importlib.import_module(name)
    if cpu:
        from harness import environment

        environment._cpu_name = lambda: cpu
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            os._exit(_carry_out(json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _carry_out(job: Mapping[str, Any]) -> int:
    for descriptor, name in ((0, None), (1, "stdout"), (2, "stderr")):
        opened = os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if name else os.open(os.devnull, os.O_RDONLY)
        os.dup2(opened, descriptor)
    os.environ.update(job["environment"])
    module, *arguments = job["command"]
    import in_seconds

    if module == "harness.run":
        in_seconds.draw_nothing()
    if module == "harness.bench":
        in_seconds.time_tiny_networks()
    sys.argv = [module, *arguments]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    _serve(sys.argv[1])
