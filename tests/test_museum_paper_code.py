"""The bug museum, the hall of the paper's own code: each formula as it stood, and what catches it.

docs/bug-museum.md tells the stories. Without this file a mistake of the paper's own code could come
back in ours.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from museum import Exhibit, Hall
from torch import nn

import efsgd
from efsgd.deep import EFSGD
from efsgd.deep.data.dataset import Dataset, load
from efsgd.deep.optim.density import density as density_of
from efsgd.deep.training.evaluate import evaluate
from efsgd.deep.training.obtain import train
from efsgd.deep.training.session import Session
from efsgd.deep.training.training import Training
from efsgd.figures.cifar.presets import METHODS
from efsgd.figures.cifar.study import Cell
from efsgd.results import Result

HALL = Hall(__file__)
exhibit = HALL.exhibit


def trained(steps: int = 3, batch_norm: bool = True, **options: Any) -> tuple[nn.Module, EFSGD]:
    """A small network after a few steps of EF-signSGD, with something in its memory."""
    rng = np.random.default_rng(0)
    layers = [nn.Linear(6, 5), nn.BatchNorm1d(5) if batch_norm else nn.Identity(), nn.Linear(5, 3)]
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for x in model.parameters():
            x.copy_(torch.from_numpy(rng.standard_normal(x.shape)))
    optimizer = EFSGD(model.parameters(), lr=0.1, **options)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.from_numpy(rng.standard_normal((8, 6)))).square().mean().backward()
        optimizer.step()
    return model, optimizer


def memories(optimizer: EFSGD) -> list[torch.Tensor]:
    return [state["memory"] for state in optimizer.state.values() if "memory" in state]


# -- the optimiser --------------------------------------------------------------------------------


def norm_of_the_weights(optimizer: EFSGD) -> float:
    every = [x for group in optimizer.param_groups for x in group["params"]]
    return float(torch.cat([x.detach().flatten() for x in every]).norm())


@exhibit("memory_norm() returns the norm of the weights", norm_of_the_weights, EFSGD.memory_norm)
def norm_of_the_memory(norm):
    _, optimizer = trained()
    expected = np.linalg.norm(np.concatenate([e.numpy().ravel() for e in memories(optimizer)]))
    assert expected > 0
    assert float(norm(optimizer)) == pytest.approx(expected, rel=1e-12)


def decay_into_the_gradient(x: torch.Tensor, weight_decay: float) -> None:
    with torch.no_grad():
        x.grad.add_(x, alpha=weight_decay)
        x.sub_(0.1 * x.grad)


def decay_ours(x: torch.Tensor, weight_decay: float) -> None:
    EFSGD([x], lr=0.1, weight_decay=weight_decay).step()


@exhibit("weight decay is added into p.grad", decay_into_the_gradient, decay_ours)
def the_gradient_stays(step):
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    x.grad = torch.tensor([0.5, 0.25])
    step(x, 0.1)
    assert x.grad.tolist() == [0.5, 0.25]


def buffer_that_grows(m: float, g: float, mu: float) -> float:
    return m + mu * g


def buffer_ours(m: float, g: float, mu: float) -> float:
    _, buffer = efsgd.SGD(momentum=mu).direction(np.zeros(1), np.array([g]), np.array([m]))
    return float(buffer[0])


@exhibit("momentum that never decays", buffer_that_grows, buffer_ours)
def momentum_is_bounded(step):
    m = 1.0
    for _ in range(200):
        m = step(m, 1.0, 0.9)
    assert m <= 1 / (1 - 0.9) + 1e-9  # the geometric series of a constant gradient


def drop_with_a_new_optimiser(model: nn.Module, optimizer: EFSGD, lr: float) -> EFSGD:
    return EFSGD(model.parameters(), lr=lr, momentum=0.9)


def drop_ours(model: nn.Module, optimizer: EFSGD, lr: float) -> EFSGD:
    session = Session.__new__(Session)
    session.optimizer = optimizer
    session._set_lr(lr)
    return session.optimizer


@exhibit("a drop of the step size makes a new optimiser", drop_with_a_new_optimiser, drop_ours)
def a_drop_keeps_the_state(drop):
    model, optimizer = trained(momentum=0.9)
    before = copy.deepcopy(optimizer.state_dict()["state"])
    after = drop(model, optimizer, 0.01).state_dict()
    assert after["param_groups"][0]["lr"] == 0.01
    assert after["state"].keys() == before.keys()
    for i, state in before.items():
        assert after["state"][i].keys() == state.keys() >= {"memory", "momentum_buffer"}
        for name in ("memory", "momentum_buffer"):
            assert torch.equal(after["state"][i][name], state[name])


def drop_back_to_the_best(model: nn.Module, optimizer: EFSGD, lr: float) -> EFSGD:
    model.load_state_dict(copy.deepcopy(BEST))  # "best": chosen on the test set
    return drop_ours(model, optimizer, lr)


BEST = trained(1)[0].state_dict()


@exhibit(
    "a drop restarts from the epoch that was best on the test set", drop_back_to_the_best, drop_ours
)
def a_drop_keeps_the_weights(drop):
    model, optimizer = trained(3)
    now = [x.detach().clone() for x in model.parameters()]
    drop(model, optimizer, 0.01)
    assert all(map(torch.equal, model.parameters(), now))


# -- the virtual iterate ("memory back") ----------------------------------------------------------


def plus_the_memory(model: nn.Module, optimizer: EFSGD) -> list[torch.Tensor]:
    return [x.detach() + optimizer.state[x]["memory"] for x in model.parameters()]


def minus_the_memory(model: nn.Module, optimizer: EFSGD) -> list[torch.Tensor]:
    with optimizer.virtual_iterate():
        return [x.detach().clone() for x in model.parameters()]


@exhibit("the memory is given back with the wrong sign", plus_the_memory, minus_the_memory)
def the_virtual_iterate_is_that_of_sgd(virtual):
    """Constant gradients: the virtual iterate is x_0 - lr sum g (proof of Theorem II)."""
    model = nn.Linear(4, 3, bias=False).double()
    start = model.weight.detach().clone()
    optimizer = EFSGD(model.parameters(), lr=0.1, compressor=efsgd.TopK(1))
    gradient = torch.arange(12, dtype=torch.float64).view(3, 4)
    for _ in range(4):
        model.weight.grad = gradient.clone()
        optimizer.step()
    (iterate,) = virtual(model, optimizer)
    torch.testing.assert_close(iterate, start - 4 * 0.1 * gradient, rtol=1e-12, atol=1e-12)


def score_in_train_mode(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model(x), y))


def score_ours(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    return evaluate(model, [(x, y)]).loss


@exhibit(
    "evaluation in train mode moves the batch-norm statistics", score_in_train_mode, score_ours
)
def evaluation_moves_nothing(score):
    model, _ = trained()
    before = copy.deepcopy(model.state_dict())
    score(model, torch.ones(4, 6, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 0]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


# -- what is measured -----------------------------------------------------------------------------


def phi_of_zero(v: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.abs(v).sum() ** 2 / (len(v) * (v**2).sum()))


def phi_deep(v: np.ndarray) -> float:
    x = torch.from_numpy(v)
    norms = torch.tensor([[np.abs(v).sum()]] * 2 + [[np.linalg.norm(v)]] * 2)
    return float(density_of([([x], norms)]).p)


@exhibit("a zero gradient makes phi NaN", phi_of_zero, efsgd.density)
@exhibit("a zero gradient makes phi NaN, in torch", phi_of_zero, phi_deep)
def phi_is_defined(phi):
    assert float(phi(np.array([1.0, 1.0, 0.0, 0.0]))) == pytest.approx(0.5)  # 2^2 / (4 * 2)
    assert float(phi(np.zeros(3))) == 1.0


def losses_of_two_iterates(data: Dataset) -> tuple[float, float]:
    """The train loss is that of the minibatch before its step, the test loss comes after it."""
    session = Session(quick(data), data)
    (x, y), *_ = session.evaluation_loaders["test"].epoch(0)
    train_loss = float(nn.functional.cross_entropy(session.model(x), y).detach())
    session._step(session.model, x, y)
    return train_loss, session._scores(lambda: None, ["test"])["test_loss"]


def losses_ours(data: Dataset) -> tuple[float, float]:
    history = train(quick(data), data)
    return float(history["train_loss"][-1]), float(history["test_loss"][-1])


def quick(data: Dataset, seed: int = 0) -> Training:
    method = METHODS["ef-signsgd"]
    few = {"batch": 16, "epochs": 1, "drops": (), "seed": seed}
    return Training(method=method, lr=0.02, model="resnet8", data=data.name, **few)


@exhibit("train loss before the step, test loss after it", losses_of_two_iterates, losses_ours)
def both_losses_are_of_one_iterate(losses):
    """Where the test images are the training images, so are their losses."""
    data = load("standin").subset(32, 32)
    same = Dataset(data.name, data.x_train, data.y_train, data.x_train, data.y_train, data.classes)
    train_loss, test_loss = losses(same)
    assert train_loss == pytest.approx(test_loss, rel=1e-6)


# -- how it was run -------------------------------------------------------------------------------


class Noisy:
    """f(x) = |x|^2/2 with Gaussian noise in the gradient."""

    d = 2

    def loss(self, x):
        return (x**2).sum(-1) / 2

    def gradient(self, x, rng):
        return x + rng.standard_normal(x.shape)

    def x0(self, rng, replicates):
        return np.ones((replicates, 2))


def repeats_share_a_memory(repeats: int) -> list[float]:
    e, ends = np.zeros(2), []
    for _ in range(repeats):
        rng, x = np.random.default_rng(0), np.ones(2)
        for _ in range(5):
            p = 0.1 * (x + rng.standard_normal(2)) + e
            sent = efsgd.TopK(1)(p)
            x, e = x - sent, p - sent
        ends.append(float(x.sum()))
    return ends


def repeats_ours(repeats: int) -> list[float]:
    run = efsgd.Run(Noisy(), efsgd.EFSGD(efsgd.TopK(1)), lr=0.1, steps=5)
    return [float(efsgd.run(run)["loss"][-1, 0]) for _ in range(repeats)]


@exhibit("one optimiser serves all repeats of the toy", repeats_share_a_memory, repeats_ours)
def equal_repeats_end_equal(repeats):
    first, second = repeats(2)
    assert first == second


def run_without_a_seed(data: Dataset) -> float:
    return float(
        train(quick(data, seed=int(np.random.default_rng().integers(2**31))), data)["train_loss"][
            -1
        ]
    )


def run_ours(data: Dataset) -> float:
    return float(train(quick(data), data)["train_loss"][-1])


@exhibit("nothing is seeded", run_without_a_seed, run_ours)
def two_runs_are_equal(run):
    data = load("standin").subset(32, 16)
    assert run(data) == run(data)


@exhibit("the curve called SGDm is plain SGD", lambda: efsgd.SGD(), lambda: METHODS["sgdm"])
def sgdm_has_momentum(method):
    """A constant gradient g, twice: 0 -> -lr g -> -lr (g + 1.9 g)."""
    g = np.ones((1, 1))
    rule = method()
    no_decay = type(rule)(momentum=rule.momentum)
    x, memory, rng = np.zeros((1, 1)), no_decay.start(g), np.random.default_rng(0)
    for _ in range(2):
        x, memory = no_decay.advance(x, g, memory, 1.0, rng)
    assert x[0, 0] == pytest.approx(-2.9)


def tuned_on_the_test_set(data: Dataset) -> Dataset:
    return data


@exhibit(
    "step sizes are tuned on the test set",
    tuned_on_the_test_set,
    lambda data: data.validation_split(8),
)
def tuning_sees_no_test_image(split):
    data = load("standin").subset(64, 16)
    judged = split(data)
    seen = {image.tobytes() for image in judged.x_test}
    assert seen
    assert seen.isdisjoint(image.tobytes() for image in data.x_test)
    assert seen.isdisjoint(image.tobytes() for image in judged.x_train)


def best_epoch(cell: Cell) -> np.ndarray:
    return cell.series("test_accuracy").max(0)


@exhibit("the maximum over test epochs is reported", best_epoch, Cell.finals)
def what_is_reported_is_unbiased(reported):
    """1000 runs of 50 epochs whose true accuracy is 80 %: so is the mean report, within 4 s.e."""
    rng = np.random.default_rng(0)
    noisy = 0.8 + 0.01 * rng.standard_normal((1000, 50))
    results = tuple(Result({"test_accuracy": a}, {}, {}, Path()) for a in noisy)
    assert abs(reported(Cell(128, "sgdm", (), results)).mean() - 80) <= 4 * 1.0 / np.sqrt(1000)


# -- the museum -----------------------------------------------------------------------------------


@HALL.each
def test_ours_passes(exhibit: Exhibit) -> None:
    exhibit.passes()


@HALL.each
def test_the_bug_is_caught(exhibit: Exhibit) -> None:
    exhibit.fails()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_experiments_takes_a_step(name):
    """The baseline of the paper's code stops with an error."""
    x = torch.ones(3, requires_grad=True)
    x.grad = torch.tensor([1.0, -2.0, 0.0])
    EFSGD.of(METHODS[name], [x], lr=0.1).step()
    assert not torch.equal(x.detach(), torch.ones(3))


def test_the_page_tells_every_story() -> None:
    assert sorted(HALL.stories()) == sorted(HALL.titles)
