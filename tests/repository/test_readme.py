"""What README shows, works as it stands there.

Without this file its scripts could go on showing names that are gone.
"""

import re
import subprocess
import sys

import pytest
from import_graph import ROOT

BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
TEN_LINES = next(block for block in BLOCKS if "efsgd.run(" in block)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[3].strip())
def test_a_script_of_the_readme_runs(block):
    command = [sys.executable, "-W", "error", "-c", block]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    if "verify(" in block:
        assert "VIOLATED" in ran.stdout
    if "worst_case(" in block:
        claimed, replayed = map(float, ran.stdout.split())
        assert replayed == pytest.approx(claimed, rel=1e-5)
        assert claimed == pytest.approx(0.8348479602, rel=1e-5)  # 512-bit solver, PEPit agrees
    if "workers=" in block:
        distance, up, down = map(float, ran.stdout.split())
        assert distance < 1e-12
        assert 0 < up < down / 4
    elif "efsgd.run(" in block:
        loss, sent = map(float, ran.stdout.split())
        assert 0 < loss < 1  # from 41 at the start
        assert sent > 0


def test_ten_lines_are_ten_lines():
    assert len([line for line in TEN_LINES.splitlines() if line.strip()]) == 10


def test_ten_lines_pass_the_strict_type_checker(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TEN_LINES)
    command = [sys.executable, "-m", "mypy", "--strict", str(script)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
