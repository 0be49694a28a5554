"""A rehearsal of quarter_hour.py on the CPU, in small: every stage, one failing, one killed.

It trains ResNet8 on the stand-in, packed as real images are; Triton runs in its interpreter. Raises
AssertionError where the files that come back are not as README.md says.
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
from output import MEASURED, RESULTS, ROWS, STATE, TESTS
from packed import pack

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("quarter_hour.py")
TRAINING_IMAGES, TEST_IMAGES = 64, 32
COMMIT = "v0-rehearsed"
METHODS = 4


class Rehearsal:
    """A folder with packed data, and calls as on the rented machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        data, decoder = pack(folder, TRAINING_IMAGES, TEST_IMAGES)
        (folder / "commit.txt").write_text(f"{COMMIT}\n", encoding="utf-8")
        self.options = ["--data", data, "--decoder", decoder, "--commit", folder / "commit.txt"]
        self.options += ["--out", self.out, "--work", folder / "work", "--small"]

    def call(self, *words: Any, broken: str = "") -> tuple[int, dict[str, Any]]:
        """The exit code of a call, and the outcomes of its stages; OUT is emptied before."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        command = [sys.executable, str(SCRIPT), *map(str, [*words, *self.options])]
        ran = subprocess.run(command, env=os.environ | {"EFSGD_BROKEN": broken}, check=False)
        files = sorted(path.name for path in self.out.iterdir())
        assert len(files) <= 8, files
        assert all(path.stat().st_size < 2**20 for path in self.out.iterdir()), files
        assert not [name for name in files if name.startswith(".")], files
        return ran.returncode, self.state()[words[0]]

    def state(self) -> dict[str, Any]:
        """The content of state.json."""
        state: dict[str, Any] = json.loads((self.out / STATE).read_text(encoding="utf-8"))
        return state

    def measured(self) -> dict[str, Any]:
        """The sections of measured.json."""
        sections: dict[str, Any] = json.loads((self.out / MEASURED).read_text(encoding="utf-8"))
        for section in sections.values():
            assert section["machine"]["device"] == "CPU"
            assert section["machine"]["git"]  # of the checkout, else of --commit
        return sections


def core(rehearsal: Rehearsal) -> None:
    """Images are unpacked, the forms are probed, and a failing stage stops no other one."""
    code, stages = rehearsal.call("check", "--only", "decode,probe,images", broken="images fails")
    assert code == 1
    assert [stage["status"] for stage in stages.values()] == [
        "well",
        "well",
        "failed with exit code 1",
    ]
    check_probe(rehearsal)


def check_probe(rehearsal: Rehearsal) -> None:
    """The Triton step, in its interpreter, works and agrees; a fastest form was found."""
    state, rows = rehearsal.state(), rehearsal.measured()["probe"]["rows"]
    assert state["data"]["name"].startswith("standin_jpeg-")
    assert (state["data"]["training images"], state["data"]["test images"]) == (
        TRAINING_IMAGES,
        TEST_IMAGES,
    )
    assert [row["form"] for row in rows] == ["foreach", "triton"]
    assert not any("failed" in row for row in rows), rows
    assert rows[1]["apart"] < 1e-3
    assert state["best"]["form"] in ("foreach", "triton")


def check_training(rehearsal: Rehearsal) -> None:
    """Two epochs of four methods come back, and the command draws them."""
    code, stages = rehearsal.call("train", "--epochs", 2)
    assert list(stages) == ["train"], stages  # the images are unpacked already
    assert (code, stages["train"]["status"]) == (0, "well"), stages
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * METHODS
    name = rehearsal.state()["data"]["name"]
    printed = draw(rehearsal, "--preset", "short", "--data", name, "--epochs", "2")
    assert f"accuracy-resnet8-{name}-short-" in printed, printed
    assert "runs are missing" not in printed, printed


def draw(rehearsal: Rehearsal, *words: str) -> str:
    """What `efsgd-figures cifar --draw` prints about the archive."""
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


def full(rehearsal: Rehearsal) -> None:
    """Every stage, one of them killed; shares of a grid; trainings stopped by their deadline."""
    code, stages = rehearsal.call("check", broken="images dies")
    expected = dict.fromkeys(("decode", "probe", "tests", "step", "images", "parity"), "well")
    assert code == 1
    assert {name: stage["status"] for name, stage in stages.items()} == expected | {
        "images": "killed by SIGKILL"
    }
    check_probe(rehearsal)
    assert set(rehearsal.measured()) == {"probe", "step", "parity"}
    assert int(ElementTree.parse(rehearsal.out / TESTS).getroot()[0].get("tests", 0)) > 100
    code, _ = rehearsal.call("check", "--only", "images", "--parallel", "2")
    assert code == 0
    (row,) = rehearsal.measured()["images"]["rows"]
    assert min(row["alone"], row["together"], row["evaluation"]) > 0
    rehearsal.call("check", "--only", "decode,probe")
    check_training(rehearsal)
    shutil.rmtree(rehearsal.folder / "work" / "results")
    check_share(rehearsal)
    shutil.rmtree(rehearsal.folder / "work" / "results")
    check_deadline(rehearsal)


def check_share(rehearsal: Rehearsal) -> None:
    """A sixth of the paper's twelve runs of a network at a batch size: two, completed."""
    code, stages = rehearsal.call("more", "--epochs", 2, "--share", "1/6")
    assert (code, stages["more"]["status"]) == (0, "well"), stages
    with zipfile.ZipFile(rehearsal.out / RESULTS) as archive:
        assert len(archive.namelist()) == 2
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 2 * 2


def check_deadline(rehearsal: Rehearsal) -> None:
    """A deadline in the middle: the epochs so far come back, and no run counts as done."""
    code, stages = rehearsal.call("train", "--only", "train", "--epochs", "5000", "--most", "15")
    assert code == 1
    assert stages["train"]["status"].startswith("stopped after 15 s"), stages
    rows = (rehearsal.out / ROWS).read_text(encoding="utf-8").splitlines()
    assert len(rows) > METHODS
    assert not (rehearsal.out / RESULTS).exists()


def rehearse(parts: Any = (full,)) -> int:
    """Run the parts; 0 where nothing is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        rehearsal = Rehearsal(Path(folder))
        for part in parts:
            part(rehearsal)
    print("rehearsed: everything went as it should")
    return 0
