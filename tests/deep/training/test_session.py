"""A session: what its history says, when it stops diverged, and how its steps run.

Without this file a history could hold wrong means, or a step could wait for the device.
"""

import copy
import math
import signal
from contextlib import suppress

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_trainings import DATA, EFM, LR, PAPER, RANDOM, frozen, nothing, small, timeless, tiny  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes  # noqa: E402

import efsgd  # noqa: E402
from efsgd.deep import EFSGD, models  # noqa: E402
from efsgd.deep.optim.forms import compiled as fused  # noqa: E402
from efsgd.deep.training import Measured, Progress, Stopped, device, evaluate  # noqa: E402
from efsgd.deep.training.history import INTEGERS, MEANS, NAMES, SCORES  # noqa: E402
from efsgd.deep.training.obtain import train  # noqa: E402
from efsgd.deep.training.session import Session  # noqa: E402

# -- the history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER)
def test_every_method_of_the_paper_learns(name):
    method, lr = PAPER[name]
    history = train(small(method=method, lr=lr, epochs=4), DATA)
    assert history["running_loss"][-1] < history["running_loss"][0]
    assert set(history) == set(NAMES)
    assert all(array.shape == (4,) for array in history.values())
    for key, array in history.items():
        assert array.dtype == (np.int64 if key in INTEGERS else np.float64), key
        assert np.isfinite(array).all(), key
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["skipped"].tolist() == [0] * 4
    for key in NAMES:
        if key.endswith("accuracy"):
            assert ((history[key] >= 0) & (history[key] <= 1)).all()
    for phi in ("phi_g", "phi_p"):
        assert ((history[phi] > 0) & (history[phi] <= 1)).all()
    virtual = {key: history[f"virtual_{key}"] for key in SCORES}
    if method.feeds_back:
        assert (history["memory_norm"] > 0).all()
        assert any((virtual[key] != history[key]).any() for key in SCORES)
    else:
        assert (history["memory_norm"] == 0).all()
        assert all((virtual[key] == history[key]).all() for key in SCORES)


def test_the_same_training_has_the_same_history_and_another_seed_another():
    first, second = train(small(method=RANDOM), DATA), train(small(method=RANDOM), DATA)
    assert timeless(first) == timeless(second)
    other = train(small(method=RANDOM, seed=1), DATA)
    for name in ("running_loss", "test_loss", "phi_g", "memory_norm"):
        assert (other[name] != first[name]).all(), name


def test_the_scores_are_those_of_the_model(monkeypatch):
    """Against the softmax written out in NumPy, over all images at once."""
    session = Session(small(), tiny(test=9))
    monkeypatch.setattr(evaluate, "BATCH", 4)
    session._load_data(tiny(test=9))
    session._train(nothing, nothing, nothing)
    row = session._measure(nothing)
    data, moments = tiny(test=9), tiny(test=9).moments
    session.model.eval()
    for part, x, y in (
        ("train", data.x_train[:9], data.y_train[:9]),
        ("test", data.x_test, data.y_test),
    ):
        pixels = (x / 255 - moments.mean) / moments.std
        with torch.no_grad():
            inputs = torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)
            logits = session.model(inputs).double().numpy()
        logits -= logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(9), y]
        assert row[f"{part}_loss"] == pytest.approx(losses.mean(), rel=1e-4)
        assert row[f"{part}_accuracy"] == (logits.argmax(axis=1) == y).mean()


def test_the_virtual_scores_are_those_at_x_minus_e():
    session = Session(small(method=EFM), DATA)
    session._train(nothing, nothing, nothing)
    row = session._measure(nothing)
    with session.optimizer.virtual_iterate():
        moved = copy.deepcopy(session.model)
    shift = [x - v for x, v in zip(session.model.parameters(), moved.parameters(), strict=True)]
    norm = math.sqrt(sum(float(s.detach().double().square().sum()) for s in shift))
    assert norm == pytest.approx(row["memory_norm"], rel=1e-4)
    score = evaluate.evaluate(moved, session.evaluation_loaders["test"].epoch(0))
    assert score == (row["virtual_test_loss"], row["virtual_test_accuracy"])


def test_the_means_of_an_epoch():
    """Over images for the loss, over steps for the densities; the last batch is smaller."""
    session = Session(small(), DATA)
    batches = []
    step = session._step

    def recording_step(model, x, y):
        with torch.no_grad():
            logits = copy.deepcopy(session.model)(x)
            loss = torch.nn.functional.cross_entropy(logits, y)
        step(model, x, y)
        correct = int((logits.argmax(dim=1) == y).sum())
        batches.append((len(y), float(loss), correct, float(session.optimizer.density().g)))

    session._step = recording_step
    session._train(nothing, nothing, nothing)
    row = session._measure(nothing)
    sizes, losses, correct, phis = (np.array(column) for column in zip(*batches, strict=True))
    assert sizes.tolist() == [8, 8, 4]
    assert row["running_loss"] == pytest.approx((sizes * losses).sum() / 20, rel=1e-5)
    assert row["phi_g"] == pytest.approx(phis.mean(), rel=1e-6)
    assert row["running_accuracy"] == correct.sum() / 20


