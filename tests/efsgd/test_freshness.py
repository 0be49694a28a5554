"""Which sources decide whether a result is fresh: all that the work uses, and nothing else.

Without this file a change of a kernel or of a compressor could leave saved results in use.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from import_graph import FOLDERS, arrows, reached, sources

import efsgd
from efsgd import freshness
from efsgd.convex import CE1
from efsgd.convex.studies import WorstCases
from efsgd.freshness import STORAGE, classes_in, files_of
from efsgd.provenance import made_by

pytest.importorskip("torch")

from efsgd.deep import Training

RUN = efsgd.Run(CE1(), efsgd.EFSGD(efsgd.TopK(1)), 0.1, 10)
TRAINING = Training(method=efsgd.EFSGD(efsgd.TopK(0.1)), lr=0.1)
WORST = WorstCases(method="ef", settings=((1, 0.1, 0.0),), delta=0.5)


@dataclass(frozen=True)
class Mine:
    """A work of a user, in a file that imports what stands above."""

    inner: object = None

    def compute(self):
        return {}


def used_by(starts: set[str], ours: dict[str, str]) -> set[str]:
    """The same from the import graph of the tests, which reads imports in another way."""
    graph = {
        module: {target for target, _ in arrows(source, ours)} - {*STORAGE}
        for module, source in ours.items()
    }
    return starts | {name for start in starts for name in reached(graph, start)}


@pytest.mark.parametrize("work", [RUN, TRAINING, WORST], ids=["run", "training", "worst cases"])
def test_it_is_all_that_the_classes_reach(work):
    starts = {cls.__module__ for cls in classes_in(work)}
    if work is TRAINING:
        starts |= {*Training.run_by}
    assert set(files_of(classes_in(work))) == used_by(starts, sources())


def test_a_file_of_the_user_counts_with_all_that_it_imports():
    ours = sources() | {"mine": Path(__file__).read_text(encoding="utf-8")}
    alone, holding = (set(files_of(classes_in(work))) for work in (Mine(), Mine(TRAINING)))
    assert alone - {Path(__file__).name} == used_by({"mine"}, ours) - {"mine"}
    assert Path(__file__).name in alone
    assert holding == alone  # which has them all already


def test_a_training_counts_the_kernels_the_optimiser_and_what_they_are_made_of():
    files = set(files_of(classes_in(TRAINING)))
    assert {"efsgd.deep.kernels", "efsgd.deep.optim.step", "efsgd.deep.models"} <= files
    assert {"efsgd.compressors.sparse", "efsgd.deep.data.loader", "efsgd.methods.base"} <= files
    assert not {name for name in files if name.startswith(("efsgd.convex", "efsgd.figures"))}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of our sources in which they may be changed; what has been read is forgotten."""
    for package, folder in FOLDERS.items():
        place = tmp_path.joinpath(*package.split("."))
        linked = ("convex", "deep", "figures") if package == "efsgd" else ()
        shutil.copytree(folder, place, ignore=shutil.ignore_patterns("__pycache__", *linked))
    caches = (freshness._modules, freshness._imported, freshness._digest)
    monkeypatch.setattr(freshness, "ROOT", tmp_path / "efsgd")
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("efsgd/compressors/selection.py", {"run", "training", "worst cases"}),
        ("efsgd/compressors/sparse.py", {"run", "training"}),
        ("efsgd/deep/kernels.py", {"training"}),
        ("efsgd/deep/training/session.py", {"training"}),
        ("efsgd/convex/pep/dual.py", {"worst cases"}),
        ("efsgd/convex/problems/counterexamples.py", {"run"}),
        ("efsgd/compressors/quantise.py", {"training"}),  # its kernel knows all compressors
        ("efsgd/figures/drawing/style.py", set()),
        ("efsgd/results.py", set()),
    ],
)
def test_a_change_makes_stale_what_uses_it(copy, changed, stale):
    works = {"run": RUN, "training": TRAINING, "worst cases": WORST}
    before = {name: made_by(work)["code"] for name, work in works.items()}
    file = copy / changed
    file.write_text(file.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    freshness._digest.cache_clear()
    assert {name for name, work in works.items() if made_by(work)["code"] != before[name]} == stale


def test_a_new_import_counts(copy):
    before = set(files_of(classes_in(RUN)))
    file = copy / "efsgd" / "engine" / "loop.py"
    late = "\n\ndef f():\n    from efsgd.convex.pep import dual\n"
    file.write_text(file.read_text(encoding="utf-8") + late, encoding="utf-8")
    freshness._imported.cache_clear()
    assert set(files_of(classes_in(RUN))) - before >= {"efsgd.convex.pep.dual", "efsgd.convex.sdp"}


def test_what_has_no_file_has_no_code():
    made = type("Made", (), {"__module__": "nowhere"})
    assert files_of([made]) == {"nowhere": None}
    assert freshness._digest(frozenset([made])) is None
    assert made_by()["code"] is None
