import pytest
from sweeps import BASE

from ablations.spec import Ablation, Factor
from harness.executors import shard
from harness.training import cohort

UNITS = {str(units): (units,) for units in (4, 8, 16)}
RUNS = Ablation("Why?", BASE, {"units": Factor("model.hidden", UNITS), "rate": Factor(
    "optimizer.learning_rate", {"slow": 0.1, "fast": 0.2})}, seeds=tuple(range(5))).runs()
WORK = {run.run_id: float(run.config.model.hidden[0]) for run in RUNS}


@pytest.mark.parametrize("parts", [1, 4, 7])
def test_parts_have_every_run_once_and_are_alike_in_cost(parts):
    divided = [shard.part(RUNS, WORK, number, parts) for number in range(1, parts + 1)]
    ids = [run.run_id for part in divided for run in part]
    assert sorted(ids) == sorted(run.run_id for run in RUNS)
    loads = [sum(WORK[run.run_id] for run in part) for part in divided]
    assert max(loads) <= 1.35 * sum(loads) / parts
    assert divided == [shard.part(RUNS, WORK, number, parts) for number in range(1, parts + 1)]


def test_few_parts_leave_cohorts_whole_and_many_cut_them():
    assert shard.pieces(RUNS, WORK, 1) == cohort.partition(RUNS)
    pieces = shard.pieces(RUNS, WORK, 4)
    assert sorted(run.run_id for piece in pieces for run in piece) == sorted(WORK)
    costs = [sum(WORK[run.run_id] for run in piece) for piece in pieces]
    assert max(costs) <= sum(costs) / 8 + max(WORK.values())


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2"])
def test_a_part_that_there_is_not_is_one_line(text):
    with pytest.raises(shard.ShardError, match=f"--shard={text} must be I/N") as error:
        shard.parsed(text)
    assert "\n" not in str(error.value)