def test_a_loss_that_is_not_finite_is_left_out_of_the_means():
    session = Session(small(), DATA)
    x, y = next(session.loader.epoch(0))
    session._step(session.model, x, y)
    means = session.means
    sums, counts = means.sums.tolist(), means.counts.tolist()
    assert counts == [8, 8, 1, 1]
    session._step(lambda x: session.model(x) * math.nan, x, y)
    assert (means.sums.tolist(), means.counts.tolist()) == (sums, counts)
    assert int(session.optimizer.skipped) == 1


def test_only_full_batches_are_compiled_or_captured():
    session, sizes = Session(small(), DATA), []
    session.full_step = lambda: sizes.append(len(session.feed.batch(8)[1]))
    session._train(nothing, nothing, nothing)
    assert sizes == [8, 8]
    assert session.means.counts[0] == 4  # of the last batch, which took an eager step


def test_a_drop_changes_the_step_size_and_nothing_else():
    session = Session(small(method=EFM, drops=(1,)), DATA)
    states = []

    def report(event):
        if isinstance(event, Measured):
            states.append(frozen(session.state()))
            return
        if event[:3] == (2, 2, 1):
            raise Stopped

    optimizer, step = session.optimizer, session._step

    def recording_step(model, x, y):
        if session.epoch == 1 and session.batch == 0:
            states.append(frozen(session.state()))
            assert {group["lr"] for group in optimizer.param_groups} == {LR / 10}
        step(model, x, y)

    session._step = recording_step
    with pytest.raises(Stopped):
        session.run(nothing, report, nothing)
    assert session.optimizer is optimizer
    before, after = states
    for state in states:
        del state["seconds"]
        for group in state["optimizer"]["param_groups"]:
            del group["lr"]
    assert before == after
    assert float(optimizer.memory_norm()) > 0


def test_the_step_size_stays_where_a_captured_step_reads_it():
    """Also after a checkpoint of an eager training, which has a number there."""
    session = Session(small(drops=(1,)), DATA)
    state = copy.deepcopy(session.state())
    group = dict(session.optimizer.param_groups[0], lr=torch.tensor(0.0, dtype=torch.float64))
    session.optimizer = EFSGD([group], 1.0)
    lr = session.optimizer.param_groups[0]["lr"]
    session.restore(state)
    session._set_lr(session.training.lr_at(1))
    assert session.optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == LR / 10


def test_measuring_leaves_everything_bitwise_as_it_was():
    session = Session(small(method=EFM), DATA)
    session._train(nothing, nothing, nothing)
    next(session.model.children()).eval()  # a layer that a user froze stays frozen
    before = frozen(session.state()), [m.training for m in session.model.modules()]
    session._measure(nothing)
    after = frozen(session.state()), [m.training for m in session.model.modules()]
    for state, _ in (before, after):
        del state["seconds"]
    assert before == after
    assert {*after[1]} == {True, False}


def test_a_score_that_is_interrupted_leaves_the_model_in_training():
    model = models.build("resnet8", 2)
    x, y = torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)

    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        evaluate.evaluate(model, [(x, y)], check=stop)
    assert all(module.training for module in model.modules())
    assert math.isnan(evaluate.evaluate(model, []).loss)


# -- divergence -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("skipped", "stops"), [((1,), False), ((0, 2), True), ((0, 1, 2), True)])
def test_skipped_steps_are_counted_and_most_of_them_stop_the_run(skipped, stops):
    """Three steps an epoch: two are more than half. Gradients alone are spoilt, here with NaN."""
    session = Session(small(), DATA)
    (spoilt, *_) = session.model.parameters()
    spoilt.register_hook(
        lambda g: g * math.nan if (session.epoch, session.batch) in {(0, b) for b in skipped} else g
    )
    session.run(nothing, nothing, nothing)
    history = session.history
    assert history["skipped"].tolist() == [len(skipped), 0]
    assert np.isfinite(history["running_loss"][0])
    assert session.diverged == stops
    nan = [np.isnan(a[1]) for name, a in history.items() if name not in INTEGERS]
    assert nan == [stops] * len(nan)


def test_skipped_steps_of_an_earlier_session_count():
    first, second = Session(small(), DATA), Session(small(), DATA)
    (spoilt, *_) = first.model.parameters()
    spoilt.register_hook(lambda g: g * math.nan if (first.epoch, first.batch) < (1, 1) else g)
    first._train(nothing, nothing, nothing)
    first._end_epoch(first._measure(nothing))
    assert first.history["skipped"].tolist() == [3, 0]

    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        first._train(stop, nothing, nothing)
    second.restore(copy.deepcopy(first.state()))
    second._train(nothing, nothing, nothing)
    assert second._measure(nothing)["skipped"] == 1


def test_a_run_that_explodes_stops_with_nan():
    history = train(small(method=efsgd.SGD(), lr=1e30, epochs=4), DATA)
    assert not np.isfinite(history["test_loss"]).any()
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["skipped"][1:].tolist() == [0] * 3
    for name in set(NAMES) - set(INTEGERS):
        assert np.isnan(history[name][1:]).all(), name
    assert history["lr"][0] == 1e30


