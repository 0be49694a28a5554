"""Parity: CUDA and CPU = NumPy, a captured graph = eager, every form = the loop."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from candidates import ef_signsgd
from compressor_table import COMPRESSORS, drawn_for
from measure import Captured, Context, table, write

import efsgd
from efsgd.deep import EFSGD
from efsgd.deep.kernels import apply, as_tensors
from efsgd.deep.models import build
from efsgd.methods.base import Method

STEPS, LR = 20, 0.05
WARM_UP = 3  # eager steps before a capture
SHAPES = ((64, 16, 3, 3), (64,), (10, 64), (10,), (3, 1))
# Each device sums in another order, so entries agree up to roundings of the largest one.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
LOOSE = 1e3  # times that for LowRank and PowerSGD, whose singular vectors may nearly coincide
TERNARY = efsgd.ScaledSign(zero=0)
METHODS: dict[str, Method] = {
    "sgdm": efsgd.SGD(momentum=0.9, weight_decay=5e-4),
    "signsgd": efsgd.CompressedSGD(TERNARY, weight_decay=5e-4),
    "signsgdm": efsgd.Signum(efsgd.Sign(zero=0), momentum=0.9, weight_decay=5e-4),
    "ef-signsgd": efsgd.EFSGD(TERNARY, weight_decay=5e-4),
    "ef-signsgd, momentum": efsgd.EFSGD(TERNARY, momentum=0.9, weight_decay=5e-4),
    "ef, topk:0.1": efsgd.EFSGD(efsgd.TopK(0.1), weight_decay=5e-4),
}
Row = dict[str, Any]


def relative_error(y: Any, z: Any) -> float:
    """The largest |y - z|, relative to the largest |y|."""
    y, z = np.asarray(y, np.float64), np.asarray(z, np.float64)
    return float(np.abs(y - z).max() / max(np.abs(y).max(), np.finfo(np.float64).tiny))


def row(name: str, error: float, allowed: float) -> Row:
    return {"what": name, "error": error, "allowed": allowed, "met": bool(error <= allowed)}


def compressors(context: Context) -> Iterator[Row]:
    """The torch kernel of each compressor on each device against NumPy, on the same draws."""
    devices = ["cpu", context.device] if context.cuda else ["cpu"]
    for c in COMPRESSORS:
        for dtype, allowed in TOLERANCE.items():
            worst = 0.0
            for d in (1, 17, 256):
                x = np.random.default_rng(d).standard_normal((8, d)).astype(dtype)
                drawn = drawn_for(c, x.shape)
                expected = c.apply(x, drawn)
                for device in devices:
                    tensor = torch.tensor(x, device=device)
                    sent = apply(c, tensor, as_tensors(drawn, device)).cpu().numpy()
                    worst = max(worst, relative_error(expected, sent))
            loose = LOOSE if re.search("lowrank|powersgd", str(c)) else 1.0
            yield row(f"{c}, {np.dtype(dtype)}", worst, loose * allowed)


def gradients(dtype: torch.dtype) -> list[list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in SHAPES]
        for _ in range(STEPS)
    ]


def initial_parameters(dtype: torch.dtype, device: Any) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    xs = [torch.randn(s, generator=generator, dtype=torch.float64) for s in SHAPES]
    return [torch.nn.Parameter(x.to(device, dtype)) for x in xs]


def torch_steps(optimizer: Any, xs: list[torch.Tensor]) -> list[Any]:
    """The parameters after twenty steps with the same gradients."""
    for gs in gradients(xs[0].dtype):
        for x, g in zip(xs, gs, strict=True):
            x.grad = g.to(x.device)
        optimizer.step()
    return [x.detach().cpu().double().numpy().ravel() for x in xs]


def numpy_steps(method: Method) -> list[Any]:
    xs = [x.detach().numpy().reshape(1, -1) for x in initial_parameters(torch.float64, "cpu")]
    memories, rng = [method.start(x) for x in xs], np.random.default_rng(0)
    for gs in gradients(torch.float64):
        for i, g in enumerate(gs):
            update = method.step(xs[i], g.numpy().reshape(1, -1), memories[i], LR, rng)
            xs[i], memories[i] = update.x, update.memory
    return [x.ravel() for x in xs]


def steps(context: Context) -> Iterator[Row]:
    """Twenty steps in float64 on each device against the engine's methods."""
    for name, method in METHODS.items():
        expected = numpy_steps(method)
        for device in ["cpu", context.device] if context.cuda else ["cpu"]:
            xs = initial_parameters(torch.float64, device)
            actual = torch_steps(EFSGD.of(method, xs, LR, fused=False), xs)
            error = max(map(relative_error, expected, actual))
            yield row(f"20 steps of {name}, float64, {device} = NumPy", error, 1e-12)


def forms(context: Context) -> Iterator[Row]:
    """Twenty steps in float32 in each form against the loop."""
    yield from _forms(context, ("foreach", *(("triton",) if context.cuda else ())))


def compiled(context: Context) -> Iterator[Row]:
    """The same for the compiled form, which takes long to compile."""
    yield from _forms(context, ("compiled",))


def _forms(context: Context, names: Sequence[str]) -> Iterator[Row]:
    xs = initial_parameters(torch.float32, context.device)
    expected = torch_steps(ef_signsgd(xs, "loop"), xs)
    for form in names:
        xs = initial_parameters(torch.float32, context.device)
        error = max(map(relative_error, expected, torch_steps(ef_signsgd(xs, form), xs)))
        yield row(f"20 steps, {form} = loop, float32", error, 1e-5)


def graphs(context: Context) -> Iterator[Row]:
    """Twenty training steps of a network as a CUDA graph against the same steps without."""
    for form in ("foreach", "triton"):
        with deterministic():
            eager, captured = (trained(form, graph, context) for graph in (False, True))
        error = max(map(relative_error, eager, captured))
        yield row(f"20 training steps, {form}: graph = eager, float32", error, 0.0)


def trained(form: str, graph: bool, context: Context) -> list[Any]:
    """The parameters of a network after twenty steps on one batch."""
    model = build("resnet8", 10).to(context.device)
    optimizer = ef_signsgd(list(model.parameters()), form, capturable=True)
    generator = torch.Generator(context.device).manual_seed(0)
    images = torch.randn(32, 3, 32, 32, generator=generator, device=context.device)
    labels = torch.randint(10, (32,), generator=generator, device=context.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    if graph:
        replay = Captured(step, warm=WARM_UP)
        for _ in range(STEPS - WARM_UP):
            replay()
    else:
        for _ in range(STEPS):
            step()
    return [x.detach().cpu().double().numpy().ravel() for x in model.parameters()]


@contextlib.contextmanager
def deterministic() -> Any:
    """Inside, cuDNN takes the same algorithm each time."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def run(context: Context) -> bool:
    """Compare everything; whether all of it agrees."""
    rows: list[Row] = []
    for part in (compressors, steps, forms, *([graphs, compiled] if context.cuda else [])):
        try:
            rows.extend(part(context))
        except Exception as error:  # the other parts may work
            rows.append(row(f"{part.__name__}: {type(error).__name__}: {error}", np.inf, 0.0))
        write(context, "parity", {"rows": rows})
    cells = [
        [r["what"], f"{r['error']:.2g}", f"{r['allowed']:.2g}", "yes" if r["met"] else "NO"]
        for r in rows
        if "20" in r["what"] or not r["met"]
    ]
    agree = sum(r["met"] for r in rows)
    table(f"Parity: {agree} of {len(rows)} agree", ["what", "error", "allowed", "met"], cells)
    return agree == len(rows)
