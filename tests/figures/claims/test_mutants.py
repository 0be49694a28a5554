"""The mutants of the formulas: each formula has some, each of them is false, each is noticed.

Without this file a claim could go on passing whatever the theory said.
"""

from collections import Counter

import pytest
from mutants import MUTANTS, edited

from efsgd import bounds
from efsgd.figures.processes.crew import workers
from efsgd.figures.processes.pool import obtain_all
from efsgd.figures.tracks import TRACKS
from efsgd.results import obtain

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=str)


def test_every_formula_has_mutants():
    """A new formula without two wrong variants fails here."""
    counts = Counter(mutant.formula for mutant in MUTANTS)
    assert set(counts) == {formula.__name__ for formula in bounds.BOUNDS}
    assert min(counts.values()) >= 2


@each_mutant
def test_every_mutant_is_false_and_the_formula_is_not(mutant):
    formula = getattr(bounds, mutant.formula)
    assert not mutant.witness(formula)
    with mutant.applied():
        assert mutant.witness(formula)
    assert not mutant.witness(formula)


def test_an_edit_that_does_not_fit_is_refused():
    def double(x):
        return 2 * x

    with pytest.raises(AssertionError, match="not once"), edited(double, "3 * x", "x"):
        pass
    with edited(double, "2 * x", "3 * x"):
        assert double(1) == 3
    assert double(1) == 2


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of every picture of the theory, as the command makes them."""
    folder = tmp_path_factory.mktemp("mutants")
    works = {picture.name: picture.work(False, 0) for picture in TRACKS["theory"]()}
    titled = {f"{name}, {key}": w for name, of in works.items() for key, w in of.items()}
    with workers(2) as crew:
        obtain_all(titled, folder, crew=crew)
    return {name: {key: obtain(w, folder) for key, w in of.items()} for name, of in works.items()}


@pytest.mark.slow
@each_mutant
def test_every_mutant_fails_a_claim_of_its_picture(results, mutant):
    """On the results of the command; those of `make test` are smaller."""
    picture = {p.name: p for p in TRACKS["theory"]()}[mutant.picture]
    with mutant.applied():
        verdicts = picture.verdicts(results[picture.name])
    assert [v.claim for v in verdicts if v.passed is False]
    assert all(v.passed is not False for v in picture.verdicts(results[picture.name]))