# -- how it runs ----------------------------------------------------------------------------------


class Waiting(TorchDispatchMode):
    """Fails where the host would wait for the device."""

    names = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.names, f"the host waits in {name}"
        if name == "index":  # a mask is looked for with nonzero
            masks = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            assert not masks, "the host waits for a mask"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", [EFM, RANDOM, PAPER["sgdm"][0], PAPER["signsgdm"][0]])
def test_no_step_waits_for_the_device(method):
    session = Session(small(method=method), DATA)
    step = session.optimizer.step

    def unwatched_step():  # has tests of its own; on the CPU it reads results, which costs no wait
        with _disable_current_modes():
            step()

    session.optimizer.step = unwatched_step
    with Waiting():
        session._train(nothing, nothing, nothing)
        session.batch = 0
        session._train(nothing, nothing, nothing)
    assert float(session.means.counts[0]) == 40


@pytest.mark.parametrize("wait", [float, torch.nonzero, lambda x: x[x > 0], bool])
def test_waiting_would_be_seen(wait):
    with pytest.raises(AssertionError, match="the host waits"), Waiting():
        wait(torch.ones(1))


def test_events():
    events = []
    history = train(small(), DATA, report=events.append)
    steps = [event for event in events if isinstance(event, Progress)]
    rows = [event for event in events if isinstance(event, Measured)]
    assert [event[:4] for event in steps] == [(t, 2, b, 3) for t in (1, 2) for b in (1, 2, 3)]
    assert all(event.images_per_second > 0 for event in steps)
    assert [type(event) for event in events] == [
        *[Progress] * 3,
        Measured,
    ] * 2
    assert [event[:2] for event in rows] == [(1, 2), (2, 2)]
    for t, event in enumerate(rows):
        assert event.row == {name: history[name][t] for name in NAMES if name != "epoch"}
        assert all(type(value) in (float, int) for value in event.row.values())


def test_bfloat16_stays_close_to_float32():
    """Rounded to 8 bits at each of ten layers: 10 * 2^-8 of the loss, and of the accuracy none."""
    session = Session(small(precision="bf16"), DATA)
    x, _ = next(session.loader.epoch(0))
    assert x.is_contiguous(memory_format=torch.channels_last)
    with session.autocast():
        assert session.model(x).dtype == torch.bfloat16
    plain, half = (train(small(epochs=1, precision=p), DATA) for p in ("fp32", "bf16"))
    assert plain["running_loss"] != half["running_loss"]
    assert half["running_loss"] == pytest.approx(plain["running_loss"], rel=10 * 2**-8)


def test_nothing_global_is_touched():
    generators = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    flags = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    flags += (torch.backends.cudnn.allow_tf32, torch.is_grad_enabled(), torch.get_default_dtype())
    train(small(epochs=1, precision="bf16"), DATA)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.random.get_state()[1].tobytes() == generators[1]  # noqa: NPY002
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    now = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    now += (torch.backends.cudnn.allow_tf32, torch.is_grad_enabled(), torch.get_default_dtype())
    assert now == flags


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_flags_of_the_libraries_are_a_matter_of_the_run(precision):
    cudnn, allowed = torch.backends.cudnn, precision == "tf32"

    def flags():
        return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark

    before = flags()
    with (
        suppress(Stopped),
        device.library_flags(precision, torch.device("cuda")),
    ):
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
        assert flags()[1:] == (allowed, True)
        first, second = (device.library_flags(precision, torch.device("cuda")) for _ in range(2))
        first.__enter__()  # trainings at once come and go as they like
        second.__enter__()
        first.__exit__(None, None, None)
        assert flags()[1:] == (allowed, True)
        second.__exit__(None, None, None)
        raise Stopped
    assert flags() == before


@pytest.mark.slow
@pytest.mark.skipif(
    fused.compiler_missing(torch.device("cpu")) is not None, reason="needs a C++ compiler"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own
def test_compiled_is_eager_up_to_rounding():
    eager, compiled = (train(small(epochs=1), DATA, compile=c) for c in (False, True))
    for name in MEANS:
        assert compiled[name] == pytest.approx(eager[name], rel=1e-3), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", [EFM, RANDOM, PAPER["sgdm"][0]])
def test_a_graph_is_eager_up_to_rounding(method, precision, monkeypatch):
    """Seven steps an epoch, so that some are warm-up, some replayed and one is smaller."""
    # Sums in any order would turn signs of p near 0: 5 % of the loss in bf16.
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    training = small(method=method, precision=precision, drops=(1,))
    data = tiny(n=52)
    eager, graphed = (train(training, data, device="cuda", graph=g) for g in (False, True))
    tolerance = 1e-3 if precision == "fp32" else 0.05
    for name in ("running_loss", "phi_g", "phi_p", "lr", "skipped"):
        assert graphed[name] == pytest.approx(eager[name], rel=tolerance), name
