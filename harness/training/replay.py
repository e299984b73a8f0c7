"""A recorded run that is to be trained again: found by its record, told in flags, held against its configuration."""

import dataclasses
import pathlib
from collections.abc import Sequence

from ablations import lookup
from ablations.spec import Run
from harness.records import Folder, RecordError, RunRecord, again, replayed
from harness.records.configs import as_json, config_differences
from harness.records.files import in_home
from harness.records.folder import read_record


@dataclasses.dataclass(frozen=True)
class Replay:
    """A recorded run.

    Attributes:
      folder: of the run.
    """

    folder: pathlib.Path
    record: RunRecord

    @property
    def run_id(self) -> str:
        """Names the run."""
        return self.record.run_id

    def arguments(self) -> list[str]:
        """Lists the flags that train the run again: an ablation's file is looked for where it was, then from here."""
        file, name = lookup.parted(self.record.origin)
        if not file.endswith(".py") or len(self.folder.parents) < 4:
            return again.arguments(self.run_id, self.record)
        there = self.folder.parents[3] / file
        found = str(there) if there.is_file() else file
        if pathlib.Path(found).resolve().is_relative_to(self.folder.parents[1]):
            raise RecordError(f"{self.folder} cannot be trained again: its record names {found}, which lies with the "
                              "results, and nothing there is executed; put a copy elsewhere and train that")
        return again.arguments(self.run_id, self.record, f"{found}:{name}" if name else found)

    def run_of(self, runs: Sequence[Run]) -> Run:
        """Finds the run among an ablation's.

        Raises:
          RecordError: if the ablation has it no longer, or with another configuration.
        """
        found = next((run for run in runs if run.run_id == self.run_id), None)
        if found is None:
            raise RecordError(f"{self.folder} cannot be trained again: its ablation no longer has {self.run_id}; check "
                              "out the commit of the record")
        if changes := config_differences(self.record.config, as_json(found.config)):
            raise RecordError(f"{self.folder} cannot be trained again: its ablation now says {'; '.join(changes)}; "
                              "check out the commit of the record")
        return found

    def refuse_recorded(self, results_dir: str) -> None:
        """Raises RecordError where the run is recorded already."""
        if (self._again(results_dir) / "record.json").exists():
            raise RecordError(f"{self._again(results_dir)} is recorded already, and nothing is overwritten: give "
                              "another --results_dir")

    def compared(self, results_dir: str) -> replayed.Outcome:
        """Holds the run as it was trained again into a results folder against its record."""
        return replayed.compare(self.folder, self._again(results_dir))

    def _again(self, results_dir: str) -> pathlib.Path:
        # Not by the recorded name: an earlier version may have named the same overrides otherwise.
        name = lookup.derived_name(self.record.ablation.partition(",")[0], self.record.overrides)
        return Folder(results_dir, name).run(self.run_id)


def find(path: str) -> Replay:
    """Finds a recorded run by its record.json or its folder.

    Raises:
      RecordError: if there is no record that can be read, or the run has come to no numbers.
    """
    file = in_home(path).resolve()
    file = file / "record.json" if file.is_dir() else file
    if not file.is_file():
        raise RecordError(f"--replay={path}: there is no such record; give a run's record.json, such as "
                          "results/kmnist_mlp/runs/RUN/record.json")
    record = read_record(file)
    if record.status not in ("done", "diverged"):
        raise RecordError(f"--replay={path}: the run is recorded as {record.status} and has no numbers to be compared; "
                          f"train it again with --retry={record.status}")
    return Replay(file.parent, record)
