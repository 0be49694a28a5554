"""The mutants of the compressors' constants: each class has some, each is false, each is noticed.

Without this file a constant could be too small, or too large, and `efsgd-figures bounds` agree.
"""

from collections import Counter
from dataclasses import replace

import pytest
from compressor_mutants import WRONG, Wrong
from doctored import computed

from efsgd import Compressor
from efsgd.compressors.guarantee import Guarantees
from efsgd.convex.studies.bound_checks import BUILT_IN, Bounds
from efsgd.figures.bounds import delta_zoo, zoo_claims

SAMPLES = 100  # draws of a random compressor
WORKS = delta_zoo.work(quick=False, seed=0)
PLACES = {spec: spec for spec in WORKS if not isinstance(WORKS[spec], Bounds)} | {
    (str(work.compressor), work.d): name for name, work in WORKS.items() if isinstance(work, Bounds)
}
# constants in the base class; what it leaves to its subclasses is theirs
METHODS = ("delta", "omega", "_delta", "_omega", "_scaled_delta", "factor")


def place(wrong: Wrong) -> str:
    """The name of the check, among those of the command, that has to notice it."""
    return PLACES[wrong.spec] if wrong.spec in PLACES else PLACES[wrong.spec, wrong.d]


def judged(wrong: Wrong) -> list[str]:
    """The claims that fail on this check of the command, from fewer draws."""
    name = place(wrong)
    work = WORKS[name]
    if isinstance(work, Bounds):
        work = replace(work, samples=SAMPLES)
    results = {name: computed(work)}
    return [v.claim for v in zoo_claims.verdicts(results) if v.passed is False]


def test_every_constant_has_mutants():
    """A new compressor, or a new method for its constant, without two wrong variants fails here."""
    counts = Counter((wrong.kind, wrong.method) for wrong in WRONG)
    kinds = {Guarantees, Compressor.registry["scaled"], *(type(c) for c in BUILT_IN)}
    theirs = {
        (kind.__name__, method) for kind in kinds for method in METHODS if method in kind.__dict__
    }
    theirs -= {("Guarantees", "_delta"), ("Guarantees", "_omega")}  # they are not implemented
    theirs.add(("Compressor", "contractive"))
    assert theirs <= set(counts)
    assert min(counts[one] for one in theirs) >= 2


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_every_mutant_is_false_and_the_constant_is_not(wrong):
    assert place(wrong)
    assert wrong.claimed == pytest.approx(wrong.true, rel=1e-9, abs=1e-15)
    with wrong.applied():
        assert wrong.claimed != pytest.approx(wrong.true, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_every_mutant_fails_a_claim(wrong):
    assert judged(wrong) == []
    with wrong.applied():
        assert judged(wrong)


COMMON = ("scaledsign", "topk:0.25", "qsgd:2", "natural", "lowrank:1", "sign", zoo_claims.MULTIPLES)
CORE = [wrong for wrong in WRONG if wrong.spec in COMMON]


@pytest.mark.parametrize("wrong", CORE, ids=str)
def test_mutants_of_common_compressors_fail_a_claim(wrong):
    with wrong.applied():
        assert judged(wrong)
