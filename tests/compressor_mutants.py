"""Wrong constants of the compressors, one edit of a method each: every one is false, and noticed.

``efsgd-figures bounds`` must notice it, at a compressor and dimension that it checks. WORST are the
constants in closed form, delta or for unbiased ones omega, written down apart from the classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mutants import changed

from efsgd import Compressor, Scaled, compressor
from efsgd.compressors.guarantee import Guarantees
from efsgd.compressors.lowrank import Matrices
from efsgd.convex.studies.bound_checks import Multiple
from efsgd.figures.bounds.zoo_claims import MULTIPLES

CLASSES = {kind.__name__: kind for kind in Compressor.registry.values()}
CLASSES |= {"Guarantees": Guarantees, "Compressor": Compressor}  # type: ignore[dict-item]
CLASSES |= {"Matrices": Matrices}  # type: ignore[dict-item]

WORST: dict[str, Callable[[int], float]] = {  # at d = 16 or the d of the mutant
    "identity": lambda d: 1.0,
    "scaledsign": lambda d: 1 / d,
    "scaledsign:zero=0": lambda d: 1 / d,
    "scaled:0.5,scaledsign": lambda d: 0.75 / d,
    "twomeans": lambda d: 1 / d,
    "signtopk:4": lambda d: min(min(4, d) / d, 1 / min(4, d)),
    "topk:0.25": lambda d: 0.25,
    "randk:0.25": lambda d: 0.25,
    "randk:0.25,unbiased": lambda d: 3.0,
    "threshold:l2=0.5": lambda d: 1 - (d - 1) / 4 / d,
    "threshold:linf=0.5": lambda d: 1 / (1 + (d - 1) / 4),
    "threshold:l2=0.3": lambda d: 1 - (d - 1) * 0.09 / d,
    "threshold:linf=0.3": lambda d: 1 / (1 + (d - 1) * 0.09),
    "threshold:abs=0.1": lambda d: 0.0,
    "shared:randk:0.25": lambda d: 0.25,
    "shared:randk:0.25,unbiased": lambda d: 3.0,
    "quantised:2,topk:0.5": lambda d: 0.4,  # (1, 1/2 six times, 0, ..): 1 - (6/4)/(1 + 6/4)
    "quantised:4,topk:0.5": lambda d: 0.5,
    # (1, 1/2 six times, 0, ..): half of each is lost, of the others, rounded to 0, all
    "scaled:0.5,quantised:2,topk:0.5": lambda d: 1 - (0.25 + 6 / 4) / (1 + 6 / 4),
    # three segments; at d = 16 that of 0 and 1/4 is the worst, at d = 9 too: (sqrt(1 + n/16) - 1)/2
    "dithering:3": lambda d: max(
        ((1 + (d - 1) / 16) ** 0.5 - 1) / 2,
        *(
            (-(1 + (d - 1) * p) + ((1 - (d - 1) * p) ** 2 + (d - 1) * s**2) ** 0.5) / 2
            for p, s in ((1 / 8, 3 / 4), (1 / 2, 3 / 2))
        ),
    ),
    "lowrank:1": lambda d: d**-0.5,
    "lowrank:2": lambda d: {5: 1.0, 16: 1 / 2}[d],  # matrices 1 x 5 and 4 x 4
    "lowrank:1,shape=2x8": lambda d: 1 / 2,
    "sign": lambda d: 0.0,
    # the sum 20 = 9 + 11 of 12 odd squares is nearest to 4 s^2 = 16, below which it is 12
    "qsgd:2": lambda d: {12: (3 - (2 - 5**0.5) ** 2) / 4, 16: 1.0}[d],
    "qsgd:3": lambda d: (7.5 - (3 - 9.5**0.5) ** 2) / 9,  # d = 30: 38 = 9 + 29 is nearest to 36
    "qsgd:64": lambda d: 1 / 1024,
    "contractive,qsgd:2": lambda d: 0.5,
    "terngrad": lambda d: 1.5,
    "natural": lambda d: 1 / 8,
    "scaled:1.0,natural": lambda d: 1 / 8,
    "natural:nearest": lambda d: 8 / 9,
    "scaled:1.2,natural:nearest": lambda d: 1 - 0.6**2,
    "scaled:0.5,natural": lambda d: 0.5 * (2 - 0.5 * 9 / 8),
    "scaled:0.5,natural:nearest": lambda d: 1 - (2 / 3) ** 2,
    "blockwise:10,scaledsign": lambda d: 1 / 10,
    "blockwise:10,terngrad": lambda d: (10**0.5 - 1) / 2,
    "scaled:0.5,topk:0.25": lambda d: 0.75 / 4,
    "scaled:0.3,qsgd:2": lambda d: 0.3 * (2 - 0.3 * 2),
    "scaled:0.5,blockwise:10,topk:0.25": lambda d: 0.75 * 3 / 10,
    "scaled:0.5,contractive,qsgd:2": lambda d: 0.25 * (2 - 0.25 * 2),
    "scaled:0.5,scaled:0.5,topk:0.25": lambda d: 0.25 * 1.75 / 4,
    "contractive,terngrad": lambda d: 1 / 2.5,
    MULTIPLES: lambda d: 1 - (0.5 * 0.7**0.5 + 0.5) ** 2,  # of |a C(x) - x| <= a q|x| + |1-a||x|
}


@dataclass(frozen=True)
class Wrong:
    """A method of a compressor with one edit, and the compressor and dimension where it shows."""

    spec: str
    kind: str
    method: str
    before: str
    after: str
    d: int = 16

    def __str__(self) -> str:
        """Its name in a list of tests."""
        return f"{self.spec}, d = {self.d}: {self.before} -> {self.after}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The library with this method in the place of the right one."""
        kind = CLASSES[self.kind]
        right = kind.__dict__[self.method]
        setattr(kind, self.method, changed(right, self.before, self.after, kind))
        try:
            yield
        finally:
            setattr(kind, self.method, right)

    @property
    def claimed(self) -> float:
        """What the compressor claims now."""
        if self.spec == MULTIPLES:
            return Scaled(Multiple(1 - 0.7**0.5), 0.5).delta(self.d)
        c = compressor(self.spec)
        if self.method == "contractive":
            return c.contractive(self.d).delta(self.d)
        by_omega = c.guarantee == "unbiased" and self.method != "delta"
        return c.omega(self.d) if by_omega else c.delta(self.d)

    @property
    def true(self) -> float:
        """What it should claim: delta is 1 - omega of an unbiased one, at least 0.

        That of C/(1 + omega), which is contractive, is 1/(1 + omega).
        """
        worst = WORST[self.spec](self.d)
        if self.method == "contractive":
            return 1 / (1 + worst)
        unbiased = self.spec != MULTIPLES and compressor(self.spec).guarantee == "unbiased"
        return max(0.0, 1.0 - worst) if unbiased and self.method == "delta" else worst


