"""The torch kernels: NumPy's results from NumPy's draws, their own draws, no wait for a device.

Without this file a torch kernel could compress otherwise than the compressor whose constants are
proved and tested in NumPy, and every training would go on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from compressor_table import (
    COMPRESSORS,
    DTYPES,
    INSTANCES,
    LIBRARY,
    RANDOM,
    UNBIASED,
    drawn_for,
    slow_but_some,
    vectors,
)
from on_gpu import no_synchronisation
from optimisers import generator
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from efsgd.arrays import Array, rms
from efsgd.compressors import (
    QSGD,
    Blockwise,
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
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
    selection,
)
from efsgd.compressors.base import Compressor
from efsgd.deep import arrays
from efsgd.deep.arrays import ldexp
from efsgd.deep.kernels import apply, as_tensors, draw, kernel

all_compressors = pytest.mark.parametrize("c", COMPRESSORS, ids=str)
all_dtypes = pytest.mark.parametrize("dtype", DTYPES)
half_dtypes = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
SUMMING = (ScaledSign, TwoMeans, SignTopK, QSGD)  # in torch a sum runs in another order
SCALES: dict[Any, tuple[int, ...]] = {
    np.float32: (0, -120, 90, -140),
    np.float64: (0, -900, 900, -1060),
}  # last: denormals
SIZES = (0, 1, 2, 5, 17, 64)


def innermost(c: Any) -> Compressor:
    while isinstance(c, Scaled | Contractive | Blockwise):
        c = c.compressor
    return c  # type: ignore[no-any-return]


def agree(c: Compressor, x: Array, drawn: Any, device: str = "cpu") -> None:
    """Demand that torch gives what NumPy gives: the same bits, or ulps where something is summed.

    Under a sum that is rounded otherwise an entry changes by ulps if it keeps its level, sign or
    place, else by at least 1/255 of itself: entries that agree to ulps have these in common too.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        y = c.apply(x, drawn) if x.shape[-1] else x.copy()
    tensor = torch.tensor(x, device=device)
    sent = apply(c, tensor, as_tensors(drawn, device))
    assert sent is not tensor
    z = sent.cpu().numpy()
    assert z.dtype == y.dtype
    assert z.shape == y.shape
    if isinstance(c, Threshold) and c.l2 is not None:
        threshold = c.l2 * rms(x) if x.size else np.zeros(1)
        with np.errstate(over="ignore"):
            rounding = 4 * np.spacing(threshold.astype(x.dtype))
        near = np.abs(np.abs(x) - threshold) <= rounding
        z = np.where(near, y, z)  # the order of the sum decides there
    if type(innermost(c)) in SUMMING:
        assert np.array_equal(np.signbit(z), np.signbit(y))
        assert np.array_equal(np.isfinite(z), np.isfinite(y))
        with np.errstate(over="ignore", invalid="ignore"):
            differs = np.abs(z - y) > 8 * np.spacing(np.abs(y))
        assert not (differs & (z != y)).any()
    else:
        assert z.tobytes() == y.tobytes()


# -- the table ------------------------------------------------------------------------------------


def test_no_compressor_is_without_kernel_or_parity_case() -> None:
    ours = {
        cls
        for cls in Compressor.__subclasses__()
        if cls.__module__.startswith("efsgd.")
        and not cls.__module__.startswith("efsgd.convex.")  # instruments, not compressors to use
        and not cls.__name__.startswith("_")
    }
    assert ours == set(LIBRARY)
    assert ours <= set(apply.registry)
    assert ours == {type(c) for c in COMPRESSORS}
    assert {cls for cls in ours if any(c.random for c in INSTANCES[cls])} <= set(draw.registry)


# -- the same results from the same draws ---------------------------------------------------------

MATRICES = (LowRank, PowerSGD)  # each LAPACK, or cuSOLVER, rounds as it likes
EXACTLY = [c for c in COMPRESSORS if type(innermost(c)) not in MATRICES]
LOW_RANK = [c for c in COMPRESSORS if type(innermost(c)) in MATRICES]
JOINT = [c for c in COMPRESSORS if c.joint]


@all_dtypes
@pytest.mark.parametrize("c", EXACTLY, ids=str)
def test_parity(c: Compressor, dtype: Any) -> None:
    for d, scale in itertools.product(SIZES, SCALES[dtype]):
        x = np.ldexp(vectors(d, dtype), scale)
        assert np.isfinite(x).all()
        agree(c, x, drawn_for(c, x.shape))


