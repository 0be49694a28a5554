"""Training: what a history says, what stays bitwise, what is refused, and how a run stops."""

import copy
import math
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
from project import python_path

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes  # noqa: E402

import efsgd  # noqa: E402
from efsgd import results  # noqa: E402
from efsgd.deep import models  # noqa: E402
from efsgd.deep.data.dataset import Dataset, load  # noqa: E402
from efsgd.deep.optim import compiled as fused  # noqa: E402
from efsgd.deep.training import Measured, Progress, Stopped, device, evaluate, events, obtain  # noqa: E402
from efsgd.deep.training import session as sessions  # noqa: E402
from efsgd.deep.training.history import MEANS, NAMES, SCORES, TIMES, WHOLE  # noqa: E402
from efsgd.deep.training.obtain import is_stale, run_training, train  # noqa: E402
from efsgd.deep.training.session import Session  # noqa: E402
from efsgd.deep.training.training import Training, scaled_lr  # noqa: E402

TERNARY = efsgd.ScaledSign(zero=0)
DECAY = {"weight_decay": 5e-4}
PAPER = {  # the methods of section 6, each with a step size that suits forty images
    "sgdm": (efsgd.SGD(momentum=0.9, **DECAY), 0.02),
    "signsgd": (efsgd.CompressedSGD(TERNARY, **DECAY), 0.1),
    "signsgdm": (efsgd.Signum(efsgd.Sign(zero=0), **DECAY), 1e-3),
    "ef-signsgd": (efsgd.EFSGD(TERNARY, **DECAY), 0.1),
}
EF, LR = PAPER["ef-signsgd"]
EFM = efsgd.EFSGD(TERNARY, momentum=0.9, **DECAY)
RANDOM = efsgd.EFSGD(efsgd.RandK(0.1))


