"""The optimisers that the benchmarks compare, on the shapes of the paper's networks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from efsgd import ScaledSign
from efsgd.deep import EFSGD
from efsgd.deep.models import build
from efsgd.deep.optim.forms.triton_step import TritonStep

NETWORKS = {"resnet18": 100, "vgg19": 10}  # of the paper, and the classes of their data
DECAY = {"weight_decay": 5e-4}
LR = 1e-3
BASELINE = "torch SGD fused"


def parameters(network: str, classes: int, device: str = "cpu", seed: int = 0) -> list[Tensor]:
    """The parameters of a network, with random gradients of about the size met in training."""
    generator = torch.Generator().manual_seed(seed)
    xs = [torch.nn.Parameter(x.detach().to(device)) for x in build(network, classes).parameters()]
    for x in xs:
        x.grad = (1e-2 * torch.randn(x.shape, generator=generator)).to(device)
    return xs


class PaperForm:
    """EF-signSGD as in the paper's code: parameter by parameter, p.grad changed in place.

    It computes the norms of the densities at every step, but the host reads none of them.
    """

    def __init__(self, xs: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        self.xs, self.lr, self.weight_decay = list(xs), lr, weight_decay
        self.memory = [torch.zeros_like(x) for x in self.xs]
        self.norms: list[Tensor] = []

    @torch.no_grad()
    def step(self) -> None:
        self.norms = []
        for x, e in zip(self.xs, self.memory, strict=True):
            g = x.grad
            assert g is not None
            g.add_(x, alpha=self.weight_decay)
            p = self.lr * g + e
            sent = p.norm(p=1) / p.numel() * p.sign()
            for v in (g, p):
                self.norms += [v.norm(p=1) ** 2 / v.numel(), v.norm(p=2) ** 2]
            x.sub_(sent)
            e.copy_(p - sent)


def ef_signsgd(xs: Sequence[Tensor], form: str, **options: Any) -> EFSGD:
    """EF-signSGD in one of the forms "loop", "foreach", "compiled" and "triton [chunk warps]"."""
    kind, *sizes = form.split()
    fused: Any = "triton" if kind == "triton" else kind == "compiled"
    options = DECAY | {"foreach": kind == "foreach", "fused": fused} | options
    optimizer = EFSGD(xs, LR, ScaledSign(zero=0), **options)
    if sizes:
        optimizer._forms.triton = TritonStep(*map(int, sizes))
    return optimizer


def candidate(name: str, xs: Sequence[Tensor], **options: Any) -> Callable[[], Any]:
    """The step of the baseline, of "paper's form", or of EFSGD in the form ``name``."""
    if name == BASELINE:
        return torch.optim.SGD(xs, LR, momentum=0.9, fused=True, **(DECAY | options)).step
    if name == "paper's form":
        return PaperForm(xs, LR, **(DECAY | options)).step
    return ef_signsgd(xs, name, **options).step
