import os
import subprocess
import sys

import numpy as np
import pytest
from place import ROOT
from sweeps import execute
from two_processes import ONE

from harness import records
from harness.training import processes
from harness.training.layout import Layout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_train_a_run_as_one_does(tmp_path):
    """Two of two CPU devices each, by Gloo, and one of four devices; also one device. The first alone writes."""
    done = subprocess.run([sys.executable, "tests/fixtures/two_processes.py", str(tmp_path)], text=True,
                          capture_output=True, check=False, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    together, alone = records.Folder(tmp_path, "together"), records.Folder(tmp_path, "alone")
    execute(alone, ONE, devices=1)
    [two], [one] = together.records().values(), alone.records().values()
    assert two.placement.layouts == (str(Layout(1, 4)),)
    assert two.environment.device_count == 4
    np.testing.assert_allclose(together.curve("baseline,seed=0"), alone.curve("baseline,seed=0"), rtol=1e-5)
    assert two.last.test_accuracy == one.last.test_accuracy
    assert two.last.test_loss == pytest.approx(one.last.test_loss, rel=1e-5)
    assert not list(together.path.glob("runs/*/checkpoints"))
    assert not together.in_training.exists()


def test_one_process_decides_for_itself():
    assert not processes.several()
    assert processes.is_first()
    assert processes.any_of(True)
    assert not processes.any_of(False)
    assert processes.of_first([True, False]) == [True, False]