def tiny(n=20, test=6, classes=2, seed=0):
    """Images of one class are dark, of the other bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n + test)
    x = (rng.integers(0, 128, (n + test, 32, 32, 3)) + 100 * y[:, None, None, None]).astype("u1")
    return Dataset("tiny", x[:n], y[:n], x[n:], y[n:], classes)


DATA = tiny()


def small(**given):
    """Twenty images in batches of 8, 8 and 4."""
    usual = {"model": "resnet8", "data": "tiny", "method": EF, "lr": LR, "batch": 8, "epochs": 2}
    return Training(**usual | {"drops": ()} | given)


def timeless(history):
    """What two equal runs have in common, as bytes: everything but the times."""
    return {name: a.tobytes() for name, a in history.items() if name not in TIMES}


def weights(session):
    """Parameters and buffers, as bytes."""
    return {name: t.detach().numpy().tobytes() for name, t in session.model.state_dict().items()}


def frozen(state):
    """A nested state with bytes for tensors, for comparison."""
    if isinstance(state, torch.Tensor):
        return (str(state.dtype), tuple(state.shape), state.detach().contiguous().numpy().tobytes())
    if isinstance(state, dict):
        return {name: frozen(value) for name, value in state.items()}
    return [frozen(v) for v in state] if isinstance(state, list | tuple) else state


def nothing(*_):
    pass


# -- the value ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "vgg12"}, "model must be one of vgg11, .*, not 'vgg12'"),
        ({"method": "sgd"}, "method must be one such as efsgd.EFSGD"),
        ({"method": efsgd.ScaledSign()}, "method must be one such as efsgd.EFSGD"),
        ({"data": "images/mine.npz"}, r"data must be the name of a dataset, .*load\(path\).name"),
        ({"data": ""}, "data must be the name of a dataset"),
        ({"precision": "fp16"}, "precision must be one of fp32, tf32, bf16, not 'fp16'"),
        ({"batch": 1}, "batch must be a whole number 2, 3, .*, not 1"),
        ({"batch": 8.0}, "batch must be a whole number"),
        ({"lr": 0}, "lr must be positive and finite, not 0"),
        ({"lr": -0.1}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"lr": math.inf}, "lr must be positive and a number of float32, not inf"),
        ({"lr": 3.5e38}, "lr must be positive and a number of float32, not 3.5e"),
        ({"lr": 10**400}, "lr must be positive"),
        ({"lr": True}, "lr must be positive"),
        ({"lr": None}, "lr must be positive and a number of float32, not None"),
        ({"lr": "0.1"}, "lr must be positive and a number of float32, not '0.1'"),
        ({"lr": (0.1, 0.01)}, "lr must be positive"),
        ({"epochs": 0}, "epochs must be a whole number 1"),
        ({"epochs": None}, "epochs must be a whole number 1"),
        ({"epochs": 10**6 + 1}, "epochs must be a whole number 1, 2, ..., 1000000, not 1000001"),
        ({"seed": -1}, "seed must be a whole number 0"),
        ({"seed": 2**63}, "seed must be a whole number 0, 1, ..., 9223372036854775807, not 92233"),
        ({"drops": (3, 3)}, r"drops must be increasing epochs, not \(3, 3\)"),
        ({"drops": (0, 3)}, "drops must be a whole number 1"),
        ({"drops": 3}, r"drops must be a tuple of epochs, not 3: \(100,\) is one"),
        ({"drops": (2.5,)}, "drops must be a whole number 1"),
        ({"train_size": 1}, "train_size must be a whole number 2"),
        ({"test_size": 0}, "test_size must be a whole number 1"),
        ({"validation": -1}, "validation must be a whole number 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(given, said):
    with pytest.raises(ValueError, match=said) as refused:
        small(**given)
    assert "\n" not in str(refused.value)


def test_a_training_is_a_work_with_a_spec():
    spec = results.spec_of(small(lr=1, drops=[3, 5]))
    assert spec["type"] == "efsgd.deep.Training"
    assert spec["method"]["compressor"] == "scaledsign:zero=0"
    assert spec == results.spec_of(small(lr=1.0, drops=(3, 5)))
    new = {"evaluate_every"}  # at its default it leaves the keys of committed results alone
    assert set(spec) == {"type", *(field.name for field in fields(Training))} - new
    assert results.spec_of(small(evaluate_every=2))["evaluate_every"] == 2


def test_numbers_of_numpy_are_numbers():
    whole = {"batch": 8, "epochs": 2, "seed": 3, "train_size": 9, "test_size": 4, "validation": 5}
    training = small(lr=np.float32(0.5), **{name: np.int64(n) for name, n in whole.items()})
    assert training == small(lr=0.5, **whole)
    assert {type(getattr(training, name)) for name in whole} == {int}
    assert results.spec_of(training) == results.spec_of(small(lr=0.5, **whole))
    train(training, DATA)


def test_the_papers_schedule_and_scaling():
    """200 epochs, a tenth from 100 on, a hundredth from 150 on; lr in proportion to the batch."""
    paper = Training(method=EF, lr=0.1)
    assert (paper.model, paper.data, paper.batch, paper.epochs) == ("vgg19", "cifar10", 128, 200)
    lrs = [paper.lr_at(epoch) for epoch in range(200)]
    assert lrs == [0.1] * 100 + [0.1 / 10] * 50 + [0.1 / 100] * 50
    assert [scaled_lr(0.1, batch) for batch in (128, 32, 8)] == [0.1, 0.025, 0.00625]
    assert small(drops=(5,)).lr_at(1) == LR  # a drop beyond the end never comes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"validation": 20}, "leave some beside a validation set of 20"),
        ({"train_size": 21}, "a subset of 21"),
        ({"validation": 5, "train_size": 16}, "a subset of 16"),
        ({"test_size": 7}, "a subset of 7"),
        ({"data": "cifar10"}, "is of the data 'cifar10', not 'tiny': give it data='tiny'"),
    ],
)
def test_more_than_there_is_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        train(small(**given), DATA)


def test_which_images_are_chosen():
    chosen = small(validation=5, train_size=12, test_size=4).chosen(DATA)
    assert np.array_equal(chosen.x_train, DATA.x_train[:12])
    assert np.array_equal(chosen.x_test, DATA.x_train[15:19])
    assert np.array_equal(chosen.y_test, DATA.y_train[15:19])
    whole = small().chosen(DATA)
    assert (len(whole.y_train), len(whole.y_test)) == (20, 6)


@pytest.mark.parametrize(
    ("training", "options", "said"),
    [
        (small(), {"graph": True}, "graph=True captures a CUDA graph .* leave it out"),
        (small(), {"device": "tpu"}, "device must be cpu or cuda, not 'tpu'"),
        (small(), {"device": "meta"}, "device must be cpu or cuda, not 'meta'"),
        (small(), {"device": "cuda:99"}, "there is no device 'cuda:99' here: use device='cpu'"),
        (small(precision="tf32"), {}, "precision 'tf32' is one of GPUs"),
        (small(), {"every": -1}, "every must be seconds, at least 0, not -1"),
        (small(), {"every": math.nan}, "every must be seconds, at least 0, not nan"),
        (small(), {"form": "fast"}, "form must be one of loop, foreach, compiled, triton or None"),
        (small(), {"form": "triton"}, "form='triton' cannot work, .*: leave it out"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(training, options, said):
    with pytest.raises(ValueError, match=said) as refused:
        train(training, DATA, **options)
    assert "\n" not in str(refused.value)


def test_another_default_dtype_is_refused():
    """The weights would be float64, drawn otherwise, and the images float32."""
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match=r"dtype is torch.float64, .*call torch.set_default"):
            train(small(), DATA)
    finally:
        torch.set_default_dtype(torch.float32)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ValueError, match=r"compile=True cannot work, there is no C"):
        train(small(), DATA, compile=True)


# -- the history ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAPER)
def test_every_method_of_the_paper_learns(name):
    method, lr = PAPER[name]
    history = train(small(method=method, lr=lr, epochs=4), DATA)
    assert history["running_loss"][-1] < history["running_loss"][0]
    assert set(history) == set(NAMES)
    assert all(array.shape == (4,) for array in history.values())
    for key, array in history.items():
        assert array.dtype == (np.int64 if key in WHOLE else np.float64), key
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
    row = session._measured(nothing)
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
    row = session._measured(nothing)
    with session.optimizer.virtual_iterate():
        moved = copy.deepcopy(session.model)
    shift = [x - v for x, v in zip(session.model.parameters(), moved.parameters(), strict=True)]
    norm = math.sqrt(sum(float(s.detach().double().square().sum()) for s in shift))
    assert norm == pytest.approx(row["memory_norm"], rel=1e-4)
    score = evaluate.evaluate(moved, session.judges["test"].epoch(0))
    assert score == (row["virtual_test_loss"], row["virtual_test_accuracy"])


def test_the_means_of_an_epoch():
    """Over images for the loss, over steps for the densities; the last batch is smaller."""
    session = Session(small(), DATA)
    seen = []
    step = session._step

    def spy(model, x, y):
        with torch.no_grad():
            logits = copy.deepcopy(session.model)(x)
            loss = torch.nn.functional.cross_entropy(logits, y)
        step(model, x, y)
        right = int((logits.argmax(dim=1) == y).sum())
        seen.append((len(y), float(loss), right, float(session.optimizer.density().g)))

    session._step = spy
    session._train(nothing, nothing, nothing)
    row = session._measured(nothing)
    sizes, losses, right, phis = (np.array(column) for column in zip(*seen, strict=True))
    assert sizes.tolist() == [8, 8, 4]
    assert row["running_loss"] == pytest.approx((sizes * losses).sum() / 20, rel=1e-5)
    assert row["phi_g"] == pytest.approx(phis.mean(), rel=1e-6)
    assert row["running_accuracy"] == right.sum() / 20


def test_a_loss_that_is_not_finite_is_left_out_of_the_means():
    session = Session(small(), DATA)
    x, y = next(session.loader.epoch(0))
    session._step(session.model, x, y)
    sums, counts = session.sums.tolist(), session.counts.tolist()
    assert counts == [8, 8, 1, 1]
    session._step(lambda x: session.model(x) * math.nan, x, y)
    assert (session.sums.tolist(), session.counts.tolist()) == (sums, counts)
    assert int(session.optimizer.skipped) == 1


def test_only_full_batches_are_compiled_or_captured():
    session, sizes = Session(small(), DATA), []
    session.full_step = lambda: sizes.append(len(session.feed.batch(8)[1]))
    session._train(nothing, nothing, nothing)
    assert sizes == [8, 8]
    assert session.counts[0] == 4  # the rest was stepped


def test_a_drop_changes_the_step_size_and_nothing_else():
    session = Session(small(method=EFM, drops=(1,)), DATA)
    states = []

    def spy(event):
        if isinstance(event, Measured):
            states.append(frozen(session.state()))
            return
        if event[:3] == (2, 2, 1):
            raise Stopped

    optimizer, step = session.optimizer, session._step

    def noted(model, x, y):
        if session.epoch == 1 and session.batch == 0:
            states.append(frozen(session.state()))
            assert {group["lr"] for group in optimizer.param_groups} == {LR / 10}
        step(model, x, y)

    session._step = noted
    with pytest.raises(Stopped):
        session.run(nothing, spy, nothing)
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
    group = session.optimizer.param_groups[0]
    held = group["lr"] = torch.tensor(0.0, dtype=torch.float64)
    session.restore(state)
    session._set_lr(session.training.lr_at(1))
    assert session.optimizer.param_groups[0]["lr"] is held
    assert float(held) == LR / 10


def test_measuring_leaves_everything_bitwise_as_it_was():
    session = Session(small(method=EFM), DATA)
    session._train(nothing, nothing, nothing)
    next(session.model.children()).eval()  # a layer that a user froze stays frozen
    before = frozen(session.state()), [m.training for m in session.model.modules()]
    session._measured(nothing)
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


@pytest.mark.parametrize(("bad", "stops"), [((1,), False), ((0, 2), True), ((0, 1, 2), True)])
def test_skipped_steps_are_counted_and_most_of_them_stop_the_run(bad, stops):
    """Three steps an epoch: two are more than half. Gradients alone are spoilt, here with NaN."""
    session = Session(small(), DATA)
    (spoilt, *_) = session.model.parameters()
    spoilt.register_hook(
        lambda g: g * math.nan if (session.epoch, session.batch) in {(0, b) for b in bad} else g
    )
    session.run(nothing, nothing, nothing)
    history = session.history
    assert history["skipped"].tolist() == [len(bad), 0]
    assert np.isfinite(history["running_loss"][0])
    assert session.diverged == stops
    ends = [np.isnan(a[1]) for name, a in history.items() if name not in WHOLE]
    assert ends == [stops] * len(ends)


def test_skipped_steps_of_an_earlier_session_count():
    first, second = Session(small(), DATA), Session(small(), DATA)
    (spoilt, *_) = first.model.parameters()
    spoilt.register_hook(lambda g: g * math.nan if (first.epoch, first.batch) < (1, 1) else g)
    first._train(nothing, nothing, nothing)
    first._end_epoch(first._measured(nothing))
    assert first.history["skipped"].tolist() == [3, 0]

    def stop():
        raise Stopped

    with pytest.raises(Stopped):
        first._train(stop, nothing, nothing)
    second.restore(copy.deepcopy(first.state()))
    second._train(nothing, nothing, nothing)
    assert second._measured(nothing)["skipped"] == 1


def test_a_run_that_explodes_stops_with_nan():
    history = train(small(method=efsgd.SGD(), lr=1e30, epochs=4), DATA)
    assert not np.isfinite(history["test_loss"]).any()
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["skipped"][1:].tolist() == [0] * 3
    for name in set(NAMES) - set(WHOLE):
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

    def own():  # has tests of its own: on the CPU it looks at results, where nobody waits
        with _disable_current_modes():
            step()

    session.optimizer.step = own
    with Waiting():
        session._train(nothing, nothing, nothing)
        session.batch = 0
        session._train(nothing, nothing, nothing)
    assert float(session.counts[0]) == 40


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
    with session._cast():
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


# -- stopping -------------------------------------------------------------------------------------


def stopping(at, number=signal.SIGINT):
    """A report that signals this process after that many steps."""
    steps = []

    def report(event):
        if isinstance(event, Progress):
            steps.append(event)
            if len(steps) == at:
                os.kill(os.getpid(), number)

    return report


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    path = tmp_path / "run.pt"
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(small(), DATA, checkpoint=path, report=stopping(4, number))
    assert str(stopped.value) == (
        f"{number.name} stopped the training after 1 of 2 epochs and 1 of 3 batches: "
        f"{path} holds it, the same command goes on there"
    )
    assert signal.getsignal(number) is handler
    assert path.exists()


def test_a_signal_without_a_checkpoint_says_that_nothing_was_saved():
    with pytest.raises(KeyboardInterrupt, match=r"0 of 2 .* 2 of 3 .* nothing was saved"):
        train(small(), DATA, report=stopping(2))


@pytest.mark.parametrize("method", [EFM, RANDOM, PAPER["sgdm"][0], PAPER["signsgd"][0]])
def test_stopped_after_any_step_it_continues_bitwise(tmp_path, method):
    training, path = small(method=method), tmp_path / "run.pt"
    whole = train(training, DATA, checkpoint=tmp_path / "whole.pt")
    for at in range(6):  # each session does one step
        with pytest.raises(KeyboardInterrupt):
            train(training, DATA, checkpoint=path, report=stopping(1), every=2)
        saved = torch.load(path, weights_only=True)["state"]
        assert (saved["epoch"], saved["batch"]) == (at // 3, at % 3 + 1)
    parts = train(training, DATA, checkpoint=path)
    assert timeless(parts) == timeless(whole)
    ends = [torch.load(p, weights_only=True)["state"] for p in (path, tmp_path / "whole.pt")]
    for end in ends:
        del end["seconds"]
        for name in TIMES:
            del end["history"][name]
    assert frozen(ends[0]) == frozen(ends[1])


@pytest.mark.parametrize("score", range(4))
def test_stopped_while_measuring_it_continues_bitwise(tmp_path, monkeypatch, score):
    """Scores 2 and 3 are taken at the virtual iterate, which the checkpoint must not hold."""
    training, path = small(method=EFM, precision="bf16", epochs=1), tmp_path / "run.pt"
    whole = train(training, DATA)
    real, calls = evaluate.evaluate, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == score + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="0 of 1 epochs and 3 of 3 batches"):
            train(training, DATA, checkpoint=path)
    assert timeless(train(training, DATA, checkpoint=path)) == timeless(whole)


KILLED = """
import os, signal, sys
from test_training import DATA, EFM, Measured, Progress, small, train

