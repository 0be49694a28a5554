"""What a training takes on a device: a CUDA graph or none, and the form of its step.

On CUDA the candidates are tried in turn, and the first that works is taken: a CUDA graph with the
Triton step, a graph with operators over all tensors ("foreach"), and the same two without a graph.
The Triton step is a candidate for signs only, and only where it agrees with "foreach" on the
gradients of this very network. Where one candidate is left it is taken without a trial. On the CPU
nothing is tried: the optimiser chooses by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from efsgd.deep.data.dataset import Dataset
from efsgd.deep.optim.compiled import switched_off
from efsgd.deep.optim.optimiser import EFSGD
from efsgd.deep.optim.triton_step import KINDS, missing
from efsgd.deep.training.device import library_flags, own_stream
from efsgd.deep.training.graph import WARM_UP
from efsgd.deep.training.machine import FORMS, Form, Means
from efsgd.deep.training.session import Session
from efsgd.methods.base import Method

if TYPE_CHECKING:
    from efsgd.deep.training.training import Training

TRIED = WARM_UP + 2  # steps of a trial: the last two are a capture with its replay, and a replay
# Of |x - y| relative to the way gone. Rounding turns the sign of a few entries of p near 0, each of
# which then moves by 2 |p|_1/d; a step that is wrong is off by about 1.
APART = 0.05

log = logging.getLogger("efsgd.deep")
_found: dict[tuple[Training, Means, int], Means] = {}  # what was taken before in this process
_looking = Lock()


def chosen(training: Training, data: Dataset, means: Means) -> Means:
    """The means with ``graph`` and ``form`` decided, those of the CPU but for the optimiser's own.

    Raises ValueError for a form that cannot be had for this method.
    """
    c = training.method.compresses
    if means.form == "triton" and type(c) not in KINDS:
        raise ValueError(f"form='triton' has no kernel of {c}: leave form out")
    if means.device.type != "cuda":
        return replace(means, graph=bool(means.graph))
    alike = replace(training, lr=1e-3, seed=0, epochs=1, drops=(), evaluate_every=1)
    with _looking:
        key = alike, means, data.classes
        if key not in _found:
            _found[key] = _first_that_works(alike, data, means)
            log.info("trainings of %s run %s", training.model, _found[key])
        return _found[key]


def candidates(method: Method, means: Means) -> Iterator[Means]:
    """What to try, the best first; the last one must work."""
    lacking = switched_off() or missing(means.device.type)
    signs = type(method.compresses) in KINDS and lacking is None
    forms: tuple[Form, ...] = ("triton", "foreach") if signs else ("foreach",)
    if means.form is not None:
        forms = (means.form,)
    graphs = (True, False) if means.graph is None else (means.graph,)
    for graph, form in product(graphs, forms):
        if not (graph and form == "compiled"):
            yield replace(means, graph=graph, form=form)


def _first_that_works(training: Training, data: Dataset, means: Means) -> Means:
    left = list(candidates(training.method, means))
    while len(left) > 1:
        candidate = left.pop(0)
        try:
            _try(training, data, candidate)
        except Exception as error:  # whatever it is, the next one may work
            log.warning("training does not work %s (%s)", candidate, _reason(error))
        else:
            return candidate
    return left[0]


def _reason(error: BaseException) -> str:
    """What went wrong, and what went wrong first: the end of a failed capture fails once more."""
    first = error
    while isinstance(first.__context__, Exception):
        first = first.__context__
    return _line(error) if first is error else f"{_line(error)}; at first {_line(first)}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _try(training: Training, data: Dataset, means: Means) -> None:
    """A few steps of a training that nobody keeps; raises whatever goes wrong.

    A capture that fails may leave torch's own generator of the device as if inside it; a training
    draws from its own.
    """
    images, flags = min(len(data.y_train), 2 * training.batch), (training.precision, means.device)
    with own_stream(means.device), library_flags(*flags), torch.enable_grad():
        session = Session(training, data.subset(images, 1), means)
        session.feed.start(0)
        for _ in range(TRIED):
            session.first_step()
        torch.cuda.synchronize(means.device)
        if means.form == "triton":
            apart = distance(training.method, list(session.model.parameters()))
            if not apart <= APART:
                raise RuntimeError(f"it goes {apart:.2g} of the way of 'foreach' astray")


def distance(method: Method, parameters: list[Tensor], steps: int = 3, lr: float = 1e-3) -> float:
    """How far steps in the Triton form lead from those in "foreach", relative to their length.

    Of copies of the parameters, with the gradients at hand, which should not be zero.
    """
    ends = []
    for form in ("triton", "foreach"):
        copies = [torch.nn.Parameter(x.detach().clone()) for x in parameters]
        optimizer = EFSGD.of(method, copies, lr, **FORMS[form])
        for x, y in zip(parameters, copies, strict=True):
            y.grad = None if x.grad is None else x.grad.detach().clone()
        for _ in range(steps):
            optimizer.step()
        ends.append(torch.cat([y.detach().flatten() for y in copies]))
    start = torch.cat([x.detach().flatten() for x in parameters])
    way = torch.linalg.vector_norm(ends[1] - start)
    return float(torch.linalg.vector_norm(ends[0] - ends[1]) / way)
