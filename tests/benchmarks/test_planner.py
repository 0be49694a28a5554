"""Which trainings a quarter of an hour is spent on, and that a failure costs only itself.

Without this file the main comparison could run out of time, or fewer runs fit than could.
"""

import time
from dataclasses import replace
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

from efsgd.deep.training.concurrent_trainings import at_once  # noqa: E402
from efsgd.figures.cifar.grid import Choice  # noqa: E402
from efsgd.figures.cifar.presets import PRESETS  # noqa: E402

pytestmark = pytest.mark.usefixtures("gpu_benchmarks")

SPEEDS = (("vgg19", 128, 5e4), ("vgg19", 8, 2e4), ("resnet18", 128, 25e3))


@pytest.fixture
def context(tmp_path, monkeypatch):
    """A call at time 0 that has 1000 seconds, with the speeds that its check has measured."""
    output = import_module("output").OutputFolder(tmp_path / "out", tmp_path / "work")
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    context = import_module("measure").Context(
        torch.device("cpu"), output, tmp_path / "work", small=False, deadline=1000
    )
    record_speeds(context, SPEEDS)
    return context


def record_speeds(context, speeds):
    """As the stage images does; one training alone has half the speed of four."""
    names = ("network", "batch", "together")
    rows = [dict(zip(names, row, strict=True)) | {"alone": row[2] / 2} for row in speeds]
    rows = [row | {"at once": 4, "evaluation": 1e5} for row in rows]
    context.output.update("measured.json", {"images": {"rows": rows}})


class Sizes:
    """As many images as CIFAR-10."""

    name, y_train, y_test = "cifar10", range(50_000), range(10_000)


def entries(preset="short", **changes):
    choice = Choice(PRESETS[preset], data=("cifar10",), **changes)
    return import_module("training").entries_of(choice, Sizes), choice


def short_blocks(**changes):
    return import_module("training").blocks_of(entries(**changes)[0])


def planner(context):
    return import_module("planner").Planner(context)


def test_the_blocks_come_in_the_order_in_which_they_decide():
    blocks = short_blocks()
    setting_of = import_module("planner").setting_of
    assert [(setting_of(block[0]), len(block)) for block in blocks] == [
        (("vgg19", 128), 12),
        (("vgg19", 8), 4),
        (("resnet18", 128), 4),
    ]
    first = blocks[0]
    assert [entry.training.seed for entry in first] == [0] * 4 + [1] * 4 + [2] * 4
    assert len({entry.method for entry in first[:4]}) == 4


def test_as_many_epochs_as_the_measured_speeds_allow(context):
    """Seconds of an epoch: 1, 2.5 and 2 of steps; .1 s for each evaluation of 10,000 images."""
    plan, blocks = import_module("planner"), short_blocks(evaluate_every=5)
    rare = plan.RARE_SHARE + 1 / 5
    evaluations = [0.1 * (1 + rare * (3 if e.training.method.feeds_back else 1)) for e in blocks[1]]
    costs = [3 * (4 * 1 + sum(evaluations)), 4 * 2.5 + sum(evaluations), 4 * 2 + sum(evaluations)]
    for i in range(3):
        free = plan.USABLE_SHARE * 1000 - plan.OVERHEAD * sum(map(len, blocks[i:]))
        assert planner(context).epochs(blocks[i:], Sizes) == int(free / sum(costs[i:]))


@pytest.fixture
def planned(context, monkeypatch):
    """What train() would do on a GPU: (network, batch, epochs) of each block; nothing is trained.

    A block takes the time that it was planned with.
    """
    training, overhead = import_module("training"), import_module("planner").OVERHEAD
    done, now = [], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(training, "load_images", lambda context: Sizes)
    monkeypatch.setattr(training, "report", lambda blocks, done, context: done)

    def train_block(block, data, planner):
        run = block[0].training
        done.append((run.model, run.batch, run.epochs))
        now[0] += sum(overhead + run.epochs * planner.cost(e, data) for e in block)
        return []

    monkeypatch.setattr(training, "train_block", train_block)

    def plan(seconds, speeds):
        record_speeds(context, speeds)
        done.clear()
        now[0] = 0.0
        training.train(replace(context, deadline=seconds))
        assert now[0] <= seconds or [run[2] for run in done] == [1]
        return list(done)

    return plan


