"""The mutants of the compressors' constants: each class has some, each is false, each is noticed.

Without this file a constant could be too small, or too large, and `efsgd-figures bounds` agree.
"""

from collections import Counter
from pathlib import Path

import pytest
from compressor_mutants import WORST, WRONG

from efsgd import Compressor, compressor
from efsgd.convex.studies.bound_checks import BUILT_IN, Bounds
from efsgd.figures.bounds import delta_zoo
from efsgd.results import Result, spec_of

SAMPLES = 100  # draws of a random compressor


def judged(spec, d):
    """The claims that fail on the check of one compressor."""
    work = Bounds(compressor(spec), d, samples=SAMPLES)
    results = {f"{spec}, d = {d}": Result(work.compute(), spec_of(work), {}, Path("x.npz"))}
    return [v.claim for v in delta_zoo.verdicts(results) if v.passed is False]


def test_every_constant_has_mutants():
    """A new compressor, or a new method for its constant, without two wrong variants fails here."""
    counts = Counter((wrong.kind, wrong.method) for wrong in WRONG)
    kinds = {type(c) for c in BUILT_IN} | {Compressor.registry["scaled"]}
    methods = ("_delta", "_omega", "_scaled_delta")
    theirs = {
        (kind.__name__, method) for kind in kinds for method in methods if method in kind.__dict__
    }
    assert theirs <= set(counts)
    assert min(counts[one] for one in theirs) >= 2


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_every_mutant_is_false_and_the_constant_is_not(wrong):
    assert wrong.claimed == pytest.approx(WORST[wrong.spec](wrong.d), rel=1e-9)
    with wrong.applied():
        assert wrong.claimed != pytest.approx(WORST[wrong.spec](wrong.d), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_every_mutant_fails_a_claim(wrong):
    assert judged(wrong.spec, wrong.d) == []
    with wrong.applied():
        assert judged(wrong.spec, wrong.d)


CORE = [w for w in WRONG if w.spec in ("scaledsign", "topk:0.25", "qsgd:2", "natural", "lowrank:1")]


@pytest.mark.parametrize("wrong", CORE, ids=str)
def test_mutants_of_common_compressors_fail_a_claim(wrong):
    with wrong.applied():
        assert judged(wrong.spec, wrong.d)