def report(event):
    if event[:3] == (4, 4, 2):
        os.kill(os.getpid(), signal.SIGKILL)

every = float(sys.argv[2])
train(small(method=EFM, epochs=4), DATA, checkpoint=sys.argv[1], every=every, report=report)
"""


def test_killed_at_any_time_it_continues_bitwise(tmp_path):
    path = tmp_path / "run.pt"
    env = os.environ | {"PYTHONPATH": python_path(__file__)}
    env |= {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    ran = subprocess.run([sys.executable, "-c", KILLED, str(path), "0"], env=env, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]
    saved = torch.load(path, weights_only=True)["state"]
    assert (saved["epoch"], saved["batch"]) == (3, 1)  # the step before the one that was killed
    training, first = small(method=EFM, epochs=4), []
    parts = train(training, DATA, checkpoint=path, report=first.append)
    assert first[0][:3] == (4, 4, 2)
    assert timeless(parts) == timeless(train(training, DATA))


def test_checkpoints_are_written_by_time_and_at_the_end(tmp_path, monkeypatch):
    """Steps of a minute, and one more from the end of an epoch to the next: 3 and 3 steps."""
    now, saved = [0.0], []

    def report(event):
        now[0] += 60.0

    monkeypatch.setattr(obtain.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(obtain.checkpoints, "save", lambda *_: saved.append(now[0]))
    steps, ends = [60, 120, 180, 300, 360, 420], [180, 420]
    expected = {150: [180, 360, 420], 10**6: [420], 0: sorted(steps + ends)}
    for every, times in expected.items():
        now[0] = 0.0
        saved.clear()
        train(small(), DATA, checkpoint=tmp_path / "run.pt", every=every, report=report)
        assert saved == times
    saved.clear()
    run_training(small(), DATA, tmp_path, every=None)
    assert saved == []


def test_what_is_evaluated_every_so_many_epochs_is_what_it_was():
    """Of ten every third, the first, both sides of the drop at 5, the last; of five likewise."""
    ten = small(epochs=10, drops=(5,), evaluate_every=3)
    assert [t for t in range(10) if ten.evaluated(t)] == [0, 3, 4, 5, 6, 9]
    assert all(replace(ten, evaluate_every=1).evaluated(t) for t in range(10))
    training = small(method=EFM, epochs=5, drops=(3,), evaluate_every=4)
    expected = [0, 2, 3, 4]
    some, every = train(training, DATA), train(replace(training, evaluate_every=1), DATA)
    for name in (n for n in NAMES if n not in TIMES):
        rare = name.startswith(("virtual_", "train_"))
        rows = expected if rare else range(5)
        assert np.flatnonzero(np.isfinite(some[name])).tolist() == [*rows], name
        assert some[name][rows].tobytes() == every[name][rows].tobytes(), name


def test_seconds_sum_over_sessions(tmp_path, monkeypatch):
    """With a clock that moves by one second at each look, whatever the machine does."""
    looks = iter(range(10**6))
    monkeypatch.setattr(events.time, "perf_counter", lambda: float(next(looks)))
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(small(epochs=1), DATA, checkpoint=path, report=stopping(2))
    before = torch.load(path, weights_only=True)["state"]["seconds"]
    assert before[0] > before[1] > 0
    history = train(small(epochs=1), DATA, checkpoint=path)
    assert history["seconds"][0] > before[0]
    assert 20 / history["images_per_second"][0] > before[1]


def test_a_finished_training_is_not_trained_again(tmp_path):
    path, events = tmp_path / "run.pt", []
    first = train(small(), DATA, checkpoint=path, every=5)
    second = train(small(), DATA, checkpoint=path, report=events.append)
    assert events == []
    assert {n: a.tobytes() for n, a in first.items()} == {n: a.tobytes() for n, a in second.items()}


def test_a_thread_trains_without_signals():
    found = []
    thread = threading.Thread(target=lambda: found.append(train(small(epochs=1), DATA)))
    thread.start()
    thread.join()
    assert timeless(found[0]) == timeless(train(small(epochs=1), DATA))


# -- results --------------------------------------------------------------------------------------


def test_a_result_is_trained_once_and_says_what_made_it(tmp_path, monkeypatch):
    training, events = small(), []
    first = run_training(training, DATA, tmp_path)
    again = run_training(training, DATA, tmp_path, report=events.append)
    assert events == []
    assert first.path == again.path == results.place(training, tmp_path)
    assert (first.spec, first.made_by) == (again.spec, again.made_by)
    assert list(first.arrays) == list(again.arrays) == sorted(NAMES)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    made = first.made_by
    assert (made["torch"], made["data"]) == (torch.__version__, DATA.digest)
    assert (made["compile"], made["graph"], made["form"]) == (False, False, "loop")
    assert made["threads"] == torch.get_num_threads()
    assert made["seconds"] == pytest.approx(first["seconds"].sum(), abs=1e-3)
    assert made["device"] not in ("", "cpu")
    run_training(training, DATA, tmp_path, report=events.append, again=True)
    assert len(events) == 8


def test_an_interrupted_result_goes_on_from_its_checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="checkpoints"):
        run_training(small(), DATA, tmp_path, report=stopping(4))
    events = []
    found = run_training(small(), DATA, tmp_path, report=events.append)
    assert events[0][:3] == (2, 2, 2)
    assert timeless(found.arrays) == timeless(train(small(), DATA))


def test_a_checkpoint_that_a_kill_left_beside_its_result_goes(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(obtain.checkpoints, "finish", nothing)  # killed before it
        run_training(small(epochs=1), DATA, tmp_path)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    run_training(small(epochs=1), DATA, tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_stale_result_is_returned_and_known_as_one(tmp_path, monkeypatch):
    result = run_training(small(epochs=1), DATA, tmp_path)
    assert not is_stale(result, small(epochs=1))
    made = result.made_by | {"code": "of yesterday"}
    results.save(result.path, result.arrays, result.spec, made)
    old = run_training(small(epochs=1), DATA, tmp_path)
    assert old.made_by == made
    assert is_stale(old, small(epochs=1))


def test_a_result_that_two_versions_of_the_code_had_a_part_in_is_stale(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "made_by", lambda training: {"code": "of yesterday"})
        with pytest.raises(KeyboardInterrupt):
            run_training(small(), DATA, tmp_path, report=stopping(4))
    result = run_training(small(), DATA, tmp_path)
    assert result.made_by["code"] is None
    assert is_stale(result, small())


def test_a_result_that_several_machines_had_a_part_in_names_them(tmp_path, monkeypatch, caplog):
    """Sums over other threads have other last bits."""
    caplog.set_level("INFO", logger="efsgd.deep")
    for threads in (7, 7, 3, 7, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with pytest.raises(KeyboardInterrupt):
            run_training(small(), DATA, tmp_path, report=stopping(1))
    made = run_training(small(), DATA, tmp_path).made_by
    assert re.findall("goes on with (.*): its last bits", caplog.text) == [
        *("threads 3, not 7", "threads 7, not 3", "threads 5, not 7")
    ]
    assert made["threads"] == [3, 7, 5]
    assert made["torch"] == torch.__version__
    assert (made["compile"], made["graph"]) == (False, False)


def test_a_result_names_every_form_that_its_steps_took(tmp_path, caplog):
    caplog.set_level("INFO", logger="efsgd.deep")
    for form in (None, "foreach"):
        with pytest.raises(KeyboardInterrupt):
            run_training(small(), DATA, tmp_path, report=stopping(1), form=form)
    made = run_training(small(), DATA, tmp_path, form="foreach").made_by
    assert made["form"] == ["loop", "foreach"]
    assert "goes on with form foreach, not loop" in caplog.text


def test_who_only_measures_has_a_part_too(tmp_path, monkeypatch):
    """The steps of the last epoch were done before; their form is that of the earlier session."""

    def stop(*arguments):
        raise Stopped("SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "evaluate", stop)
        patch.setattr(torch, "get_num_threads", lambda: 7)
        with pytest.raises(KeyboardInterrupt, match=r"SIGTERM stopped .* and 3 of 3 batches"):
            run_training(small(epochs=1), DATA, tmp_path, form="foreach")
    made = run_training(small(epochs=1), DATA, tmp_path).made_by
    assert made["threads"] == [7, torch.get_num_threads()]
    assert made["form"] == "foreach"


def test_who_finds_a_training_done_has_no_part_in_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "made_by", lambda training: {"code": "of yesterday"})
        patch.setattr(torch, "get_num_threads", lambda: 7)
        patch.setattr(results, "save", nothing)  # killed before it
        patch.setattr(obtain.checkpoints, "finish", nothing)
        run_training(small(epochs=1), DATA, tmp_path)
    made = run_training(small(epochs=1), DATA, tmp_path).made_by
    assert (made["code"], made["threads"]) == ("of yesterday", 7)


def test_a_result_of_other_data_of_that_name_is_refused(tmp_path):
    run_training(small(epochs=1), DATA, tmp_path)
    with pytest.raises(ValueError, match="is of other data named 'tiny': use another directory"):
        run_training(small(epochs=1), tiny(seed=1), tmp_path)


def test_a_damaged_result_is_trained_anew(tmp_path):
    path = run_training(small(epochs=1), DATA, tmp_path).path
    path.write_bytes(path.read_bytes()[:-40])
    assert timeless(run_training(small(epochs=1), DATA, tmp_path).arrays) == timeless(
        train(small(epochs=1), DATA)
    )


def test_a_result_is_found_again(tmp_path):
    training = small(data="standin", epochs=1, train_size=16, test_size=4)
    result = run_training(training, load("standin"), tmp_path)
    assert timeless(result.arrays) == timeless(train(training, load("standin")))
    assert results.find(training, tmp_path) is not None
    assert not is_stale(result, training)
    events = []
    assert run_training(training, load("standin"), tmp_path, report=events.append).spec
    assert events == []
    assert results.find(replace(training, seed=1), tmp_path) is None
