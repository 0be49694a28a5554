"""What a training takes on a device: the order of the candidates, and what is made of a failure."""

import gc
from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

from on_gpu import no_synchronisation  # noqa: E402
from test_training import DATA, EF, EFM, PAPER, RANDOM, nothing, small, timeless  # noqa: E402

from efsgd import EFSGD, ScaledSign, TopK  # noqa: E402
from efsgd.deep.training import choice, graph  # noqa: E402
from efsgd.deep.training.device import AHEAD, Leash, own_stream  # noqa: E402
from efsgd.deep.training.machine import Means  # noqa: E402
from efsgd.deep.training.obtain import train  # noqa: E402
from efsgd.deep.training.parallel import at_once  # noqa: E402
from efsgd.deep.training.session import Session  # noqa: E402

CUDA = Means(torch.device("cuda"))


@pytest.fixture(autouse=True)
def _nothing_found_yet():
    before = dict(choice._found)
    choice._found.clear()
    yield
    choice._found.clear()
    choice._found.update(before)


def tried(method, means):
    return [(m.graph, m.form) for m in choice.candidates(method, means)]


@pytest.mark.parametrize("method", [EF, EFM, *(method for method, _ in PAPER.values())])
def test_signs_and_sgd_try_a_graph_with_triton_first(method, monkeypatch):
    monkeypatch.setattr(choice, "missing", lambda device: None)
    both = [(g, form) for g in (True, False) for form in ("triton", "foreach")]
    assert tried(method, CUDA) == both
    assert tried(method, Means(CUDA.device, graph=False)) == both[2:]
    assert tried(method, Means(CUDA.device, form="foreach")) == both[1::2]
    assert tried(method, Means(CUDA.device, form="compiled")) == [(False, "compiled")]
    monkeypatch.setenv("EFSGD_COMPILE", "0")
    assert tried(method, CUDA) == both[1::2]
    monkeypatch.delenv("EFSGD_COMPILE")
    monkeypatch.setattr(choice, "missing", lambda device: "Triton is not installed")
    assert tried(method, CUDA) == both[1::2]


@pytest.mark.parametrize("method", [RANDOM, EFSGD(TopK(0.1))])
def test_others_try_foreach(method, monkeypatch):
    monkeypatch.setattr(choice, "missing", lambda device: None)
    assert tried(method, CUDA) == [(True, "foreach"), (False, "foreach")]
    with pytest.raises(ValueError, match=r"form='triton' has no kernel of .*: leave form out"):
        choice.chosen(small(method=method), DATA, Means(CUDA.device, form="triton"))


def test_on_the_cpu_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(choice, "_try", None)
    here = Means(torch.device("cpu"), form="foreach")
    found = choice.chosen(small(), DATA, here)
    assert found == Means(here.device, graph=False, form="foreach")


def test_the_first_that_works_is_taken_once_for_trainings_alike(monkeypatch, caplog):
    caplog.set_level("INFO", logger="efsgd.deep")
    monkeypatch.setattr(choice, "missing", lambda device: None)
    seen = []

    def fails_with_triton(training, data, means):
        seen.append((means.graph, means.form))
        if means.form == "triton":
            try:
                raise RuntimeError("no such kernel\nand much more")
            finally:
                raise ValueError("the capture has failed besides")

    monkeypatch.setattr(choice, "_try", fails_with_triton)
    for more in ({}, {"seed": 3, "lr": 0.7, "epochs": 9}):
        found = choice.chosen(small(**more), DATA, CUDA)
        assert (found.graph, found.form) == (True, "foreach")
    assert seen == [(True, "triton"), (True, "foreach")]
    said = "the optimiser's step as 'triton' (ValueError: the capture has failed besides; at first "
    assert f"each step a CUDA graph, {said}RuntimeError: no such kernel)" in caplog.text
    assert "trainings of resnet8 run on cuda, each step a CUDA graph" in caplog.text
    choice.chosen(small(batch=4), DATA, CUDA)
    assert len(seen) == 4


def test_a_trial_steps_on_a_stream_of_its_own_with_gradients(monkeypatch):
    """Also where the caller wants none; else every candidate would fail."""
    inside, steps = [], []

    @contextmanager
    def stream(device):
        inside.append(device)
        yield
        inside.pop()

    class Tried(Session):
        def step(self):
            assert inside == [here.device]
            assert torch.is_grad_enabled()
            super().step()
            steps.append(1)

    here = Means(torch.device("cpu"), graph=False, form="foreach")
    monkeypatch.setattr(choice, "own_stream", stream)
    monkeypatch.setattr(choice, "Session", Tried)
    monkeypatch.setattr(torch.cuda, "synchronize", nothing)
    with torch.no_grad():
        choice._try(small(), DATA, here)
    assert len(steps) == choice.TRIED
    assert inside == []


def test_the_last_one_is_not_tried(monkeypatch):
    def fails(*arguments):
        raise RuntimeError("nothing works")

    monkeypatch.setattr(choice, "_try", fails)
    found = choice.chosen(small(method=RANDOM), DATA, CUDA)
    assert (found.graph, found.form) == (False, "foreach")


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
    assert not graph._one_at_a_time.locked()


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


def test_the_host_is_kept_on_a_leash():
    """Marks that are passed after so many looks; on the CPU there are none."""
    looks = []

    class Mark:
        def __init__(self, after):
            self.left = after

        def query(self):
            self.left -= 1
            return self.left < 0

    leash = Leash(torch.device("cpu"))
    leash.mark()
    leash.wait(nothing)
    assert not leash.marks
    leash.marks.extend([Mark(2), Mark(0), Mark(1)])
    leash.wait(lambda: looks.append(1) or True, 1)
    assert (len(leash.marks), len(looks)) == (1, 2)
    leash.wait(lambda: looks.append(1), 0)
    assert (len(leash.marks), len(looks)) == (0, 3)
    assert AHEAD > 1


# -- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", [EF, RANDOM, PAPER["sgdm"][0]])
def test_on_a_gpu_a_graph_is_taken_and_no_step_waits(method):
    """A whole epoch after the first, which captures."""
    training = small(method=method, precision="bf16")
    means = choice.chosen(training, DATA, CUDA)
    assert (means.graph, means.form) == (True, "foreach" if method is RANDOM else "triton")
    with own_stream(means.device):
        session = Session(training, DATA, means)
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
    found = {}

    def task(training):
        return lambda check: found.update(
            {training: train(training, DATA, device="cuda", check=check)}
        )

    at_once([task(training) for training in trainings], 4)
    for training in trainings:
        alone = train(training, DATA, device="cuda")
        assert set(timeless(alone)) == set(timeless(found[training]))
        for name in ("running_loss", "phi_g", "phi_p", "test_loss"):
            assert found[training][name] == pytest.approx(alone[name], rel=0.02), name
