import many
import pytest


@pytest.mark.slow
def test_five_hundred_runs_in_one_process_hold_no_more_than_fifty(tmp_path):
    """Memory, handles, threads and the time for a run, cohort by cohort; the first compiles what all share.

    Memory grows with the programs that are compiled, of which jax keeps about 15 MiB each, and hardly with runs.
    """
    rows = many.train(tmp_path, cohorts=10, seeds=50)
    assert rows[-1]["runs"] == 500
    assert rows[-1]["handles"] <= rows[1]["handles"] + 2
    assert rows[-1]["threads"] <= rows[1]["threads"] + 2
    assert rows[-1]["mib"] - rows[1]["mib"] < 8 * 30, rows
    assert min(row["ms"] for row in rows[-3:]) < 1.5 * min(row["ms"] for row in rows[1:4]), rows
