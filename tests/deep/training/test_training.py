"""The specification of a training: its schedule, its images, and what is refused.

Without this file a wrong option could be trained with for hours before anybody noticed.
"""

import math
from dataclasses import fields

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_trainings import (  # noqa: E402
    DATA,
    EF,
    LR,
    small,
)

import efsgd  # noqa: E402
from efsgd import results  # noqa: E402
from efsgd.deep.training.obtain import train  # noqa: E402
from efsgd.deep.training.training import Training, scaled_lr  # noqa: E402


@pytest.mark.parametrize(
    ("changes", "message"),
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
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as refused:
        small(**changes)
    assert "\n" not in str(refused.value)


def test_the_spec_of_a_training():
    spec = results.spec_of(small(lr=1, drops=[3, 5]))
    assert spec["type"] == "efsgd.deep.Training"
    assert spec["method"]["compressor"] == "scaledsign:zero=0"
    assert spec == results.spec_of(small(lr=1.0, drops=(3, 5)))
    new = {"evaluate_every"}  # at its default it leaves the keys of committed results alone
    assert set(spec) == {"type", *(field.name for field in fields(Training))} - new
    assert results.spec_of(small(evaluate_every=2))["evaluate_every"] == 2


def test_numbers_of_numpy_are_numbers():
    counts = {"batch": 8, "epochs": 2, "seed": 3, "train_size": 9, "test_size": 4, "validation": 5}
    training = small(lr=np.float32(0.5), **{name: np.int64(n) for name, n in counts.items()})
    assert training == small(lr=0.5, **counts)
    assert {type(getattr(training, name)) for name in counts} == {int}
    assert results.spec_of(training) == results.spec_of(small(lr=0.5, **counts))
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
    ("changes", "message"),
    [
        ({"validation": 20}, "leave some beside a validation set of 20"),
        ({"train_size": 21}, "a subset of 21"),
        ({"validation": 5, "train_size": 16}, "a subset of 16"),
        ({"test_size": 7}, "a subset of 7"),
        ({"data": "cifar10"}, "is of the data 'cifar10', not 'tiny': give it data='tiny'"),
    ],
)
def test_more_than_there_is_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        train(small(**changes), DATA)


def test_which_images_are_chosen():
    split = small(validation=5, train_size=12, test_size=4).chosen(DATA)
    assert np.array_equal(split.x_train, DATA.x_train[:12])
    assert np.array_equal(split.x_test, DATA.x_train[15:19])
    assert np.array_equal(split.y_test, DATA.y_train[15:19])
    unchanged = small().chosen(DATA)
    assert (len(unchanged.y_train), len(unchanged.y_test)) == (20, 6)


@pytest.mark.parametrize(
    ("training", "options", "message"),
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
def test_what_the_machine_cannot_do_is_refused(training, options, message):
    with pytest.raises(ValueError, match=message) as refused:
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
