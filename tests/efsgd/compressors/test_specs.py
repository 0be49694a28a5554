"""Compressors as text: every one is named by its spec, and only specs name compressors.

Without this file a spec in a message, a result file or a command could come to name another
compressor than it did before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from compressor_table import COMPRESSORS
from hypothesis import example, given
from hypothesis import strategies as st

from efsgd import compressor, decode
from efsgd.arrays import Array
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Contractive,
    Identity,
    LowRank,
    Natural,
    NaturalDithering,
    PowerSGD,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
)

SPECS = {  # as design.md writes them
    "identity": Identity(),
    "sign": Sign(),
    "sign:zero=0": Sign(zero=0),
    "scaledsign": ScaledSign(),
    "scaledsign:zero=0": ScaledSign(zero=0),
    "twomeans": TwoMeans(),
    "topk:5": TopK(5),
    "topk:0.01": TopK(0.01),
    "topk:1": TopK(1),
    "topk:1.0": TopK(1.0),
    "randk:5": RandK(5),
    "randk:0.5,unbiased": RandK(0.5, unbiased=True),
    "qsgd:4": QSGD(4),
    "terngrad": TernGrad(),
    "natural": Natural(),
    "natural:nearest": Natural(nearest=True),
    "lowrank:2": LowRank(2),
    "lowrank:2,shape=3x4": LowRank(2, shape=(3, 4)),
    "signtopk:0.1": SignTopK(0.1),
    "powersgd:2": PowerSGD(2),
    "powersgd:2,shape=3x4": PowerSGD(2, shape=(3, 4)),
    "shared:randk:5": Shared(RandK(5)),
    "shared:randk:0.5,unbiased": Shared(RandK(0.5, unbiased=True)),
    "contractive,shared:randk:5,unbiased": Contractive(Shared(RandK(5, unbiased=True))),
    "quantised:4,topk:10": Quantised(TopK(10), 4),
    "blockwise:4096,quantised:2,topk:64": Blockwise(Quantised(TopK(64), 2), 4096),
    "dithering:3": NaturalDithering(3),
    "threshold:l2=0.5": Threshold(l2=0.5),
    "threshold:linf=1.0": Threshold(linf=1),
    "threshold:abs=1e-05": Threshold(abs=1e-5),
    "scaled:0.5,topk:0.1": Scaled(TopK(0.1), 0.5),
    "contractive,qsgd:7": Contractive(QSGD(7)),
    "blockwise:64,contractive,randk:2,unbiased": Blockwise(Contractive(RandK(2, True)), 64),
    "scaled:0.5,contractive,blockwise:9,terngrad": Scaled(
        Contractive(Blockwise(TernGrad(), 9)), 0.5
    ),
    "blockwise:128,scaledsign": Blockwise(ScaledSign(), 128),
    "blockwise:8,scaled:0.25,randk:2,unbiased": Blockwise(Scaled(RandK(2, True), 0.25), 8),
}


@pytest.mark.parametrize("spec", SPECS)
def test_specs(spec: str) -> None:
    c = compressor(spec)
    assert c == SPECS[spec]
    assert str(c) == spec


@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_every_compressor_is_named_by_its_spec(c: Compressor) -> None:
    again = compressor(str(c))
    assert again == c
    assert type(again) is type(c)
    assert str(again) == str(c)


@given(
    st.recursive(
        st.one_of(
            st.builds(TopK, st.integers(1, 10**6) | st.floats(1e-300, 1)),
            st.builds(RandK, st.integers(1, 99) | st.floats(1e-9, 1), st.booleans()),
            st.builds(QSGD, st.integers(1, 2**20)),
            st.builds(lambda t: Threshold(abs=t), st.floats(5e-324, 1e308)),
            st.builds(LowRank, st.integers(1), st.tuples(st.integers(1), st.integers(1))),
        ),
        lambda inner: st.one_of(
            st.builds(Scaled, inner, st.floats(5e-324, 1e308)),
            st.builds(Blockwise, inner, st.integers(1, 2**62)),
        ),
    )
)
def test_any_parameters_survive(c: Compressor) -> None:
    assert compressor(str(c)) == c
    assert str(compressor(str(c))) == str(c)


def test_a_colon_may_stand_for_the_comma() -> None:
    assert compressor("contractive:qsgd:7") == compressor("contractive,qsgd:7")


def test_numpy_numbers_are_numbers() -> None:
    """As they come out of np.geomspace and shape arithmetic; the spec does not show it."""
    half = np.float64(0.5)
    pairs: list[tuple[Compressor, Compressor]] = [
        (TopK(half), TopK(0.5)),
        (TopK(np.int64(3)), TopK(3)),
        (RandK(half, unbiased=True), RandK(0.5, unbiased=True)),
        (SignTopK(np.int32(3)), SignTopK(3)),
        (QSGD(np.int64(3)), QSGD(3)),  # type: ignore[arg-type]
        (LowRank(np.int64(3), (np.int64(2), 4)), LowRank(3, (2, 4))),  # type: ignore[arg-type]
        (LowRank(3, [2, 4]), LowRank(3, (2, 4))),  # type: ignore[arg-type]
        (Quantised(TopK(3), np.int64(4)), Quantised(TopK(3), 4)),  # type: ignore[arg-type]
        (NaturalDithering(np.int64(3)), NaturalDithering(3)),  # type: ignore[arg-type]
        (PowerSGD(np.int64(3), [2, 4]), PowerSGD(3, (2, 4))),  # type: ignore[arg-type]
        (Blockwise(Sign(), np.int64(3)), Blockwise(Sign(), 3)),  # type: ignore[arg-type]
        (Scaled(Sign(), half), Scaled(Sign(), 0.5)),
        (Threshold(l2=half), Threshold(l2=0.5)),
        (ScaledSign(zero=np.int64(0)), ScaledSign(zero=0)),  # type: ignore[arg-type]
    ]
    for of_numpy, plain in pairs:
        assert of_numpy == plain
        assert hash(of_numpy) == hash(plain)
        assert str(of_numpy) == str(plain)
        assert compressor(str(of_numpy)) == plain


REFUSED = [  # each with a word that the message must hold
    ("", "no compressor is called ''"),
    ("nothing", "known are "),
    ("topk", "it needs k"),
    ("topk:", "it needs k"),
    ("topk:0", "k must be a positive count or a share in"),
    ("topk:-1", "not -1"),
    ("topk:1.5", "not 1.5"),
    ("topk:nan", "not nan"),
    ("topk:inf", "not inf"),
    ("topk:True", "not True"),
    ("topk:many", "not many"),
    ("topk:2x3", "not (2, 3)"),
    ("topk:5,6", "takes no '6'"),
    ("topk:5,share", "takes no 'share'"),
    ("topk:5,sign", "takes no 'sign'"),
    ("randk:5,unbiased=2", "unbiased is a flag"),
    ("randk:5,unbiased=yes", "unbiased is a flag"),
    ("natural:nearest=0", "nearest is a flag"),
    ("natural:farthest", "takes no 'farthest'"),
    ("sign:zero=2", "zero must be 1"),
    ("sign:zero", "not True"),
    ("scaledsign:zero=None", "not None"),
    ("identity:1", "takes no '1'"),
    ("qsgd:0", "not 0"),
    ("qsgd:1048577", "1, 2, ..., 1048576, not 1048577"),
    ("qsgd:1e9", "not 1000000000.0"),
    ("qsgd:" + "9" * 400, "s must be a whole number"),
    ("lowrank:0", "not 0"),
    ("lowrank:1.0", "not 1.0"),
    ("lowrank:1,shape=3", "shape must be (rows, columns), not 3"),
    ("lowrank:1,shape=3x4x5", "not (3, 4, 5)"),
    ("lowrank:1,shape=0x5", "each side"),
    ("lowrank:1,shape=ab", "not ab"),
    ("lowrank:1,shape=-1x5", "not -1x5"),
    ("powersgd", "it needs rank"),
    ("powersgd:0", "not 0"),
    ("powersgd:1,shape=3", "shape must be (rows, columns), not 3"),
    ("blockwise:9,powersgd:1", "and powersgd:1 couples the workers of a step"),
    ("blockwise:9,shared:randk:2", "and shared:randk:2 couples the workers of a step"),
    ("blockwise:9,scaled:0.5,shared:randk:2", "use it without blockwise"),
    ("shared", "the compressor inside is missing"),
    ("shared:randk:0", "not 0"),
    ("shared:topk:5", "the positions of a randk such as randk:5, and topk:5 is none"),
    ("shared:shared:randk:5", "and shared:randk:5 is none"),
    ("quantised:4", "the compressor inside is missing"),
    ("quantised:1,topk:3", "must be a whole number 2, 3, ..., 16, not 1"),
    ("quantised:17,topk:3", "not 17"),
    ("quantised:4,randk:3", "rounds what a topk such as topk:10 keeps, and randk:3 is none"),
    ("quantised:4,blockwise:9,topk:3", "put blockwise or scaled around quantised"),
    ("dithering", "it needs s"),
    ("dithering:0", "not 0"),
    ("dithering:257", "1, 2, ..., 256, not 257"),
    ("threshold", "exactly one"),
    ("threshold:l2=0.5,linf=0.5", "exactly one"),
    ("threshold:l2=1.5", "in (0, 1]"),
    ("threshold:abs=inf", "positive and finite"),
    ("threshold:abs=0", "not 0"),
    ("threshold:abs=nan", "not nan"),
    ("threshold:abs=few", "not a compressor"),
    ("threshold:0.5", "takes no '0.5'"),
    ("scaled:0.5", "the compressor inside is missing: its spec comes last"),
    ("contractive", "the compressor inside is missing"),
    ("contractive,", "the compressor inside is missing"),
    ("contractive,topk:3", "scales an unbiased compressor such as qsgd:7, and topk:3 is none"),
    ("contractive,contractive,qsgd:1", "and contractive,qsgd:1 is none"),
    ("topk,3", "a colon comes before its fields, not ',3'"),
    ("scaled,0.5,sign", "a colon comes before its fields"),
    ("identity,", "a colon comes before its fields"),
    ("top-k:3", "no compressor is called 'top-k' (did you mean 'topk'?); known are "),
    ("scaled:0.5,qsdg:3", "no compressor is called 'qsdg' (did you mean 'qsgd'?)"),
    ("randk:5,unbaised", "it takes no 'unbaised' (did you mean 'unbiased'?)"),
    ("threshold:linf2=0.5", "it takes no 'linf2=0.5' (did you mean 'linf'?)"),
    ("scaled:0,identity", "factor must be positive"),
    ("scaled:inf,identity", "factor must be positive"),
    ("scaled:1" + "0" * 400 + ",identity", "not a compressor"),
    ("scaled:half,identity", "not a compressor"),
    ("scaled:identity,0.5", "not a compressor"),
    ("blockwise:0,identity", "not 0"),
    ("blockwise:1.5,identity", "not 1.5"),
    ("blockwise:4,", "missing"),
    ("blockwise:4,nothing", "no compressor is called 'nothing'"),
    ("blockwise:4,topk:0", "not 0"),
    ("blockwise:4,sign,sign", "not a compressor"),
    (" topk:5", "no compressor is called ' topk'"),
    ("TopK:5", "no compressor is called 'TopK' (did you mean 'topk'?)"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED, ids=[spec[:30] for spec, _ in REFUSED])
def test_what_is_no_spec_is_refused_in_words(spec: str, words: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the words are checked below
        compressor(spec)
    assert words in str(refused.value)


NAMES = st.sampled_from(sorted(Compressor.registry))


@given(st.text() | st.builds("{}:{}".format, NAMES, st.text(max_size=20)))
@example("lowrank:1,shape=٣x٤")
@example("topk:²")
@example("scaled:\u0000,identity")
@example("topk:1_000")
def test_any_text_is_a_spec_or_a_value_error(text: str) -> None:
    try:
        c = compressor(text)
    except ValueError:
        return
    assert compressor(str(c)) == c


@given(NAMES, st.lists(st.text("0123456789.,=:xe-", max_size=6) | NAMES, max_size=5))
def test_nearly_specs(name: str, words: list[str]) -> None:
    test_any_text_is_a_spec_or_a_value_error.hypothesis.inner_test(f"{name}:{','.join(words)}")  # type: ignore[attr-defined]


# -- compressors of one's own ---------------------------------------------------------------------


@dataclass(frozen=True)
class Clipped(Compressor, spec="clipped"):
    """Entries clipped to +-limit; the other fields are here for their types."""

    limit: float
    levels: int = 3
    loud: bool = True
    word: str = "plain"
    sides: tuple[int, ...] | None = (1, 2)
    after: Compressor = Identity()  # noqa: RUF009 - frozen

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return np.clip(self.after.apply(x), -self.limit, self.limit)


@dataclass(frozen=True)
class Nameless(Compressor):
    """One without a spec."""

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return x * 2


class Plain(Compressor, spec="plain_half"):
    """One that is no dataclass itself."""

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return x / 2


OWN = [
    (Clipped(0.5), "clipped:0.5,identity"),
    (Clipped(0.5, 4), "clipped:0.5,levels=4,identity"),
    (Clipped(1e300, loud=False, word="odd"), "clipped:1e+300,loud=False,word=odd,identity"),
    (Clipped(0.5, sides=None, after=TopK(3)), "clipped:0.5,sides=None,topk:3"),
    (Clipped(0.5, sides=(4, 5, 6)), "clipped:0.5,sides=4x5x6,identity"),
    (Scaled(Clipped(0.5), 2.0), "scaled:2.0,clipped:0.5,identity"),
    (Plain(), "plain_half"),
]


@pytest.mark.parametrize(("c", "spec"), OWN, ids=[spec for _, spec in OWN])
def test_a_compressor_of_ones_own_travels(c: Compressor, spec: str) -> None:
    """Unless it overrides the wire, its message is C(x), dense."""
    assert str(c) == spec
    assert compressor(spec) == c
    for x in (np.linspace(-2, 2, 9), np.linspace(-2, 2, 9, dtype=np.float32), np.zeros(0)):
        data = c.encode(x)
        assert decode(data).tobytes() == c(x).tobytes()
        assert 8 * len(data) <= c.bits(x.size, x.dtype) + 8 * 128


def test_one_without_a_spec_works_but_does_not_travel() -> None:
    x = np.arange(4.0)
    assert Nameless()(x).tolist() == [0, 2, 4, 6]
    assert Nameless().delta(4) == 0
    assert Nameless().guarantee == "none"
    wrapped: list[Compressor] = [Nameless(), Scaled(Nameless(), 2.0), Blockwise(Nameless(), 2)]
    for c in wrapped:
        assert c(x).any()
        with pytest.raises(ValueError, match=r"'.*nameless'.*: give its class, .*, a spec"):
            c.encode(x)


def test_a_spec_must_be_short_enough_to_travel() -> None:
    c: Compressor = Sign()
    for _ in range(10):
        c = Blockwise(c, 1000)
    assert compressor(str(c)) == c
    with pytest.raises(ValueError, match="at most 96 ASCII characters"):
        c.encode(np.ones(3))


def test_a_parameter_that_its_spec_forgets_does_not_travel() -> None:
    class Forgetful(Compressor, spec="forgetful"):
        def __init__(self, factor: float) -> None:
            object.__setattr__(self, "factor", factor)

    with pytest.raises(ValueError, match="no spec of at most"):
        Forgetful(3.0).encode(np.ones(3))


def test_a_parameter_that_cannot_be_written_does_not_travel() -> None:
    @dataclass(frozen=True)
    class Listed(Compressor, spec="listed"):
        weights: Any = ()

    for weights in ([1, 2], {"a": 1}, "a,b"):
        with pytest.raises(ValueError, match="no spec of at most"):
            Listed(weights).encode(np.ones(3))


def test_names_are_words_and_belong_to_one_class() -> None:
    for bad in ("two words", "topk:5", "", "größe", "a,b", "1st"):
        with pytest.raises(ValueError, match="is not a name"):
            type("Bad", (Compressor,), {}, spec=bad)
    with pytest.raises(ValueError, match="spec='topk' is taken by TopK: choose another name"):
        type("Other", (Compressor,), {}, spec="topk")
    assert Compressor.registry["topk"] is TopK


def test_a_class_may_be_written_again() -> None:
    """As in a notebook; a subclass without a spec of its own does not answer to its parent's."""
    first = type("Again", (Compressor,), {"__qualname__": "Again"}, spec="again")
    second = type("Again", (Compressor,), {"__qualname__": "Again"}, spec="again")
    assert Compressor.registry["again"] is second is not first
    assert type("Heir", (second,), {}).name == ""  # type: ignore[attr-defined]


def test_what_a_class_must_define_is_said() -> None:
    class Empty(Compressor):
        random = True

        @property
        def guarantee(self) -> Any:
            return kind

    kind = "pathwise"
    with pytest.raises(NotImplementedError, match=r"claims a bound and must define delta\(d\)"):
        Empty().delta(2)
    with pytest.raises(NotImplementedError, match="names no attaining point"):
        Empty().attaining_point(2)
    kind = "unbiased"
    with pytest.raises(NotImplementedError, match="is unbiased and must define omega"):
        Empty().omega(2)
    with pytest.raises(NotImplementedError, match="Empty must define apply"):
        Empty().apply(np.ones(2))
    with pytest.raises(NotImplementedError, match="Empty is random and must define draw"):
        Empty()(np.ones(2))
