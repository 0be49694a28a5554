"""The quarter of an hour on the CPU, in small: every stage, one that fails, one that is killed.

ResNet8 on the stand-in, packed as real images are; Triton in its interpreter. Raises AssertionError
where what comes home is not what was promised.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from home import MEASURED, RESULTS, ROWS, STATE, TESTS
from packed import pack

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("quarter_hour.py")
IMAGES, JUDGED = 64, 32
COMMIT = "v0-rehearsed"
METHODS = 4


class Rehearsal:
    """A folder with the packed data, where calls are made as on the rented machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        data, decoder = pack(folder, IMAGES, JUDGED)
        (folder / "commit.txt").write_text(f"{COMMIT}\n", encoding="utf-8")
        self.given = ["--data", data, "--decoder", decoder, "--commit", folder / "commit.txt"]
        self.given += ["--out", self.out, "--work", folder / "work", "--small"]

    def call(self, *words: Any, broken: str = "") -> tuple[int, dict[str, Any]]:
        """The exit code of a call, and what became of its stages; OUT is emptied before."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        command = [sys.executable, str(SCRIPT), *map(str, [*words, *self.given])]
        ran = subprocess.run(command, env=os.environ | {"EFSGD_BROKEN": broken}, check=False)
        files = sorted(path.name for path in self.out.iterdir())
        assert len(files) <= 8, files
        assert all(path.stat().st_size < 2**20 for path in self.out.iterdir()), files
        assert not [name for name in files if name.startswith(".")], files
        return ran.returncode, self.state()[words[0]]

    def state(self) -> dict[str, Any]:
        """What the calls so far have written down."""
        found: dict[str, Any] = json.loads((self.out / STATE).read_text(encoding="utf-8"))
        return found

    def measured(self) -> dict[str, Any]:
        """The sections of the last check."""
        found = json.loads((self.out / MEASURED).read_text(encoding="utf-8"))
        for section in found.values():
            assert section["machine"]["device"] == "CPU"
            assert section["machine"]["git"]  # of the checkout, else the one that was carried
        return found


def core(rehearsal: Rehearsal) -> None:
    """Images are unpacked, the forms are probed, a stage that fails takes nobody along."""
    code, stages = rehearsal.call("check", "--only", "decode,probe,images", broken="images fails")
    assert code == 1
    assert [one["status"] for one in stages.values()] == ["well", "well", "failed with exit code 1"]
    probed(rehearsal)
    trains(rehearsal)


def probed(rehearsal: Rehearsal) -> None:
    """The Triton step, in its interpreter, works and agrees; something was found best."""
    state, rows = rehearsal.state(), rehearsal.measured()["probe"]["rows"]
    assert state["data"]["name"].startswith("standin_jpeg-")
    assert (state["data"]["training images"], state["data"]["test images"]) == (IMAGES, JUDGED)
    assert [row["form"] for row in rows] == ["foreach", "triton"]
    assert not any("failed" in row for row in rows), rows
    assert rows[1]["apart"] < 1e-3
    assert state["best"]["form"] in ("foreach", "triton")


def trains(rehearsal: Rehearsal) -> None:
    """Two epochs of four methods come home, and the command draws them."""
    code, stages = rehearsal.call("train", "--epochs", 2)
    assert list(stages) == ["train"], stages  # the images are there
    assert (code, stages["train"]["status"]) == (0, "well"), stages
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * METHODS
    name = rehearsal.state()["data"]["name"]
    told = drawn(rehearsal, "--preset", "short", "--data", name, "--epochs", "2")
    assert f"accuracy-resnet8-{name}.png" in told, told
    assert "runs are missing" not in told, told


def drawn(rehearsal: Rehearsal, *words: str) -> str:
    """What `efsgd-figures cifar --draw` says to the archive."""
    results = rehearsal.folder / "unpacked"
    with zipfile.ZipFile(rehearsal.out / RESULTS) as archive:
        assert archive.testzip() is None
        archive.extractall(results / "cifar")
    for path in (results / "cifar").glob("*.npz"):
        with np.load(path) as result:
            made = json.loads(str(result["made_by"]))
            assert np.isfinite(result["test_accuracy"]).all()
        assert made["git"]
        assert made["form"] in ("foreach", "triton", "loop")
    options = ["--draw", "--model", "resnet8", "--batch", "32", "--evaluate-every", "2", *words]
    options += ["--precision", "fp32"]
    options += ["--results", str(results), "--out", str(rehearsal.folder / "figures")]
    code = "from efsgd.figures.cli import main; main()"
    command = [sys.executable, "-c", code, "cifar", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def whole(rehearsal: Rehearsal) -> None:
    """Every stage, one of them killed; trainings stopped by their deadline; runs that add up."""
    code, stages = rehearsal.call("check", broken="images dies")
    expected = dict.fromkeys(("decode", "probe", "tests", "step", "images", "parity"), "well")
    assert code == 1
    assert {name: one["status"] for name, one in stages.items()} == expected | {
        "images": "killed by SIGKILL"
    }
    probed(rehearsal)
    assert set(rehearsal.measured()) == {"probe", "step", "parity"}
    assert int(ElementTree.parse(rehearsal.out / TESTS).getroot()[0].get("tests", 0)) > 100
    code, _ = rehearsal.call("check", "--only", "images", "--parallel", "2")
    assert code == 0
    (row,) = rehearsal.measured()["images"]["rows"]
    assert min(row["alone"], row["together"], row["evaluation"]) > 0
    rehearsal.call("check", "--only", "decode,probe")
    trains(rehearsal)
    shutil.rmtree(rehearsal.folder / "work" / "results")
    adds_up(rehearsal)
    shutil.rmtree(rehearsal.folder / "work" / "results")
    stopped(rehearsal)


def adds_up(rehearsal: Rehearsal) -> None:
    """A sixth of the paper's twelve runs of a network at a batch size: two, whole."""
    code, stages = rehearsal.call("more", "--epochs", 2, "--share", "1/6")
    assert (code, stages["more"]["status"]) == (0, "well"), stages
    with zipfile.ZipFile(rehearsal.out / RESULTS) as archive:
        assert len(archive.namelist()) == 2
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 2


def stopped(rehearsal: Rehearsal) -> None:
    """A deadline in the middle: the epochs so far are home, and no run counts as done."""
    code, stages = rehearsal.call("train", "--only", "train", "--epochs", "5000", "--most", "15")
    assert code == 1
    assert stages["train"]["status"].startswith("stopped after 15 s"), stages
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) > METHODS
    assert not (rehearsal.out / RESULTS).exists()


def rehearse(parts: Any = (whole,)) -> int:
    """All of it; 0 where it went as it should."""
    with tempfile.TemporaryDirectory() as folder:
        rehearsal = Rehearsal(Path(folder))
        for part in parts:
            part(rehearsal)
    print("rehearsed: everything went as it should")
    return 0
