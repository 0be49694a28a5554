"""The choice of a CUDA graph and an optimiser form: order of candidates, failures, captures.

Without this file a GPU training could silently run without its graph or with a step that is wrong.
"""

import gc
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

from on_gpu import no_synchronisation  # noqa: E402
from small_trainings import DATA, EF, EFM, PAPER, RANDOM, nothing, small, timeless  # noqa: E402

from efsgd import EFSGD, ScaledSign, TopK  # noqa: E402
from efsgd.deep.training import choice, graph  # noqa: E402
from efsgd.deep.training.concurrent_trainings import at_once  # noqa: E402
from efsgd.deep.training.device import MAX_IN_FLIGHT, InFlight, own_stream  # noqa: E402
from efsgd.deep.training.execution import Execution  # noqa: E402
from efsgd.deep.training.obtain import train  # noqa: E402
from efsgd.deep.training.session import Session  # noqa: E402

CUDA = Execution(torch.device("cuda"))


@pytest.fixture(autouse=True)
def _no_choices_yet(monkeypatch):
    monkeypatch.setattr(choice, "_choices", {})


def candidates(method, execution):
    return [(e.graph, e.form) for e in choice.candidates(method, execution)]


@pytest.mark.parametrize("method", [EF, EFM, *(method for method, _ in PAPER.values())])
def test_signs_and_sgd_try_a_graph_with_triton_first(method, monkeypatch):
    monkeypatch.setattr(choice, "missing", lambda device: None)
    both = [(g, form) for g in (True, False) for form in ("triton", "foreach")]
    assert candidates(method, CUDA) == both
    assert candidates(method, Execution(CUDA.device, graph=False)) == both[2:]
    assert candidates(method, Execution(CUDA.device, form="foreach")) == both[1::2]
    assert candidates(method, Execution(CUDA.device, form="compiled")) == [(False, "compiled")]
    monkeypatch.setenv("EFSGD_COMPILE", "0")
    assert candidates(method, CUDA) == both[1::2]
    monkeypatch.delenv("EFSGD_COMPILE")
    monkeypatch.setattr(choice, "missing", lambda device: "Triton is not installed")
    assert candidates(method, CUDA) == both[1::2]


@pytest.mark.parametrize("method", [RANDOM, EFSGD(TopK(0.1))])
def test_others_try_foreach(method, monkeypatch):
    monkeypatch.setattr(choice, "missing", lambda device: None)
    assert candidates(method, CUDA) == [(True, "foreach"), (False, "foreach")]
    with pytest.raises(ValueError, match=r"form='triton' has no kernel of .*: leave form out"):
        choice.choose(small(method=method), DATA, Execution(CUDA.device, form="triton"))


def test_on_the_cpu_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(choice, "_try", None)
    cpu = Execution(torch.device("cpu"), form="foreach")
    execution = choice.choose(small(), DATA, cpu)
    assert execution == Execution(cpu.device, graph=False, form="foreach")


def test_the_first_that_works_is_chosen_once_for_similar_trainings(monkeypatch, caplog):
    caplog.set_level("INFO", logger="efsgd.deep")
    monkeypatch.setattr(choice, "missing", lambda device: None)
    attempts = []

    def fails_with_triton(training, data, execution):
        attempts.append((execution.graph, execution.form))
        if execution.form == "triton":
            try:
                raise RuntimeError("no such kernel\nand much more")
            finally:
                raise ValueError("the capture has failed besides")

    monkeypatch.setattr(choice, "_try", fails_with_triton)
    for changes in ({}, {"seed": 3, "lr": 0.7, "epochs": 9}):
        execution = choice.choose(small(**changes), DATA, CUDA)
        assert (execution.graph, execution.form) == (True, "foreach")
    assert attempts == [(True, "triton"), (True, "foreach")]
    message = (
        "the optimiser's step as 'triton' (ValueError: the capture has failed besides; at first "
    )
    assert f"each step a CUDA graph, {message}RuntimeError: no such kernel)" in caplog.text
    assert "trainings of resnet8 run on cuda, each step a CUDA graph" in caplog.text
    choice.choose(small(batch=4), DATA, CUDA)
    assert len(attempts) == 4


def test_a_trial_steps_on_a_stream_of_its_own_with_gradients(monkeypatch):
    """Also where the caller wants none; else every candidate would fail."""
    devices, steps = [], []

    @contextmanager
    def stream(device):
        devices.append(device)
        yield
        devices.pop()

    class WatchedSession(Session):
        def step(self):
            assert devices == [cpu.device]
            assert torch.is_grad_enabled()
            super().step()
            steps.append(1)

    cpu = Execution(torch.device("cpu"), graph=False, form="foreach")
    monkeypatch.setattr(choice, "own_stream", stream)
    monkeypatch.setattr(choice, "Session", WatchedSession)
    monkeypatch.setattr(torch.cuda, "synchronize", nothing)
    with torch.no_grad():
        choice._try(small(), DATA, cpu)
    assert len(steps) == choice.TRIAL_STEPS
    assert devices == []