WRONG = (
    Wrong("scaled:1.0,natural", "Scaled", "_omega", ".omega(d)", ".omega(d) / 2"),
    Wrong("scaled:1.0,natural", "Scaled", "_omega", ".omega(d)", ".omega(d) * 2"),
    Wrong("identity", "Identity", "_delta", "return 1.0", "return 0.5"),
    Wrong("identity", "Identity", "_delta", "return 1.0", "return 1.0 / d"),
    Wrong("scaledsign", "ScaledSign", "_delta", "1.0 / d", "2.0 / d"),
    Wrong("scaledsign", "ScaledSign", "_delta", "1.0 / d", "1.0 / d**2"),
    Wrong("scaledsign:zero=0", "ScaledSign", "_delta", "1.0 / d", "2.0 / d"),
    Wrong("scaledsign:zero=0", "ScaledSign", "_delta", "1.0 / d", "1.0 / d**2"),
    Wrong(
        "scaled:0.5,scaledsign",
        "ScaledSign",
        "_scaled_delta",
        "a * (2.0 - a) / d",
        "a * (2.0 - a)**2 / d",
    ),
    Wrong("scaled:0.5,scaledsign", "ScaledSign", "_scaled_delta", "a * (2.0 - a) / d", "a / d"),
    Wrong("twomeans", "TwoMeans", "_delta", "1.0 / d", "2.0 / d"),
    Wrong("twomeans", "TwoMeans", "_delta", "1.0 / d", "1.0 / d**2"),
    Wrong("signtopk:4", "SignTopK", "_delta", "min(k / d, 1.0 / k)", "max(k / d, 1.0 / k)", 32),
    Wrong("signtopk:4", "SignTopK", "_delta", "min(k / d, 1.0 / k)", "min(k / d, 1.0 / k**2)"),
    Wrong("signtopk:4", "SignTopK", "_delta", "min(k / d, 1.0 / k)", "k / d", 2),
    Wrong("signtopk:4", "SignTopK", "_delta", "min(k / d, 1.0 / k)", "1.0 / k", 32),
    Wrong("topk:0.25", "TopK", "_delta", "self._k(d) / d", "2 * self._k(d) / d"),
    Wrong("topk:0.25", "TopK", "_delta", "self._k(d) / d", "(self._k(d) / d) ** 2"),
    Wrong("randk:0.25", "RandK", "_delta", "self._k(d) / d", "2 * self._k(d) / d"),
    Wrong("randk:0.25", "RandK", "_delta", "self._k(d) / d", "(self._k(d) / d) ** 2"),
    Wrong("randk:0.25,unbiased", "RandK", "_omega", "d / self._k(d) - 1.0", "d / self._k(d)"),
    Wrong(
        "randk:0.25,unbiased",
        "RandK",
        "_omega",
        "d / self._k(d) - 1.0",
        "(d / self._k(d)) ** 0.5 - 1.0",
    ),
    Wrong("shared:randk:0.25", "Shared", "_delta", ".delta(d)", ".delta(d) / 2"),
    Wrong("shared:randk:0.25", "Shared", "_delta", ".delta(d)", ".delta(d) * 2"),
    Wrong("shared:randk:0.25,unbiased", "Shared", "_omega", ".omega(d)", ".omega(d) / 2"),
    Wrong("shared:randk:0.25,unbiased", "Shared", "_omega", ".omega(d)", ".omega(d) * 2"),
    Wrong("quantised:2,topk:0.5", "Quantised", "_delta", "min(k / d", "max(k / d"),
    Wrong("quantised:2,topk:0.5", "Quantised", "_delta", "max(k - 2, 0)", "max(k, 0)"),
    Wrong("quantised:2,topk:0.5", "Quantised", "_delta", "4.0 *", "2.0 *"),
    Wrong("quantised:2,topk:0.5", "Quantised", "_delta", "4.0 *", "16.0 *"),
    Wrong("quantised:4,topk:0.5", "Quantised", "_delta", "min(k / d", "min(2 * k / d"),
    Wrong("quantised:4,topk:0.5", "Quantised", "_delta", "min(k / d", "min(k / d / 2"),
    Wrong("quantised:4,topk:0.5", "Quantised", "_delta", "self.levels**2", "0.1"),
    Wrong(
        "scaled:0.5,quantised:2,topk:0.5",
        "Quantised",
        "_scaled_delta",
        "self._scaled_worst(d, a)[0]",
        "self._scaled_worst(d, a)[0] / 2",
    ),
    Wrong(
        "scaled:0.5,quantised:2,topk:0.5",
        "Quantised",
        "_scaled_delta",
        "self._scaled_worst(d, a)[0]",
        "self._scaled_worst(d, a / 2)[0]",
    ),
    *(
        Wrong("scaled:0.5,quantised:2,topk:0.5", "Quantised", "_scaled_worst", before, after)
        for before, after in (
            ("rest * c + t * h", "rest * c"),
            ("rest * c + t * h", "t * h"),
            ("abs(1.0 - t)", "0.0"),
            ("n * at_0**2 + rest**2", "n * at_0**2"),
        )
    ),
    Wrong("dithering:3", "NaturalDithering", "_omega", "max(", "min("),
    Wrong("dithering:3", "NaturalDithering", "_omega", "max(", "sum("),
    Wrong("dithering:3", "NaturalDithering", "_variance", "(high - low) ** 2", "(high - low)", 9),
    Wrong("dithering:3", "NaturalDithering", "_variance", "1.0 + c + root", "c + root", 9),
    Wrong("threshold:l2=0.5", "Threshold", "_delta", "self.l2**2 / d", "self.l2**4 / d"),
    Wrong("threshold:l2=0.5", "Threshold", "_delta", "self.l2**2 / d", "self.l2 / d"),
    Wrong("threshold:l2=0.5", "Threshold", "_delta", "(d - 1) * self.l2**2", "d * self.l2**2"),
    Wrong(
        "threshold:linf=0.5",
        "Threshold",
        "_delta",
        "(d - 1) * self.linf**2",
        "(d - 1) * self.linf**4",
    ),
    Wrong(
        "threshold:linf=0.5", "Threshold", "_delta", "(d - 1) * self.linf**2", "d * self.linf**2"
    ),
    Wrong("threshold:l2=0.3", "Threshold", "_delta", "self.l2**2 / d", "self.l2 / 2 / d"),
    Wrong("threshold:l2=0.3", "Threshold", "_delta", "self.l2**2 / d", "0.25 / d"),
    Wrong(
        "threshold:linf=0.3",
        "Threshold",
        "_delta",
        "(d - 1) * self.linf**2",
        "(d - 1) * self.linf / 2",
    ),
    Wrong("threshold:linf=0.3", "Threshold", "_delta", "(d - 1) * self.linf**2", "(d - 1) / 4"),
    Wrong(
        "lowrank:2",
        "LowRank",
        "_delta",
        "self.rank_at(d) / min(self.sides(d))",
        "self.rank_at(d) ** 2 / min(self.sides(d))",
    ),
    Wrong(
        "lowrank:2",
        "LowRank",
        "_delta",
        "self.rank_at(d) / min(self.sides(d))",
        "1 / min(self.sides(d))",
    ),
    Wrong("lowrank:1,shape=2x8", "LowRank", "_delta", "min(self.sides(d))", "math.isqrt(d)"),
    Wrong("lowrank:2", "Matrices", "rank_at", "min(self.rank, *self.sides(d))", "self.rank", 5),
    Wrong("lowrank:1", "LowRank", "_delta", "min(self.sides(d))", "max(self.sides(d)) ** 2"),
    Wrong(
        "lowrank:1",
        "LowRank",
        "_delta",
        "self.rank_at(d) / min(self.sides(d))",
        "2 * self.rank_at(d) / min(self.sides(d))",
    ),
    Wrong(
        "lowrank:1",
        "LowRank",
        "_delta",
        "self.rank_at(d) / min(self.sides(d))",
        "(self.rank_at(d) / min(self.sides(d))) ** 2",
    ),
    Wrong("qsgd:2", "QSGD", "_omega", "math.sqrt(d) / self.s - 1.0", "math.sqrt(d) / self.s - 1.5"),
    Wrong("qsgd:2", "QSGD", "_omega", "math.sqrt(d) / self.s - 1.0", "math.sqrt(d) / self.s"),
    Wrong("qsgd:64", "QSGD", "_omega", "d / 4", "d / 2"),
    Wrong("qsgd:64", "QSGD", "_omega", "d / 4", "d / 8"),
    Wrong("qsgd:64", "QSGD", "_gap", "math.sqrt(total) / 2", "math.sqrt(total)"),
    Wrong("qsgd:2", "QSGD", "_omega", "d >= 4 * self.s**2", "d >= 3 * self.s**2", 12),
    Wrong("qsgd:2", "QSGD", "_omega", "d >= 4 * self.s**2", "d >= 2 * self.s**2", 12),
    Wrong("qsgd:3", "QSGD", "_omega", "d >= 4 * self.s**2", "d >= 4 * self.s * 2", 30),
    Wrong("qsgd:3", "QSGD", "_omega", "d >= 4 * self.s**2", "True", 30),
    Wrong("qsgd:3", "QSGD", "_gap", "math.sqrt(total) / 2", "math.sqrt(total) / 3", 30),
    Wrong("contractive,qsgd:2", "Contractive", "_delta", "self.factor(d)", "self.factor(d) ** 2"),
    Wrong("contractive,qsgd:2", "Contractive", "_delta", "self.factor(d)", "self.factor(d) ** 0.5"),
    Wrong("terngrad", "TernGrad", "_omega", "(math.sqrt(d) - 1.0) / 2.0", "math.sqrt(d) / 2.0"),
    Wrong(
        "terngrad", "TernGrad", "_omega", "(math.sqrt(d) - 1.0) / 2.0", "(math.sqrt(d) - 1.0) / 4.0"
    ),
    Wrong("natural", "Natural", "_omega", "1.0 / 8.0", "1.0 / 7.0"),
    Wrong("natural", "Natural", "_omega", "1.0 / 8.0", "1.0 / 9.0"),
    Wrong("natural:nearest", "Natural", "_delta", "8.0 / 9.0", "9.0 / 10.0"),
    Wrong("natural:nearest", "Natural", "_delta", "8.0 / 9.0", "7.0 / 8.0"),
    Wrong(
        "scaled:1.2,natural:nearest",
        "Natural",
        "_scaled_delta",
        "(4.0 * a / 3.0 - 1.0) ** 2",
        "(a - 1.0) ** 2",
    ),
    Wrong(
        "scaled:0.5,natural:nearest",
        "Natural",
        "_scaled_delta",
        "(1.0 - 2.0 * a / 3.0) ** 2",
        "(1.0 - a / 3.0) ** 2",
    ),
    Wrong("blockwise:10,scaledsign", "Blockwise", "_delta", "min(", "max("),
    Wrong(
        "blockwise:10,scaledsign",
        "Blockwise",
        "_delta",
        "self.compressor.delta(b)",
        "self.compressor.delta(2 * b)",
    ),
    Wrong("blockwise:10,terngrad", "Blockwise", "_omega", "max(", "min("),
    Wrong("blockwise:10,terngrad", "Blockwise", "_omega", "max(", "sum("),
    Wrong(
        "scaled:0.5,topk:0.25",
        "Guarantees",
        "_scaled_delta",
        "a * (2.0 - a) * self.delta(d)",
        "a * self.delta(d)",
    ),
    Wrong(
        "scaled:0.5,topk:0.25",
        "Guarantees",
        "_scaled_delta",
        "a * (2.0 - a) * self.delta(d)",
        "a * (2.0 + a) * self.delta(d)",
    ),
    Wrong(
        "scaled:0.3,qsgd:2",
        "Guarantees",
        "_scaled_delta",
        "a * (2.0 - a * (1.0 + self.omega(d)))",
        "a * (2.0 - a * self.omega(d))",
    ),
    Wrong(
        "scaled:0.3,qsgd:2",
        "Guarantees",
        "_scaled_delta",
        "a * (2.0 - a * (1.0 + self.omega(d)))",
        "a * (1.0 - a * (1.0 + self.omega(d)))",
    ),
    *(
        Wrong(MULTIPLES, "Guarantees", "_scaled_delta", before, after)
        for before, after in (
            ("abs(1.0 - a)", "(1.0 + a)"),
            ("abs(1.0 - a)", "0.0"),
            ("(a * math.sqrt", "(math.sqrt"),
            ("(a * math.sqrt", "(a**2 * math.sqrt"),
            ("math.sqrt(1.0 - self.delta(d))", "(1.0 - self.delta(d))"),
            ("abs(1.0 - a)) ** 2", "abs(1.0 - a))"),
            ("if self.projection", "if True"),
        )
    ),
    *(
        Wrong(spec, "Guarantees", "delta", "max(0.0, 1.0 - self.omega(d))", after)
        for spec, after in (
            ("natural", "max(0.0, 1.0 - self.omega(d) / 2.0)"),
            ("natural", "1.0 / (1.0 + self.omega(d))"),
            ("natural", "0.0"),
            ("terngrad", "1.0 - self.omega(d)"),
        )
    ),
    *(
        Wrong(spec, "Guarantees", "delta", "0.0 if self.guarantee", f"{delta} if self.guarantee")
        for spec in ("sign", "threshold:abs=0.1")
        for delta in ("1.0", "1.0 / d")
    ),
    Wrong("terngrad", "Compressor", "contractive", "(1.0 + self.omega(d))", "self.omega(d)"),
    Wrong("terngrad", "Compressor", "contractive", "1.0 / (1.0", "0.5 / (1.0"),
    Wrong("natural", "Guarantees", "omega", "self._omega(d)", "2.0 * self._omega(d)"),
    Wrong("terngrad", "Guarantees", "omega", "self._omega(d)", "self._omega(d) / 2.0"),
    Wrong("scaled:0.5,natural", "Natural", "_scaled_delta", "not self.nearest", "False"),
    Wrong("scaled:0.5,blockwise:10,topk:0.25", "Blockwise", "_scaled_delta", "min(", "max("),
    Wrong(
        "scaled:0.5,blockwise:10,topk:0.25",
        "Blockwise",
        "_scaled_delta",
        "_scaled_delta(b, a)",
        "_scaled_delta(b, a) ** 2",
    ),
    Wrong(
        "scaled:0.5,contractive,qsgd:2", "Contractive", "_scaled_delta", "a * self.factor(d)", "a"
    ),
    Wrong(
        "scaled:0.5,contractive,qsgd:2",
        "Contractive",
        "_scaled_delta",
        "a * self.factor(d)",
        "a * self.factor(d) ** 2",
    ),
    Wrong("scaled:0.5,scaled:0.5,topk:0.25", "Scaled", "_scaled_delta", "a * self.factor", "a"),
    Wrong(
        "scaled:0.5,scaled:0.5,topk:0.25",
        "Scaled",
        "_scaled_delta",
        "a * self.factor",
        "a * self.factor**2",
    ),
    Wrong("scaled:0.5,topk:0.25", "Scaled", "_delta", "d, self.factor", "d, 1.0"),
    Wrong("scaled:0.5,topk:0.25", "Scaled", "_delta", "d, self.factor", "d, self.factor**2"),
    Wrong(
        "contractive,terngrad",
        "Contractive",
        "factor",
        "1.0 + self.compressor.omega(d)",
        "1.0 + self.compressor.omega(d) ** 2",
    ),
    Wrong(
        "contractive,terngrad",
        "Contractive",
        "factor",
        "1.0 + self.compressor.omega(d)",
        "1.0 + self.compressor.omega(d) / 2",
    ),
)