@all_dtypes
@pytest.mark.parametrize("c", LOW_RANK, ids=str)
def test_parity_of_low_rank(c: Compressor, dtype: Any) -> None:
    """Random matrices entry by entry; the others, with equal singular values, by their error."""
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).smallest_subnormal
    for d, scale in itertools.product((1, 2, 5, 17, 64), SCALES[dtype]):
        x = np.ldexp(np.random.default_rng(d).standard_normal((8, d)).astype(dtype), scale)
        largest = np.abs(x).max(-1, keepdims=True).astype(np.float64)
        drawn = drawn_for(c, x.shape)
        z = apply(c, torch.tensor(x), as_tensors(drawn)).numpy()
        assert z.dtype == dtype
        assert (np.abs(z - c.apply(x, drawn)) <= 1e4 * eps * largest + 8 * tiny).all()
    for d in SIZES[1:]:
        x = vectors(d, dtype)
        drawn = drawn_for(c, x.shape)
        y, z = c.apply(x, drawn), apply(c, torch.tensor(x), as_tensors(drawn)).numpy()
        length, *errors = (np.linalg.norm(v.astype(np.float64), axis=-1) for v in (x, x - y, x - z))
        assert (np.abs(errors[0] - errors[1]) <= 1e3 * eps * length).all()


@all_dtypes
@pytest.mark.parametrize("c", EXACTLY, ids=str)
def test_parity_at_the_largest_numbers(c: Compressor, dtype: Any) -> None:
    """Where a sum or a norm leaves the dtype the result need not; where it does, both are inf."""
    for x_over_max in (
        [0.5] * 9,
        [1.0],
        [1.0, -1.0],
        [1.0, 0.0, -1.0, 1.0, 1.0],
        [1.0, 0.4, -0.2, 0.1],
    ):
        x = (np.array(x_over_max) * np.finfo(dtype).max).astype(dtype)
        agree(c, x, drawn_for(c, x.shape))


@all_dtypes
@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 0.75, 1 - 2**-53])
@pytest.mark.parametrize(
    "c",
    [QSGD(1), QSGD(4), TernGrad(), Natural(), NaturalDithering(1), NaturalDithering(3)],
    ids=str,
)
def test_parity_where_a_draw_meets_its_probability(c: Compressor, u: float, dtype: Any) -> None:
    """Zeros never go up, not even at a draw of 0; nor does a share of 1/4, 1/2, 3/4 at its own."""
    for entries in ([4.0, 2.0, -1.0, 3.0, 0.0, -0.0], [1.5, -1.25, 1.75, 1.0], [3.0, 4.0, 0.0]):
        x = np.array(entries, dtype)
        agree(c, x, np.full(x.shape, u))


@all_dtypes
def test_a_row_at_the_threshold_keeps_its_largest_entry(dtype: Any) -> None:
    """With l2 = 1 the rounded |x|_2/sqrt(d) may exceed every |x_i|; delta = 1/d still holds."""
    for d in range(1, 40):
        x = np.random.default_rng(d).random((100, 1)).astype(dtype) * np.ones(d, dtype)
        assert apply(Threshold(l2=1.0), torch.tensor(x)).any(-1).all()


