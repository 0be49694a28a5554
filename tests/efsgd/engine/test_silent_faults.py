"""What would go wrong with several workers without a word: refused, or named.

Without this file a NaN could vote, a theorem's step diverge on shares that it is not about, and a
step size not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from efsgd.arrays import Array, Generator
from efsgd.compressors import PowerSGD, RandK, Shared, Threshold, TopK
from efsgd.engine.loop import Diverged
from efsgd.engine.runs import Run, run
from efsgd.methods import (
    DIANA,
    EFSGD,
    SGD,
    CompressedSGD,
    FullyCorrectiveEF,
    LocalSteps,
    MajorityVote,
    SignSGD,
    Team,
)
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


@pytest.mark.parametrize(
    ("problem", "method", "lr", "options", "message"),
    [
        (Shifted(), DIANA(Shared(UNBIASED)), DIANA_STEP, {}, "use workers=1 in the theorem"),
        (Uneven(), DIANA(UNBIASED), DIANA_STEP, {}, "count as 1.43: use workers=1 in the theorem"),
        (Shifted(), DIANA(UNBIASED), DIANA_STEP, {"participation": 0.5}, "give a number as lr"),
        (Shifted(), SignSGD(), 0.1, {"local_steps": 3}, "would move x by 1 whatever lr is"),
        (Shifted(), SGD(momentum=0.9), 0.1, {"local_steps": 3}, "say whose momentum it is"),
        (Shifted(), EFSGD(), 0.1, {"downlink": SignSGD()}, "so lr would not count"),
        (Uneven(), EFSGD(PowerSGD(1)), 0.1, {}, "takes the mean of workers that count alike"),
    ],
    ids=lambda value: None if isinstance(value, dict) else type(value).__name__,
)
def test_what_would_go_wrong_silently_is_refused(
    problem: Any, method: Any, lr: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Run(problem, method, lr, 10, workers=4, **options)


def test_the_step_of_a_theorem_works_where_its_workers_count_alike() -> None:
    history = run(Run(Shifted(), DIANA(UNBIASED), DIANA_STEP, 400, workers=4))
    np.testing.assert_allclose(history["x_final"][0], Shifted.centres.mean(0), rtol=1e-12)
    for problem, method in ((Uneven(), DIANA(UNBIASED)), (Shifted(), DIANA(Shared(UNBIASED)))):
        alone = Theorem("diana", 1.0, 1.0, omega=2.0)
        assert run(Run(problem, method, alone, 900, workers=4))["loss"][-1] < 100


def test_batches_of_a_problem_with_gradients_of_its_workers_are_its_own() -> None:
    class Rows(Shifted):
        n = 8

        def batch_gradient(self, x: Array, rows: Array) -> Array:
            return x - self.centres[rows % 4].mean(1)

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
