"""Whether a training's steps run as a CUDA graph, and in which form its optimiser steps.

On CUDA the candidates are tried in turn, and the first that works is taken: a CUDA graph with the
Triton step, a graph with operators over all tensors ("foreach"), and the same two without a graph.
The Triton step is a candidate for the compressors that have a kernel, and is only taken where it
agrees with "foreach" on the gradients of this very network. The last candidate is taken without a
trial. On the CPU nothing is tried: the optimiser chooses by itself.
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
from efsgd.deep.optim.forms.compiled import switched_off
from efsgd.deep.optim.forms.triton_step import KINDS, missing
from efsgd.deep.optim.optimiser import EFSGD
from efsgd.deep.training.device import library_flags, own_stream
from efsgd.deep.training.execution import FORMS, Execution, Form
from efsgd.deep.training.graph import WARM_UP
from efsgd.deep.training.session import Session
from efsgd.methods.base import Method

if TYPE_CHECKING:
    from efsgd.deep.training.training import Training

TRIAL_STEPS = WARM_UP + 2  # the last two are a capture with its replay, and a replay
# Of `distance`. Rounding turns the sign of a few entries of p near 0, each of which then moves by
# 2 |p|_1/d; a step that is wrong is off by about 1.
TOLERANCE = 0.05

log = logging.getLogger("efsgd.deep")
_choices: dict[tuple[Training, Execution, int], Execution] = {}  # made in this process
_choice_lock = Lock()


def choose(training: Training, data: Dataset, execution: Execution) -> Execution:
    """The execution with ``graph`` chosen, and on CUDA ``form``; the CPU leaves that to EFSGD.

    Trainings that differ only in step sizes, seed and number of epochs share one choice.
    Raises ValueError for a form that does not exist for this method.
    """
    c = training.method.compresses
    if execution.form == "triton" and type(c) not in KINDS:
        raise ValueError(f"form='triton' has no kernel of {c}: leave form out")
    if execution.device.type != "cuda":
        return replace(execution, graph=bool(execution.graph))
    representative = replace(training, lr=1e-3, seed=0, epochs=1, drops=(), evaluate_every=1)
    with _choice_lock:
        key = representative, execution, data.classes
        if key not in _choices:
            _choices[key] = _first_that_works(representative, data, execution)
            log.info("trainings of %s run %s", training.model, _choices[key])
        return _choices[key]


def candidates(method: Method, execution: Execution) -> Iterator[Execution]:
    """Every choice that ``execution`` leaves open, fastest first; the last one must work."""
    unavailable = switched_off() or missing(execution.device.type)
    triton = type(method.compresses) in KINDS and unavailable is None
    forms: tuple[Form, ...] = ("triton", "foreach") if triton else ("foreach",)
    if execution.form is not None:
        forms = (execution.form,)
    graphs = (True, False) if execution.graph is None else (execution.graph,)
    for graph, form in product(graphs, forms):
        if not (graph and form == "compiled"):
            yield replace(execution, graph=graph, form=form)


def _first_that_works(training: Training, data: Dataset, execution: Execution) -> Execution:
    *tried, last = candidates(training.method, execution)
    for candidate in tried:
        try:
            _try(training, data, candidate)
        except Exception as error:  # whatever it is, the next one may work
            log.warning("training does not work %s (%s)", candidate, _failure(error))
        else:
            return candidate
    return last


def _failure(error: BaseException) -> str:
    """The error and the one that led to it: ending a capture that failed raises another one."""
    first = error
    while isinstance(first.__context__, Exception):
        first = first.__context__
    text = _first_line(error)
    return text if first is error else f"{text}; at first {_first_line(first)}"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _try(training: Training, data: Dataset, execution: Execution) -> None:
    """Take a few steps in a session of its own; raises whatever goes wrong.

    A capture that fails may leave the device's default generator in the state of a capture. That
    does no harm, as trainings draw from generators of their own.
    """
    images, device = min(len(data.y_train), 2 * training.batch), execution.device
    with own_stream(device), library_flags(training.precision, device), torch.enable_grad():
        session = Session(training, data.subset(images, 1), execution)
        session.feed.start(0)
        for _ in range(TRIAL_STEPS):
            session.first_step()
        torch.cuda.synchronize(device)
        if execution.form == "triton":
            error = distance(training.method, list(session.model.parameters()))
            if not error <= TOLERANCE:
                raise RuntimeError(f"it goes {error:.2g} of the way of 'foreach' astray")


def distance(method: Method, parameters: list[Tensor], steps: int = 3, lr: float = 1e-3) -> float:
    """|x - y| / |y - x_0| for x after steps in the Triton form and y after steps in "foreach".

    Both start from copies of the parameters x_0 and repeat their present gradients, which should
    not be zero.
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
    length = torch.linalg.vector_norm(ends[1] - start)
    return float(torch.linalg.vector_norm(ends[0] - ends[1]) / length)
