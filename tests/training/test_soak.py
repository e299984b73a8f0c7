import json
import subprocess
import sys

import pytest
from place import ROOT


@pytest.mark.slow
def test_a_short_soak_counts_nothing(tmp_path):
    """A launch killed in each stage, and some at a write; make soak is the long form."""
    soaked = subprocess.run([sys.executable, "tests/soak.py", "--rounds=6", "--writes=3", f"--out={tmp_path / 'out'}"],
                            cwd=ROOT, capture_output=True, text=True, check=False)
    assert soaked.returncode == 0, soaked.stdout + soaked.stderr
    assert soaked.stdout.splitlines()[-1] == "lost, duplicated, different, leftover: 0, 0, 0, 0"
    assert json.loads((tmp_path / "out").read_text())["kills"]["write"] == 3