def test_scaling_by_powers_of_two_rounds_once() -> None:
    """As np.ldexp does, through denormals and beyond the largest number."""
    rng = np.random.default_rng(0)
    n = 100_000
    x = np.ldexp(rng.standard_normal(n), rng.integers(-1070, 1000, n))
    near = rng.integers(-1070, -1000, n) - np.frexp(x)[1]  # results that are denormal
    for k in (rng.integers(-2044, 2045, n), near.clip(-2044, 2044)):
        with np.errstate(over="ignore", under="ignore"):
            expected = np.ldexp(x, k)
        assert ldexp(torch.tensor(x), torch.tensor(k)).numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "c", [ScaledSign(), TwoMeans(), SignTopK(2), TernGrad(), Threshold(l2=0.5), LowRank(1)], ids=str
)
@all_dtypes
def test_what_fits_does_not_overflow(c: Compressor, dtype: Any) -> None:
    """Equal entries are sent as they are, though nine of them sum to more than the dtype holds."""
    x = torch.full((9,), float(np.finfo(dtype).max) / 2, dtype=torch.tensor(dtype(0)).dtype)
    drawn = torch.full((9,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(apply(c, x, drawn).abs().amax(), x[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("c", EXACTLY, ids=str)
def test_parity_for_any_leading_axes(c: Compressor) -> None:
    for shape in ((7,), (1, 7), (2, 3, 7), (0, 7), (3, 0), (0, 0), (2, 0, 5), (1, 1), (0, 1)):
        x = np.random.default_rng(0).standard_normal(shape)
        agree(c, x, drawn_for(c, shape))


@pytest.mark.parametrize("c", LOW_RANK, ids=str)
def test_low_rank_of_any_leading_axes(c: Compressor) -> None:
    for shape in ((12,), (2, 3, 12), (0, 12), (3, 0), (2, 0, 5)):
        x = np.random.default_rng(0).standard_normal(shape)
        drawn = drawn_for(c, shape)
        z = apply(c, torch.tensor(x), as_tensors(drawn)).numpy()
        np.testing.assert_allclose(z, c.apply(x, drawn) if shape[-1] else x, atol=1e-12)


@pytest.mark.parametrize("c", EXACTLY, ids=str)
def test_the_layout_does_not_matter_and_the_input_is_kept(c: Compressor) -> None:
    x = torch.tensor(np.random.default_rng(0).standard_normal((14, 12)))
    x[:, 0] = -0.0
    before = x.clone()
    wide = x.t()[:, ::2]
    drawn = as_tensors(drawn_for(c, wide.shape))
    y, z = apply(c, wide, drawn), apply(c, wide.contiguous(), drawn)
    torch.testing.assert_close(y, z, rtol=1e-15, atol=0)
    assert x.numpy().tobytes() == before.numpy().tobytes()
    assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


@all_compressors
def test_zero_is_sent_as_zero(c: Compressor) -> None:
    for d, zero in itertools.product((1, 2, 17), (0.0, -0.0)):
        x = torch.full((3, d), zero)
        assert not apply(c, x, draw(c, (3, d), generator(), "cpu")).any()


@all_compressors
def test_nan_and_inf_make_no_error(c: Compressor) -> None:
    """The optimiser skips such a step without looking, so the kernel runs all the same."""
    for bad in (np.nan, np.inf, -np.inf):
        x = torch.tensor([[1.0, bad, 0.0, -2.0, 3.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
        drawn = draw(c, (2, 5), generator(), "cpu")
        y, other = apply(c, x, drawn), apply(c, x[1:].expand(2, 5), drawn)
        assert y.shape == x.shape
        torch.testing.assert_close(y[1], other[1])  # the other vector is none the worse


@pytest.mark.parametrize("k", [1, 3, 200])
def test_of_equal_magnitudes_the_first_are_kept(k: int) -> None:
    """Also in long vectors, where torch.topk takes any of them."""
    for d in (300, 10_000, 100_003):
        i = torch.arange(d)
        x = 1.0 - 2.0 * (i % 2)
        assert apply(TopK(k), x).nonzero().flatten().tolist() == list(range(k))
        assert apply(SignTopK(k), x).nonzero().flatten().tolist() == list(range(k))
        x[-1] = 2
        positions = apply(TopK(k), x).nonzero().flatten().tolist()
        assert positions == [*range(k - 1), d - 1]


# -- half precision -------------------------------------------------------------------------------


@half_dtypes
@all_compressors
def test_half_precision_is_float32_rounded_once(c: Compressor, dtype: torch.dtype) -> None:
    for d in SIZES:
        x = torch.tensor(vectors(d)).to(dtype)
        drawn = as_tensors(drawn_for(c, tuple(x.shape)))
        y = apply(c, x, drawn)
        assert y.dtype == dtype
        assert torch.equal(y, apply(c, x.float(), drawn).to(dtype))


@half_dtypes
@pytest.mark.parametrize("c", [ScaledSign(), TwoMeans(), SignTopK(1.0), QSGD(1)], ids=str)
def test_half_precision_does_not_sum_in_half(c: Compressor, dtype: torch.dtype) -> None:
    """65536 ones: bfloat16 would count to 256, float16 to 2048; their norm is 256."""
    y = apply(c, torch.ones(2**16, dtype=dtype), torch.full((2**16,), 1 - 2**-9).double())
    assert (y == (256 if isinstance(c, QSGD) else 1)).all()


# -- nothing waits for the device, and it can be traced -------------------------------------------


@pytest.mark.parametrize("c", slow_but_some(COMPRESSORS), ids=str)
def test_no_kernel_looks_at_a_number(c: Compressor) -> None:
    """On tensors without data: item(), bool(), nonzero() and boolean indices raise there."""
    for shape in ((17,), (2, 3, 17), (3, 1), (3, 0)):
        drawn = drawn_for(c, shape)
        with FakeTensorMode():
            x = torch.empty(shape)
            y = kernel(c)(x, as_tensors(drawn) if c.random else None)
            from_own_draws = kernel(c)(x, draw(c, shape, generator(), "cpu"))
        assert y.shape == from_own_draws.shape == shape
        assert y.dtype == from_own_draws.dtype == torch.float32


def test_tensors_without_data_do_notice() -> None:
    with FakeTensorMode(), pytest.raises(DynamicOutputShapeException):
        torch.empty(3).nonzero()


@pytest.mark.parametrize("c", slow_but_some(EXACTLY), ids=str)
def test_kernels_can_be_traced_whole(c: Compressor) -> None:
    torch.compiler.reset()
    traced = torch.compile(kernel(c), backend="eager", fullgraph=True)
    x = torch.tensor(np.random.default_rng(0).standard_normal((2, 7)))
    drawn = as_tensors(drawn_for(c, (2, 7)))
    assert torch.equal(traced(x, drawn), apply(c, x, drawn))


@all_compressors
def test_a_resolved_kernel_is_apply(c: Compressor) -> None:
    x = torch.tensor(vectors(17))
    drawn = as_tensors(drawn_for(c, tuple(x.shape)))
    assert torch.equal(kernel(c)(x, drawn), apply(c, x, drawn))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("c", EXACTLY, ids=str)
def test_on_a_gpu(c: Compressor) -> None:
    """The same results there, with draws of either kind, and no wait for it."""
    for dtype, d in itertools.product(DTYPES, SIZES):
        x = vectors(d, dtype)
        agree(c, x, drawn_for(c, x.shape), "cuda")
        tensor, rng = torch.tensor(x, device="cuda"), generator(0, "cuda")
        torch.cuda.synchronize()
        with no_synchronisation():
            drawn = draw(c, x.shape, rng, "cuda")
            y = kernel(c)(tensor, drawn)
        assert y.shape == x.shape
        assert y.device == tensor.device


# -- draws ----------------------------------------------------------------------------------------


def form(drawn: Any) -> Any:
    """Shapes and dtypes of what was drawn."""
    if isinstance(drawn, list | tuple):
        return [form(part) for part in drawn]
    return None if drawn is None else (tuple(drawn.shape), drawn.dtype)


def leaves(drawn: Any) -> list[Tensor]:
    if isinstance(drawn, list | tuple):
        return [leaf for part in drawn for leaf in leaves(part)]
    return [] if drawn is None else [drawn]


@all_compressors
def test_draws_have_the_form_that_numpy_has(c: Compressor) -> None:
    for shape in ((7,), (2, 3, 17), (3, 1), (3, 0), (0, 4)):
        expected = as_tensors(drawn_for(c, shape))
        assert form(draw(c, shape, generator(), "cpu")) == form(expected)


@pytest.mark.parametrize("c", RANDOM, ids=str)
def test_draws_depend_on_the_generator_only(c: Compressor) -> None:
    before = torch.get_rng_state()
    rng = generator(3)
    first, second = (leaves(draw(c, (5, 64), rng, "cpu")) for _ in range(2))
    again = leaves(draw(c, (5, 64), generator(3), "cpu"))
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, second))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_compressor_needs_a_generator() -> None:
    for c in RANDOM:
        with pytest.raises(ValueError, match=re.escape("torch.Generator(device)")):
            draw(c, (7,), None, "cpu")
    assert draw(ScaledSign(), (7,), None, "cpu") is None


@pytest.mark.parametrize("c", [QSGD(4), TernGrad(), Natural(), NaturalDithering(2)], ids=str)
def test_uniform_numbers_are_uniform(c: Compressor) -> None:
    """In [0, 1) with mean 1/2 and second moment 1/3 (variances 1/12 and 4/45); of 53 bits."""
    n = 10_000
    u = draw(c, (n,), generator(), "cpu")
    assert u.dtype == torch.float64
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) <= 4 * (1 / 12 / n) ** 0.5
    assert abs(u.square().mean() - 1 / 3) <= 4 * (4 / 45 / n) ** 0.5
    assert (u * 2**24 % 1 != 0).any()


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_subsets_are_uniform(k: int) -> None:
    """Increasing positions; each subset of five equally often, within 4 standard errors."""
    n = 20_000
    drawn = draw(RandK(k), (n, 5), generator(), "cpu")
    assert drawn.shape == (n, k)
    assert drawn.dtype == torch.int64
    assert (drawn.diff(dim=-1) > 0).all()
    subsets = list(itertools.combinations(range(5), k))
    p = 1 / len(subsets)
    for subset in subsets:
        share = (drawn == torch.tensor(subset)).all(-1).double().mean().item()
        assert abs(share - p) <= 4 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("c", UNBIASED, ids=str)
def test_torch_draws_are_unbiased(c: Compressor) -> None:
    """Every entry of the mean within 4 standard errors of x."""
    n = 4000
    x = torch.tensor([3.0, -1.0, 0.0, -4.0, 0.3, 0.1, 7.0], dtype=torch.float64)
    y = apply(c, x.expand(n, 7), draw(c, (n, 7), generator(), "cpu"))
    error = y.std(0) / n**0.5
    assert (error > 0).any()
    assert ((y.mean(0) - x).abs() <= 4 * error + 1e-12).all()


@pytest.mark.parametrize("c", JOINT, ids=str)
def test_workers_share_their_draw(c: Compressor) -> None:
    """As in NumPy: one for each replicate of (R, n, d), one for each vector of (R, d)."""
    for part in leaves(draw(c, (3, 4, 40), generator(), "cpu")):
        assert torch.equal(part, part[:, :1].expand_as(part))
        assert len({one.numpy().tobytes() for one in part[:, 0]}) == 3
    for part in leaves(draw(c, (12, 40), generator(), "cpu")):
        assert len({one.numpy().tobytes() for one in part}) == 12


def test_a_seed_chooses_the_same_positions_in_both() -> None:
    """Seeds of either sign, short and long vectors."""
    seeds = np.random.default_rng(0).integers(-(2**63), 2**63, (3, 2))
    for d, k in ((1, 1), (7, 3), (7, 7), (1000, 10), (50_000, 20_000)):
        ours = arrays.seeded_subset(torch.tensor(seeds), d, k).numpy()
        assert np.array_equal(ours, selection.seeded_subset(seeds, d, k))


@pytest.mark.parametrize("bits", [2, 5, 16])
def test_quantised_of_long_vectors_is_numpys(bits: int) -> None:
    for dtype, d in itertools.product(DTYPES, (300, 10_000)):
        x = np.random.default_rng(d).standard_normal((2, d)).astype(dtype)
        agree(Quantised(TopK(0.3), bits), x, None)


def test_as_tensors_copies() -> None:
    drawn: list[Any] = [np.arange(3), (np.ones(2), None)]
    first, (second, nothing) = as_tensors(drawn)
    first += 1
    assert drawn[0].tolist() == [0, 1, 2]
    assert second.dtype == torch.float64
    assert nothing is None
    assert as_tensors(None) is None


# -- compressors of one's own ---------------------------------------------------------------------


@dataclass(frozen=True)
class First(Compressor):
    """Keeps the first entry, for the tests below."""

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return np.where(np.arange(x.shape[-1]) == 0, x, 0.0)


@dataclass(frozen=True)
class Coin(Compressor):
    """All or nothing, for the tests below."""

    random = True

    def apply(self, x: Array, drawn: Any = None) -> Array:
        return np.where(drawn < 0.5, x, 0.0)


def named(name: str, base: type[Compressor], **methods: Any) -> Any:
    """A new subclass, so that registering it changes nothing for another test."""
    return dataclass(frozen=True)(type(name, (base,), methods))


def around(c: Compressor) -> list[Compressor]:
    return [c, Scaled(c, 0.5), Blockwise(c, 3), Blockwise(Scaled(c, 0.5), 2)]


@pytest.mark.parametrize("cls", [First, Coin])
def test_without_a_kernel_it_is_refused(cls: type[Compressor]) -> None:
    """In one sentence that says what to register, whatever it is wrapped in."""
    mine = named("Mine", cls, apply=lambda self, x, drawn=None: x)
    remedy = r"efsgd\.deep\.kernels\.apply\.register\(Mine\)"
    draws = r" and its draws with efsgd\.deep\.kernels\.draw\.register\(Mine\)"
    for c in around(mine()):
        for act in (lambda: kernel(c), lambda: apply(c, torch.ones(7))):  # noqa: B023
            with pytest.raises(ValueError, match=remedy + (draws if cls is Coin else "") + "$"):
                act()
    if cls is Coin:
        with pytest.raises(ValueError, match=r"draw\.register\(Mine\)"):
            draw(mine(), (7,), generator(), "cpu")


def test_with_a_kernel_it_works() -> None:
    mine = named("Mine", First)

    def first(c: Compressor, x: Tensor, drawn: Any = None) -> Tensor:
        return torch.where(torch.arange(x.shape[-1]) == 0, x, 0.0)

    apply.register(mine)(first)
    for c, count in zip(around(mine()), (1, 1, 3, 4), strict=True):
        factor = 0.5 if "scaled" in str(c) else 1.0
        y = apply(c, torch.ones(7))
        assert torch.equal(y, kernel(c)(torch.ones(7)))
        assert y.sum() == factor * count


def test_a_random_one_needs_its_draws_too() -> None:
    mine = named("Mine", Coin, draw=lambda self, shape, rng=None, state=None: None)

    def coin(c: Compressor, x: Tensor, drawn: Any = None) -> Tensor:
        return torch.where(drawn < 0.5, x, 0.0)

    apply.register(mine)(coin)
    with pytest.raises(ValueError, match=r"draw\.register\(Mine\)"):
        kernel(mine())

    def flip(c: Compressor, shape: Any, rng: torch.Generator, device: Any) -> Tensor:
        return torch.rand((*shape[:-1], 1), generator=rng, device=device)

    draw.register(mine)(flip)
    for c in around(mine()):
        drawn = draw(c, (200, 7), generator(), "cpu")
        share = (kernel(c)(torch.ones(200, 7), drawn) != 0).any(-1).double().mean()
        assert 0.3 < share <= 1


def test_a_subclass_that_computes_something_else_needs_its_own_kernel() -> None:
    """The parent's would be silently wrong; one that only adds a name takes it over."""
    twin = named("Twin", TopK)
    other = named("Other", TopK, apply=lambda self, x, drawn=None: -x)
    draws = named("Draws", RandK, draw=lambda self, shape, rng=None, state=None: None)
    x = torch.tensor([1.0, 3.0, 2.0])
    assert kernel(twin(1))(x).tolist() == [0, 3, 0]
    for c in (other(1), draws(1), Scaled(other(1), 0.5)):
        with pytest.raises(ValueError, match="has no torch kernel of its own"):
            kernel(c)


def test_a_wrapper_of_ones_own_may_have_a_kernel() -> None:
    mine = named("Mine", Scaled, apply=lambda self, x, drawn=None: -self.compressor.apply(x, drawn))
    with pytest.raises(ValueError, match=r"apply\.register\(Mine\)"):
        kernel(mine(TopK(1), 0.5))

    def minus(c: Any, x: Tensor, drawn: Any = None) -> Tensor:
        return -apply(c.compressor, x, drawn)

    apply.register(mine)(minus)
    assert kernel(mine(TopK(1), 0.5))(torch.tensor([1.0, 3.0])).tolist() == [0, -3]


def test_what_is_no_compressor_is_refused() -> None:
    acts: list[Callable[[Any], Any]] = [
        kernel,
        lambda c: apply(c, torch.ones(2)),
        lambda c: draw(c, (2,), None, "cpu"),
    ]
    for act in acts:
        with pytest.raises(ValueError, match=re.escape("write efsgd.compressor('topk:1')")):
            act("topk:1")
        with pytest.raises(ValueError, match=re.escape("write Sign(...), an instance")):
            act(Sign)
    assert torch.equal(apply(Identity(), torch.ones(2)), torch.ones(2))
