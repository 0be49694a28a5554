"""What would go wrong with several workers without a word: refused, or named.

Without this file a NaN could vote, a theorem's step diverge on shares that it is not about, and a
step size not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from efsgd.arrays import Array, Generator
from efsgd.compressors import (
    Blockwise,
    Compressor,
    Identity,
    PowerSGD,
    RandK,
    Scaled,
    Shared,
    Sign,
    Threshold,
    TopK,
)
from efsgd.engine.loop import Diverged
from efsgd.engine.runs import Run, run
from efsgd.methods import (
    DASHA,
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    MARINA,
    SGD,
    CompressedSGD,
    EControl,
    Faults,
    FullyCorrectiveEF,
    LocalSteps,
    MajorityVote,
    Method,
    PostMomentumEF,
    SignSGD,
    Team,
)
from efsgd.methods.base import Memory, Update
from efsgd.schedules import Theorem


class Shifted:
    """f_i = |x - c_i|^2/2 of four workers."""

    d, centres = 3, np.arange(12.0).reshape(4, 3)

    def loss(self, x: Array) -> Array:
        return ((x[:, None] - self.centres) ** 2).sum(-1).mean(-1) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        return x - self.centres.mean(0)

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        return (x[:, None] if x.ndim == 2 else x) - self.centres


class Rows(Shifted):
    """Of 8 rows, for all workers."""

    n = 8

    def batch_gradient(self, x: Array, rows: Array) -> Array:
        return x - self.centres[rows % 4].mean(1)


class Dealt(Rows):
    """The same rows, of which each worker draws its own."""

    def worker_batches(self, rng: Generator, replicates: int, b: int) -> Array:
        return rng.integers(0, 8, (replicates, 4, b))


class Uneven(Shifted):
    worker_weights = np.array([0.7, 0.1, 0.1, 0.1])


@pytest.mark.parametrize("method", [SignSGD(), MajorityVote(), CompressedSGD(Threshold(abs=0.1))])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_gradient_that_is_not_finite_is_never_sent_as_if_it_were(
    method: Any, workers: int
) -> None:
    """The sign of NaN is +1 or -1, and a threshold drops it: only the gradient shows it."""

    class Once(Shifted):
        calls = 0

        def worker_gradients(self, x: Array, rng: Generator) -> Array:
            g = super().worker_gradients(x, rng)[:, :workers]
            Once.calls = Once.calls + 1 if x.any() else 1  # a run starts at 0
            if Once.calls == 4:
                g[0, -1, 2] = np.nan
            return g

        def gradient(self, x: Array, rng: Generator) -> Array:
            return self.worker_gradients(x, rng)[:, 0]

    of_worker = " of worker 3" if workers > 1 else ""
    message = f"not finite at step 4, as the gradient{of_worker} at step 3 is not"
    with pytest.raises(Diverged, match=message):
        run(Run(Once(), method, 0.1, 9, workers=workers))
    kept = run(Run(Once(), method, 0.1, 9, workers=workers), diverged="keep")
    assert np.isnan(kept["x_final"]).all()


UNBIASED = RandK(1, unbiased=True)
DIANA_STEP = Theorem("diana", 1.0, 1.0, omega=2.0, workers=4)
MARINA_STEP = Theorem("marina", 1.0, omega=2.0, probability=0.5)
OF_EF, OF_EF21, OF_CGD, OF_ECONTROL, OF_POST = (
    Theorem(name, 1.0, delta=1 / 3) for name in ("ef", "ef21", "cgd", "econtrol", "post-momentum")
)
OF_DASHA = Theorem("dasha", 1.0, omega=2.0, workers=4)
RARE = MARINA(UNBIASED, probability=0.1)


@pytest.mark.parametrize(
    ("problem", "method", "lr", "options", "message"),
    [
        (Shifted(), DIANA(Shared(UNBIASED)), DIANA_STEP, {}, "use workers=1 in the theorem"),
        (Uneven(), DIANA(UNBIASED), DIANA_STEP, {}, "count as 1.43: use workers=1 in the theorem"),
        (Shifted(), DIANA(UNBIASED), DIANA_STEP, {"participation": 0.5}, "give a number as lr"),
        (Shifted(), DIANA(UNBIASED), DIANA_STEP, {"faults": Faults(loss=0.1)}, "give a number"),
        (Shifted(), DIANA(UNBIASED), DIANA_STEP, {"downlink": EFSGD()}, "knows of no downlink"),
        (Shifted(), DIANA(UNBIASED), DIANA_STEP, {"local_steps": 5}, "knows of no local steps"),
        (Shifted(), EF21(Identity()), Theorem("ef21", 1.0), {"downlink": EF21()}, "no downlink"),
        (Shifted(), DIANA(UNBIASED, momentum=0.9), DIANA_STEP, {}, "DIANA without momentum"),
        (Shifted(), EF21(), DIANA_STEP, {}, "is about DIANA, not EF21"),
        (Shifted(), DIANA(UNBIASED), Theorem("diana", 1.0, 1.0, omega=1.9), {}, "use omega=2"),
        (Shifted(), RARE, MARINA_STEP, {}, "use probability=0.1"),
        (Shifted(), EFSGD(TopK(1)), Theorem("ef", 1.0), {}, "use delta=0.3333"),
        (Shifted(), EFSGD(TopK(1)), OF_EF21, {}, "about EF21 or EF21Plus, not EFSGD"),
        (Shifted(), EF21SGDM(TopK(1)), OF_EF21, {}, "about EF21 or EF21Plus, not EF21SGDM"),
        (Shifted(), EF21(TopK(1), momentum=0.9), OF_EF21, {}, "about EF21 without momentum"),
        (Shifted(), EF21(TopK(1), weight_decay=9.0), OF_EF21, {}, "EF21 without weight decay"),
        (Shifted(), EFSGD(TopK(1), decay=0.9), OF_EF, {}, "about EFSGD without decay"),
        (Shifted(), SignSGD(), Theorem("cgd", 1.0), {}, "about CompressedSGD, not SignSGD"),
        (Shifted(), CompressedSGD(Sign()), Theorem("cgd", 1.0), {}, "sign has no delta > 0"),
        (Shifted(), EFSGD(PowerSGD(1)), OF_EF, {}, "powersgd:1 has no delta > 0"),
        (Shifted(), CompressedSGD(UNBIASED), OF_CGD, {}, "has no delta > 0 at d = 3"),
        (Shifted(), EControl(TopK(1), eta=0.2), OF_ECONTROL, {}, "use eta=0.2"),
        (Shifted(), PostMomentumEF(TopK(1), momentum=0.9), OF_POST, {}, "use momentum=0.9"),
        (Shifted(), DASHA(UNBIASED, a=0.5), OF_DASHA, {}, "leave a out"),
        (Shifted(), MARINA(UNBIASED, probability=0.4), MARINA_STEP, {}, "use probability=0.4"),
        (Dealt(), EFSGD(TopK(1)), OF_EF, {"batch": 1}, "is for full gradients"),
        (Shifted(), SignSGD(), 0.1, {"local_steps": 3}, "would move x by 1 whatever lr is"),
        (Shifted(), CompressedSGD(Blockwise(Sign(), 2)), 0.1, {"local_steps": 3}, "whatever lr is"),
        (
            Shifted(),
            EFSGD(),
            0.1,
            {"downlink": CompressedSGD(Scaled(Sign(), 0.5))},
            "so lr would not count",
        ),
        (Shifted(), EFSGD(), 0.1, {"downlink": FullyCorrectiveEF()}, "answers with another x"),
        (Shifted(), SGD(), 0.1, {"local_steps": 11}, "are more than the 10 steps of the run"),
        (Shifted(), SGD(momentum=0.9), 0.1, {"local_steps": 3}, "say whose momentum it is"),
        (Shifted(), EFSGD(), 0.1, {"downlink": SignSGD()}, "so lr would not count"),
    ],
    ids=lambda value: None if isinstance(value, dict) else type(value).__name__,
)
def test_what_would_go_wrong_silently_is_refused(
    problem: Any, method: Any, lr: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Run(problem, method, lr, 10, workers=4, **options)


@pytest.mark.parametrize("method", [RARE, DASHA(UNBIASED)], ids=["MARINA", "DASHA"])
@pytest.mark.parametrize("workers", [1, 4])
def test_differences_of_noise_add_up_so_that_batches_are_refused(
    method: Method, workers: int
) -> None:
    with pytest.raises(ValueError, match="is for full gradients, and noise adds up"):
        Run(Dealt(), method, 0.1, 10, workers=workers, batch=2)
    Run(Dealt(), DIANA(UNBIASED), 0.1, 10, workers=workers, batch=2)


@dataclass(frozen=True)
class Half(Compressor):
    """Without the second half of the vector, as one who knows (R, d) only writes it."""

    axis: int = -1  # -2 halves the workers
    notes: list[str] = field(default_factory=list)  # so that it cannot be hashed

    def apply(self, x: Array, drawn: Any = None) -> Array:
        size = x.shape[self.axis]
        kept = np.arange(size) < (size + 1) // 2
        return x * (kept if self.axis == -1 else kept[:, None])


@dataclass(frozen=True)
class Keeps(Method):
    """SGD that keeps its gradients, and does not say what it remembers of a lost message."""

    axis: int = -1

    @property
    def feeds_back(self) -> bool:
        return True

    def start(self, x: Array) -> Memory:
        return Memory(e=np.zeros_like(x))

    def step(self, x: Array, g: Array, memory: Memory, lr: Any, rng: Generator) -> Update:
        length = np.linalg.norm(g, axis=self.axis, keepdims=True)
        moved = lr * g / (1 + length)
        return Update(x - moved, Memory(e=g), g, lr * g, moved, lr * g)


@pytest.mark.parametrize("method", [CompressedSGD(Half(-2)), CompressedSGD(Scaled(Half(-2), 0.5))])
def test_a_compressor_of_one_s_own_that_mixes_workers_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="mixes the vectors of two workers"):
        run(Run(Shifted(), method, 0.1, 3, workers=4))
    apart = CompressedSGD(Half())
    assert run(Run(Shifted(), apart, 0.1, 3, workers=4, metrics=("loss",)))["x_final"][0, :2].all()


def test_a_method_of_one_s_own_that_mixes_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="mixes the vectors of two workers"):
        run(Run(Shifted(), Keeps(axis=1), 0.1, 3, workers=4))
    run(Run(Shifted(), Keeps(), 0.1, 3, workers=4))
    with pytest.raises(ValueError, match="mixes the vectors of two workers"):
        run(Run(Shifted(), LocalSteps(inner=Keeps(axis=1)), 0.1, 4, workers=4, local_steps=2))


def test_a_method_that_remembers_says_what_becomes_of_a_lost_message() -> None:
    with pytest.raises(ValueError, match="define undelivered, or use loss=0"):
        Run(Shifted(), Keeps(), 0.1, 3, workers=4, faults=Faults(loss=0.5))
    Run(Shifted(), Keeps(), 0.1, 3, workers=4, faults=Faults(silence=0.5))


def test_a_theorem_is_about_methods_of_one_s_own_that_are_made_of_its_own() -> None:
    """Not about those that are made of another one."""

    class Mine(EFSGD):
        pass

    class Other(EF21SGDM):
        pass

    Run(Shifted(), Mine(TopK(1)), OF_EF, 3, workers=4)
    Run(
        Dealt(),
        EF21SGDM(TopK(1)),
        Theorem("ef21-sgdm", 1.0, None, 1 / 3, 0.9),
        3,
        workers=4,
        batch=2,
    )
    with pytest.raises(ValueError, match="about EF21 or EF21Plus, not Other"):
        Run(Shifted(), Other(TopK(1)), OF_EF21, 3, workers=4)


def test_what_makes_the_step_of_a_theorem_shorter_may_be_given_to_it() -> None:
    """A smaller delta, a larger omega, momentum or eta, a smaller probability."""
    for method, theorem in (
        (EFSGD(TopK(2)), OF_EF),
        (EControl(TopK(1), eta=0.01), Theorem("econtrol", 1.0, delta=1 / 3, eta=0.02)),
        (PostMomentumEF(TopK(1), momentum=0.1), Theorem("post-momentum", 1.0, None, 1 / 3, 0.5)),
        (DIANA(UNBIASED), Theorem("diana", 1.0, 1.0, omega=3.0)),
        (MARINA(UNBIASED, probability=0.6), MARINA_STEP),
    ):
        Run(Shifted(), method, theorem, 3, workers=4)


def test_the_step_of_a_theorem_works_where_its_workers_count_alike() -> None:
    history = run(Run(Shifted(), DIANA(UNBIASED), DIANA_STEP, 400, workers=4))
    np.testing.assert_allclose(history["x_final"][0], Shifted.centres.mean(0), rtol=1e-12)
    for problem, method in ((Uneven(), DIANA(UNBIASED)), (Shifted(), DIANA(Shared(UNBIASED)))):
        alone = Theorem("diana", 1.0, 1.0, omega=2.0)
        assert run(Run(problem, method, alone, 900, workers=4))["loss"][-1] < 100


def test_batches_of_a_problem_with_gradients_of_its_workers_are_its_own() -> None:
    with pytest.raises(ValueError, match="batch=2 needs worker_batches"):
        Run(Rows(), SGD(), 0.1, 3, workers=4, batch=2)

    class Turned(Rows):
        def worker_batches(self, rng: Generator, replicates: int, b: int) -> Array:
            return np.zeros((4, replicates, b), int)

    with pytest.raises(
        ValueError, match=r"returned int64\(4, 3, 2\), but .*\(3, 4, 2\) are needed"
    ):
        run(Run(Turned(), SGD(), 0.1, 3, workers=4, batch=2, replicates=3))


def test_a_fully_corrective_answer_gives_back_the_server_s_memory_too() -> None:
    """With gradients that are constant it is SGD's iterate."""

    class Slope(Shifted):
        def worker_gradients(self, x: Array, rng: Generator) -> Array:
            return np.broadcast_to(self.centres, (len(x), 4, 3)).copy()

    c = TopK(1)
    work = Run(Slope(), FullyCorrectiveEF(c), 0.1, 7, workers=4, downlink=EFSGD(c))
    np.testing.assert_allclose(run(work)["x_final"][0], -0.7 * Shifted.centres.mean(0), rtol=1e-12)
    with pytest.raises(ValueError, match="FullyCorrectiveEF answers with another x"):
        LocalSteps(exchange=FullyCorrectiveEF(c))


def test_the_number_of_workers_that_are_asked() -> None:
    """Rounded half to even, and never none."""
    asked = [Team(SGD(), n, participation=0.5).asked for n in (1, 2, 3, 5, 6, 7)]
    assert asked == [1, 1, 2, 2, 3, 4]
    assert Team(SGD(), 10, participation=0.01).asked == 1


def test_diana_refuses_an_alpha_beyond_its_most() -> None:
    DIANA(UNBIASED, alpha=1 / 3).check(3)
    with pytest.raises(ValueError, match="alpha must be at most"):
        DIANA(UNBIASED, alpha=0.34).check(3)
