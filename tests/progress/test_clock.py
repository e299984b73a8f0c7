import re

import pytest

from harness.progress import clock


def test_what_passes_before_programs_are_there_is_no_training(monkeypatch):
    """Two cohorts: 5 s before the first, 3 s before the second, in which a run ends while another trains on."""
    times = iter([100.0, 105.0, 112.0, 113.0, 120.0, 123.0, 130.0, 131.0])
    monkeypatch.setattr(clock.time, "time", lambda: next(times))
    told = clock.Clock()
    told.compiled(None)  # 105
    told.ended(None)  # 112, and its sibling goes on
    told.epochs([])
    told.ended(None)  # 113
    told.ended(None)
    told.compiled(None)  # 120
    told.epochs([])
    told.close()
    line = told.line()
    parts = {name.strip(): float(seconds) for name, seconds in re.findall(r"([a-z ]+) ([\d.]+) s", line)}
    assert parts["loading and compiling"] == pytest.approx(5 + 7)
    assert parts["training and recording"] == pytest.approx(23 - 12)
    assert parts["report"] == pytest.approx(7)