@pytest.mark.parametrize(
    ("speeds", "blocks"),
    [
        ((60e3, 40e3, 45e3), 3),
        ((55e3, 20e3, 30e3), 2),  # not twelve epochs for all, but eight for the first two
        ((45e3, 6e3, 27e3), 1),  # a slow batch 8 does not take the main comparison along
        ((12e3, 3e3, 7e3), 1),
    ],
)
def test_the_main_comparison_comes_first_whatever_the_others_cost(planned, speeds, blocks):
    names = [row[:2] for row in SPEEDS]
    rows = [(*name, speed) for name, speed in zip(names, speeds, strict=True)]
    done = planned(450, rows)
    assert [run[:2] for run in done] == names[:blocks]
    epochs = [run[2] for run in done]
    assert all(count <= epochs[0] for count in epochs)
    plan = import_module("planner")
    assert min(epochs) >= {1: 1, 2: plan.FEWEST_EPOCHS, 3: plan.EPOCHS_FOR_THREE}[blocks]
    (first, *_) = planned(60, rows)  # less than an epoch, perhaps
    assert first[:2] == names[0]
    assert first[2] >= 1


def test_a_network_that_does_not_run_takes_no_other_along(planned, monkeypatch):
    monkeypatch.setattr(
        import_module("images"), "measure_speeds", lambda *_: {"failed": "no memory"}
    )
    done = planned(450, [("vgg19", 128, 6e4), ("resnet18", 128, 45e3)])
    assert [kind[:2] for kind in done] == [("vgg19", 128), ("resnet18", 128)]
    done = planned(450, [("vgg19", 8, 4e4)])
    assert [kind[:2] for kind in done] == [("vgg19", 8)]


def test_one_at_a_time_where_several_hang_or_gain_nothing(context):
    blocks, plan = short_blocks(), planner(context)
    plan.affordable(blocks, Sizes)
    assert plan.count == 4
    context.output.update(
        "state.json", {"check": {"images": {"status": "stopped after 80 s, by force"}}}
    )
    assert planner(context).count == 4  # it was late, but several at once did run
    context.output.update("measured.json", {"images": {"rows": []}})
    assert planner(context).count == 1
    context.output.update("state.json", {"check": {"images": {"status": "well"}}})
    rows = [{"network": "vgg19", "batch": 128, "alone": 2.0, "together": 1.9}]
    rows = [row | {"at once": 4, "evaluation": 1e5} for row in rows]
    context.output.update("measured.json", {"images": {"rows": rows}})
    plan = planner(context)
    plan.speed(blocks[0][0], Sizes)
    assert plan.count == 1


def test_only_whole_runs_of_the_papers_grid_are_begun(context):
    """200 epochs at 1 s and some, four at once; what is no full four is priced as one alone."""
    runs, _ = entries("paper", models=("vgg19",), batches=(128,))
    plan, overhead = planner(replace(context, deadline=1200)), import_module("planner").OVERHEAD
    together, alone = (
        [200 * plan.cost(run, Sizes, alone) + overhead for run in runs] for alone in (False, True)
    )
    assert [entry.training.epochs for entry in runs] == [200] * 12
    assert sum(together[:4]) <= plan.remaining() < sum(together[:4]) + alone[4]
    assert plan.runs_that_fit(runs, Sizes) == runs[:4]
    plan = planner(replace(context, deadline=900))
    assert alone[0] <= plan.remaining() < sum(together[:4])
    assert plan.remaining() < sum(alone[:3])
    count = 2 if sum(alone[:2]) <= plan.remaining() else 1
    assert plan.runs_that_fit(runs, Sizes) == runs[:count]
    assert planner(replace(context, deadline=9)).runs_that_fit(runs, Sizes) == []


def test_a_run_that_fails_takes_no_other_along(context, monkeypatch):
    training, block = import_module("training"), short_blocks()[1]

    def run_training(run, *_, **__):
        if run == block[1].training:
            raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(training, "run_training", run_training)
    done = training.train_block(block, Sizes, planner(context))
    assert done == [block[0], *block[2:]]


def test_the_steps_of_all_that_race_are_counted():
    """Each takes a step in turn while the others wait; what one counts must not be lost."""
    race, steps = import_module("images").Race(3, 0.2), []

    class Session:
        class in_flight:
            wait = staticmethod(lambda *_: None)

        def first_step(self):
            steps.append(1)
            time.sleep(1e-3)

    at_once([lambda check: race.run(Session(), 2, check) for _ in range(3)], 3)
    assert race.steps == len(steps) - 3 * 2
    assert race.steps > 3


def test_a_block_keeps_the_shape_of_the_schedule():
    runs, choice = entries()
    for entry in import_module("training").with_epochs(runs, choice, 22):
        assert (entry.training.epochs, entry.training.drops) == (22, (11, 16))