def test_the_last_one_is_not_tried(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("nothing works")

    monkeypatch.setattr(choice, "_try", fails)
    execution = choice.choose(small(method=RANDOM), DATA, CUDA)
    assert (execution.graph, execution.form) == (False, "foreach")


def test_the_distance_of_two_forms(monkeypatch):
    """Half the step size for one of them: the ways differ by half."""
    session = Session(small(), DATA)
    session.feed.start(0)
    session.step()
    xs = list(session.model.parameters())
    plain = {"foreach": True, "fused": False}
    monkeypatch.setitem(choice.FORMS, "triton", plain)
    assert choice.distance(EF, xs) == 0
    before = [x.detach().clone() for x in xs]
    real = choice.EFSGD

    class Slower:
        """Half the step size in the Triton form."""

        @staticmethod
        def of(method, copies, lr, **form):
            return real.of(method, copies, lr / 2 if "slow" in form else lr, **plain)

    monkeypatch.setattr(choice, "EFSGD", Slower)
    monkeypatch.setattr(choice, "FORMS", {"triton": {"slow": True}, "foreach": {}})
    no_decay = EFSGD(ScaledSign(zero=0))
    assert choice.distance(no_decay, xs) == pytest.approx(0.5, rel=1e-4)
    assert all(torch.equal(x, y) for x, y in zip(xs, before, strict=True))


# -- captures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_no_garbage_is_collected_in_a_capture(monkeypatch, fails):
    """Before it, and not inside; afterwards as before."""
    order = []

    @contextmanager
    def capture(*arguments, **options):
        order.append(("capture", gc.isenabled(), options["capture_error_mode"]))
        yield

    monkeypatch.setattr(torch.cuda, "synchronize", nothing)
    monkeypatch.setattr(torch.cuda, "current_stream", nothing)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(graph.gc, "collect", lambda: order.append("collect"))
    assert gc.isenabled()
    try:
        with graph.capturing(None):
            if fails:
                raise RuntimeError("not in a capture")
    except RuntimeError:
        assert fails
    assert order == ["collect", ("capture", False, "thread_local")]
    assert gc.isenabled()
    assert not graph._capture_lock.locked()


def test_a_step_is_captured_once_after_warming_up(monkeypatch):
    calls = []

    class Graph:
        def register_generator_state(self, generator):
            calls.append("register")

        def replay(self):
            calls.append("replay")

    @contextmanager
    def capturing(captured):
        calls.append("capture")
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(graph, "capturing", capturing)
    step = graph.Graphed(lambda: calls.append("step"), {torch.device("cpu"): torch.Generator()})
    for _ in range(graph.WARM_UP + 2):
        step()
    warm = ["step"] * graph.WARM_UP
    assert calls == [*warm, "register", "capture", "step", "replay", "replay"]


def test_the_host_is_only_so_many_steps_ahead():
    """Events that have happened after some queries; on the CPU there are none."""
    checks = []

    class Event:
        def __init__(self, queries):
            self.queries = queries

        def query(self):
            self.queries -= 1
            return self.queries < 0

    in_flight = InFlight(torch.device("cpu"))
    in_flight.record()
    in_flight.wait(nothing)
    assert not in_flight.events
    in_flight.events.extend([Event(2), Event(0), Event(1)])
    in_flight.wait(lambda: checks.append(1) or True, 1)
    assert (len(in_flight.events), len(checks)) == (1, 2)
    in_flight.wait(lambda: checks.append(1), 0)
    assert (len(in_flight.events), len(checks)) == (0, 3)
    assert MAX_IN_FLIGHT > 1


# -- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", [EF, RANDOM, PAPER["sgdm"][0]])
def test_on_a_gpu_a_graph_is_taken_and_no_step_waits(method):
    """A whole epoch after the first, which captures."""
    training = small(method=method, precision="bf16")
    execution = choice.choose(training, DATA, CUDA)
    assert (execution.graph, execution.form) == (True, "foreach" if method is RANDOM else "triton")
    with own_stream(execution.device):
        session = Session(training, DATA, execution)
        for _ in range(3):
            session._train(nothing, nothing, nothing)
            session.batch = 0
        with no_synchronisation():
            session._train(nothing, nothing, nothing)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_trainings_at_once_are_those_alone_up_to_rounding(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    trainings = [small(method=method, seed=s) for method in (EF, RANDOM) for s in (0, 1)]
    histories = {}

    def task(training):
        return lambda check: histories.update(
            {training: train(training, DATA, device="cuda", check=check)}
        )

    at_once([task(training) for training in trainings], 4)
    for training in trainings:
        alone = train(training, DATA, device="cuda")
        assert set(timeless(alone)) == set(timeless(histories[training]))
        for name in ("running_loss", "phi_g", "phi_p", "test_loss"):
            assert histories[training][name] == pytest.approx(alone[name], rel=0.02), name
