"""Pictures, captions and claims of the deep experiments, on made-up histories.

Without this file a claim of section 6 that passes though the numbers break it, a picture that draws
another series than its label says, or a caption with a wrong commit would go unnoticed.
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from deep_histories import entries_of, published, result_of, study_of
from project import ROOT

from efsgd.figures import make
from efsgd.figures.cifar import command, paper, plots
from efsgd.figures.cifar.captions import caption, incomplete
from efsgd.figures.cifar.grid import Choice, Source, grid
from efsgd.figures.cifar.orders import Order, welch
from efsgd.figures.cifar.presets import PRESETS
from efsgd.figures.cifar.study import Study, by_gpu, collect, of_other_code, studies
from efsgd.figures.claims import intervals
from efsgd.figures.drawing import style
from efsgd.results import load, save

torch = pytest.importorskip("torch", reason="the deep track needs torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def as_published(folder):
    """VGG19 on CIFAR-10 as the paper has it, seeds .1 points apart."""
    return study_of(entries_of("paper", models=("vgg19",)), folder)


def changed(study, folder, changes):
    """The study with other histories where `changes(entry)` gives arguments; None takes it out."""
    results = dict(study.results)
    for entry in study.entries:
        arguments = changes(entry)
        if arguments is None:
            del results[entry]
        elif arguments:
            results[entry] = result_of(entry, folder, **arguments)
    return replace(study, results=results)


def judged(study):
    return [verdict for kind in command.PICTURES for verdict in kind.verdicts(study)]


def about_densities(verdict):
    """Whether it is about the shape of the density, which every grid may show."""
    return "figure of the density" in verdict.source


def failed(study):
    return [verdict.claim for verdict in judged(study) if verdict.passed is False]


# -- claims ---------------------------------------------------------------------------------------


def test_the_published_numbers_satisfy_every_claim(as_published):
    assert failed(as_published) == []
    passed = [verdict.claim for verdict in judged(as_published) if verdict.passed]
    # for each of 3 batch sizes: 4 means, 3 orders, EF beside SGDm, the least density and its shape,
    # beside that of g and at two drops; and one collapse
    assert len(passed) == 3 * (4 + 3 + 1 + 1 + 3) + 1
    assert sum("collapses" in text for text in passed) == 1


def test_resnet_on_cifar100_satisfies_them_too(tmp_path):
    assert failed(study_of(entries_of("paper", models=("resnet18",)), tmp_path)) == []


@pytest.mark.parametrize(
    ("method", "batch", "change", "words"),
    [
        ("ef-signsgd", 128, {"accuracy": 93.8}, ["SGDm is above EF-signSGD"]),
        ("signsgd", 128, {"accuracy": 93.1}, ["EF-signSGD is above scaled signSGD"]),
        ("signsgdm", 128, {"accuracy": 93.2}, ["EF-signSGD is above signSGDm"]),
        ("ef-signsgd", 8, {"accuracy": 91.2, "best": 92.82}, ["at most 1.5 points below SGDm"]),
        ("signsgd", 8, {"accuracy": 85.0, "best": 72.87}, ["collapses"]),
        ("ef-signsgd", 32, {"phi": 0.049, "phi_g": 0.04}, ["least phi(g + e)"]),
        ("ef-signsgd", 32, {"phi": math.nan}, ["least phi(g + e)"]),
        ("ef-signsgd", 32, {"phi_g": 0.31}, ["phi(g + e) minus phi(g)"]),
        ("ef-signsgd", 32, {"drops": (100,)}, ["as lr drops after epoch 150"]),
        ("ef-signsgd", 32, {"drops": (99, 150)}, ["as lr drops after epoch 100"]),
        ("sgdm", 32, {"best": 95.0}, ["SGDm, best mean accuracy"]),
        ("signsgdm", 8, {"accuracy": 89.2}, ["signSGDm, best mean accuracy"]),
    ],
)
def test_each_claim_fails_where_it_is_broken(as_published, tmp_path, method, batch, change, words):
    def breaking(entry):
        changes = (entry.method, entry.training.batch) == (method, batch)
        return change if changes else {}

    texts = failed(changed(as_published, tmp_path, breaking))
    # `best` lies in the middle of a run, so that the means stay where they were
    assert any(word in text for text in texts for word in words)
    assert all(f"batch {batch}" in text for text in texts)


def test_claims_on_the_maximum_do_not_look_at_the_last_epoch(as_published, tmp_path):
    def worse_at_the_end(entry):
        if (entry.method, entry.training.batch) != ("signsgdm", 32):
            return {}
        return {"accuracy": published(entry) - 5, "best": published(entry)}

    assert failed(changed(as_published, tmp_path, worse_at_the_end)) == []


def test_a_diverged_run_fails_what_it_cannot_hold_and_counts_as_a_collapse(as_published, tmp_path):
    def diverging(entry):
        if entry.training.batch != 8 or entry.method not in ("ef-signsgd", "signsgd"):
            return {}
        return {"diverged": 120, "best": published(entry)}

    study = changed(as_published, tmp_path, diverging)
    verdicts = {verdict.claim: verdict for verdict in judged(study)}
    (collapse,) = [v for text, v in verdicts.items() if "collapses" in text]
    assert collapse.passed
    # SGDm's accuracy minus 0; SGDm has the deviation .1, and t(.975, 2 degrees) = 4.302653
    assert collapse.measured == f"+93.1 +- {4.302653 * 0.1 / math.sqrt(3):.2g}"
    for words in ("batch 8: EF-signSGD is at most", "batch 8: EF-signSGD, least phi"):
        (verdict,) = [v for text, v in verdicts.items() if words in text]
        assert verdict.passed is False


def test_a_claim_that_lacks_a_run_is_an_observation_that_names_it(as_published, tmp_path):
    def losing(entry):
        return None if entry.name.endswith("batch 32, EF-signSGD, seed 1") else {}

    study = changed(as_published, tmp_path, losing)
    assert failed(study) == []
    lacking = [v for v in judged(study) if v.measured.startswith("missing: ")]
    assert all(v.passed is None and "batch 32" in v.claim for v in lacking)
    assert {v.measured for v in lacking} == {"missing: EF-signSGD seed 1"}
    # 3 orders, EF beside SGDm, its density and its mean; the others are still claimed
    assert len(lacking) == 6
    assert sum(v.measured.endswith("2 of 3 runs") for v in judged(study)) == 3  # its shape
    assert sum(v.passed is True for v in judged(study)) == 37 - 6 - 3


def test_a_claim_whose_runs_are_all_missing_is_told_too(as_published):
    results = {e: r for e, r in as_published.results.items() if e.method != "ef-signsgd"}
    lacking = [
        v
        for v in judged(replace(as_published, results=results))
        if v.measured == "missing: EF-signSGD seed 0, 1, 2"
    ]
    assert len(lacking) == 3 * 6


@pytest.mark.parametrize(
    "choice",
    [
        {"epochs": 100},
        {"seeds": 2},
        {"train_size": 1000, "test_size": 500},
        {"batches": (64,)},
        {"data": ("cifar100",), "models": ("vgg19",)},
        {"models": ("vgg16",)},
    ],
)
def test_another_grid_than_the_papers_is_only_observed_but_for_its_densities(tmp_path, choice):
    entries = entries_of("paper", **({"models": ("vgg19",)} | choice))
    study = study_of(entries, tmp_path)
    verdicts = judged(study)
    assert {v.passed for v in verdicts if not about_densities(v)} == {None}
    shapes = {v.passed for v in verdicts if about_densities(v)}
    assert shapes == ({None} if choice.get("seeds") == 2 else {True})


@pytest.mark.parametrize("model", ["vgg19", "resnet18"])
def test_no_verdict_of_short_on_accuracies_is_a_claim(tmp_path, model):
    verdicts = judged(study_of(entries_of("short", models=(model,)), tmp_path))
    assert {v.passed for v in verdicts if not about_densities(v)} == {None}
    assert any("order of" in verdict.claim for verdict in verdicts)


def test_more_seeds_than_the_papers_are_claimed_and_other_step_sizes_are_not(tmp_path):
    entries = entries_of("paper", models=("vgg19",), batches=(128,), seeds=4)
    assert any(v.passed for v in judged(study_of(entries, tmp_path)))
    other = [replace(e, training=replace(e.training, lr=0.02)) for e in entries]
    verdicts = judged(study_of(other, tmp_path))
    assert {v.passed for v in verdicts if not about_densities(v)} == {None}


def test_small_says_of_every_pair_of_methods_whether_the_seeds_decide(tmp_path):
    level = {"sgdm": 60.0, "ef-signsgd": 55.0, "signsgd": 50.05, "signsgdm": 50.0}

    def by_method(entry):
        return {"accuracy": level[entry.method] + entry.training.seed - 1.0}

    study = study_of(entries_of("small"), tmp_path, by_method)
    measured = {v.claim: v.measured for v in judged(study) if "order of" in v.claim}
    assert len(measured) == 6
    # deviations 1, n = 3: the half width is t(.975, 4 degrees) * sqrt(2/3) = 2.776445 * .816497
    half = 2.776445 * math.sqrt(2 / 3)
    by_pair = {text.split("order of ")[1].split(",")[0]: m for text, m in measured.items()}
    assert by_pair["SGDm and EF-signSGD"] == f"decided: SGDm above EF-signSGD by 5.00 +- {half:.2f}"
    assert by_pair["signSGDm and EF-signSGD"].startswith(
        "decided: EF-signSGD above signSGDm by 5.00"
    )
    assert by_pair["scaled signSGD and signSGDm"] == f"not decided: +0.05 +- {half:.2f} points"
    assert {v.passed for v in judged(study) if not about_densities(v)} == {None}


def test_welch_agrees_with_a_textbook_case():
    # equal variances and sizes: the pooled interval, here 2 * (n - 1) = 8 degrees of freedom
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([3.0, 4, 5, 6, 7])
    difference, half = welch(a, b)
    assert difference == pytest.approx(-2.0)
    assert half == pytest.approx(2.306004 * math.sqrt(2 * 2.5 / 5), rel=1e-6)
    assert welch(np.ones(3), np.zeros(3)) == (1.0, 0.0)


def test_an_order_needs_two_runs_of_each_that_did_not_diverge(tmp_path):
    entries = entries_of("small", methods=("sgdm", "signsgd"), seeds=2, epochs=3)

    def half_there(entry):
        return None if entry.method == "signsgd" and entry.training.seed else {}

    study = study_of(entries, tmp_path, half_there)
    assert Order(*study.cells()).verdict == "not decided: 2 and 1 runs are too few"
    study = study_of(entries, tmp_path, lambda e: {"diverged": 1 if e.training.seed else None})
    assert Order(*study.cells()).verdict == "not decided: a run diverged"


def test_what_the_seeds_leave_open_is_neither_held_nor_failed(as_published, tmp_path):
    def spread(entry):
        if (entry.method, entry.training.batch) != ("ef-signsgd", 32):
            return {}
        return {"accuracy": published(entry) + 3 * (entry.training.seed - 1)}

    verdicts = judged(changed(as_published, tmp_path, spread))
    assert [v for v in verdicts if v.passed is False] == []
    left_open = [
        v for v in verdicts if v.measured.startswith("not decided: ") and v.expected != "a"
    ]
    about = [v.claim.split(": ", 1)[1] for v in left_open if v.expected != "a decision"]
    assert about == [
        "EF-signSGD, best mean accuracy minus the paper's 92.71",
        "SGDm is above EF-signSGD, by points of mean accuracy",
        "EF-signSGD is above scaled signSGD, by points of mean accuracy",
        "EF-signSGD is above signSGDm, by points of mean accuracy",
        "EF-signSGD is at most 1.5 points below SGDm",
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], None),  # 2 +- 2.48
        ([2.0, 2.5, 3.0], True),
        ([-2.0, -2.5, -3.0], False),
        ([2.0], None),
        ([2.0, math.nan, 2.1], False),
        ([0.0, 0.0], False),
    ],
)
def test_a_claim_is_decided_by_all_of_its_interval(values, expected):
    interval = intervals.of_mean(np.array(values))
    assert intervals.decision("c", "s", interval, above=0.0).passed is expected


def test_a_claim_between_two_bounds_fails_outside_and_is_open_across_one():
    def outcome(middle, half):
        interval = intervals.Interval(middle, half)
        return intervals.decision("c", "s", interval, above=-1.0, most=1.0).passed

    assert [outcome(*pair) for pair in ((0, 0.9), (0.5, 0.6), (0, 3), (2, 0.9), (-2, 0.9))] == [
        True,
        None,
        None,
        False,
        False,
    ]


def test_the_committed_trainings_of_small_show_the_shape_of_the_papers_density():
    source = Source.named("cifar10_jpeg-cd31482d67a5")
    choice = Choice(PRESETS["small"], data=(source.name,), methods=("ef-signsgd",))
    entries = grid(choice, {source.name: source})
    results, complaints = collect(entries, ROOT / "results" / "cifar")
    assert (len(results), complaints) == (3, [])
    (study,) = studies(entries, results)
    assert [v.passed for v in judged(study) if about_densities(v)] == [True] * 3
    g_for_p = {
        entry: replace(result, arrays=result.arrays | {"phi_p": result["phi_g"]})
        for entry, result in results.items()
    }
    verdicts = judged(replace(study, results=g_for_p))
    # phi(g) beside itself, and it rises at the first drop
    assert [v.passed for v in verdicts if about_densities(v)][:2] == [False, False]


# -- pictures -------------------------------------------------------------------------------------


def drawn(kind, study):
    with style.drawing():
        return kind.draw(study)


def words(figure):
    """Everything that is written in a picture and its legends."""
    import matplotlib.text

    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("kind", command.PICTURES, ids=lambda kind: kind.name)
def test_every_picture_draws_every_state_of_a_grid(kind, as_published, tmp_path):
    few = entries_of("smoke", compressors=("topk:0.01", "twomeans"), epochs=3)
    single = study_of(few[:1], tmp_path)
    diverged = study_of(few, tmp_path, lambda e: {"diverged": 1})
    rare = study_of(entries_of("smoke", epochs=9, evaluate_every=5), tmp_path)
    first_epochs = study_of(rare.entries, tmp_path, lambda e: {"diverged": 2})
    incomplete_study = replace(diverged, results=single.results)
    for study in (as_published, single, diverged, incomplete_study, rare, first_epochs):
        figure = drawn(kind, study)
        assert study.title in words(figure)
        assert caption(study).split(",")[0] in words(figure).replace("\n", " ")
        figure.savefig(tmp_path / "a.png")  # also lays it out, warnings being errors


@pytest.mark.parametrize("kind", command.PICTURES, ids=lambda kind: kind.name)
def test_missing_runs_are_named_in_the_picture(kind, as_published, tmp_path):
    def losing(entry):
        return None if entry.method == "ef-signsgd" and entry.training.seed else {}

    text = words(drawn(kind, changed(as_published, tmp_path, losing))).replace("\n", " ")
    assert "EF-signSGD (ternary): 3 of 9 runs" in text
    assert "missing: batch 128, EF-signSGD: 1 of 3 runs" in text
    assert "missing" not in words(drawn(kind, as_published))


def lines(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def test_accuracy_shows_the_mean_of_the_seeds(as_published):
    figure = drawn(command.PICTURES[0], as_published)
    assert len(figure.axes) == 2 * 3
    assert set(lines(figure)) == {
        "SGDm",
        "scaled signSGD (ternary)",
        "signSGDm (ternary)",
        "EF-signSGD (ternary)",
    }
    points = lines(figure)["SGDm"].get_xydata()
    assert points[-1] == pytest.approx([200, 93.38])
    assert points[0] == pytest.approx([1, 93.38 / 2])
    assert len(figure.axes[0].collections) == 4  # a band each


def rarely(tmp_path, **changes):
    """30 epochs with drops at 15 and 22, every seventh evaluated, and EF-signSGD as it changes."""
    entries = entries_of("short", models=("vgg19",), batches=(128,), evaluate_every=7)
    return study_of(entries, tmp_path, lambda e: changes if e.method == "ef-signsgd" else {})


# every seventh from the first on, on both sides of each drop, and the last
EVALUATED = [1, 8, 15, 16, 22, 23, 29, 30]


@pytest.mark.parametrize(
    ("name", "panel", "label", "epochs"),
    [
        ("accuracy", 0, "EF-signSGD (ternary)", list(range(1, 31))),
        ("accuracy", 1, "EF-signSGD (ternary)", EVALUATED),
        ("memory-back", 0, "EF-signSGD (ternary), at x", list(range(1, 31))),
        ("memory-back", 0, "EF-signSGD (ternary), at x - e", EVALUATED),
        ("memory-back", 2, "EF-signSGD (ternary), at x", EVALUATED),
        ("density", 0, "EF-signSGD (ternary), $\\phi(g)$", list(range(1, 31))),
    ],
)
def test_curves_go_through_the_epochs_that_were_evaluated(tmp_path, name, panel, label, epochs):
    (kind,) = (kind for kind in command.PICTURES if kind.name == name)
    line = lines(drawn(kind, rarely(tmp_path)), panel)[label]
    assert line.get_xdata().tolist() == epochs
    assert np.isfinite(line.get_ydata()).all()


def test_after_a_divergence_a_curve_ends_and_a_lone_point_is_seen(tmp_path):
    (kind,) = (kind for kind in command.PICTURES if kind.name == "memory-back")
    for diverged, finite in ((16, EVALUATED[:4]), (5, EVALUATED[:1])):
        curves = lines(drawn(kind, rarely(tmp_path, diverged=diverged)), 2)
        for name in ("at x", "at x - e"):
            line = curves[f"EF-signSGD (ternary), 3 diverged, {name}"]
            assert line.get_xdata()[np.isfinite(line.get_ydata())].tolist() == finite
    assert all(line.get_markevery() == 1 for line in curves.values())
    assert all(line.get_marker() not in ("", "None") for line in curves.values())


@pytest.mark.parametrize("kind", command.PICTURES[:3], ids=lambda kind: kind.name)
def test_one_epoch_is_a_marked_point_with_the_range_of_its_seeds(kind, tmp_path):
    entries = entries_of("smoke", epochs=1, seeds=2)
    study = study_of(entries, tmp_path, lambda e: {"accuracy": 40.0 + 10 * e.training.seed})
    figure = drawn(kind, study)
    figure.draw_without_rendering()
    for ax in figure.axes[: 1 if kind.name == "density" else None]:
        assert ax.lines
        for line in ax.lines:
            assert line.get_xdata().tolist() == [1]
            assert (line.get_markevery(), line.get_marker() not in ("", "None")) == (1, True)
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]
    if kind.name != "density":
        bars = [bar.get_segments()[0] for bar in figure.axes[0].collections]
        assert [bar[:, 1].tolist() for bar in bars] == [pytest.approx([40, 50])] * len(bars)
        assert len(bars) == len(figure.axes[0].lines)


def test_density_shows_both_densities_of_the_methods_with_a_memory(as_published):
    curves = lines(drawn(command.PICTURES[1], as_published))
    assert sorted(curves) == [
        "EF-signSGD (ternary), $\\phi(g)$",
        "EF-signSGD (ternary), $\\phi(g+e)$",
    ]
    assert curves["EF-signSGD (ternary), $\\phi(g+e)$"].get_ydata() == pytest.approx(
        np.where(np.isin(np.arange(200), (100, 150)), 0.24, 0.3)
    )
    assert curves["EF-signSGD (ternary), $\\phi(g)$"].get_ydata() == pytest.approx(
        np.full(200, 0.25)
    )


def test_memory_back_shows_x_and_the_virtual_iterate(as_published, tmp_path):
    study = changed(
        as_published, tmp_path, lambda e: {"virtual": 20.0} if e.method[:2] == "ef" else {}
    )
    curves = lines(drawn(command.PICTURES[2], study))
    assert curves["EF-signSGD (ternary), at x"].get_ydata()[-1] == pytest.approx(92.70)
    assert curves["EF-signSGD (ternary), at x - e"].get_ydata()[-1] == pytest.approx(20.0)


def test_gap_shows_ours_and_the_papers_open(as_published, tmp_path):
    def a_point_lower(entry):
        return {} if entry.method == "sgdm" else {"accuracy": published(entry) - 1}

    figure = drawn(command.PICTURES[3], changed(as_published, tmp_path, a_point_lower))
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "none"]
    papers = np.sort(np.concatenate([line.get_ydata() for line in hollow]))
    expected = [
        paper.gap("vgg19", "cifar10", batch, method)
        for batch in paper.BATCHES
        for method in paper.METHODS[1:]
    ]
    assert papers == pytest.approx(np.sort(expected))
    ours = [box.lines[0].get_ydata() for box in figure.axes[0].containers]
    assert np.sort(np.concatenate(ours)) == pytest.approx(np.sort(expected) - 1)


def test_gap_of_single_runs_has_no_bars(tmp_path):
    entries = entries_of("smoke", methods=("sgdm", "signsgd"), seeds=1, epochs=2)
    (drawn_bars,) = drawn(command.PICTURES[3], study_of(entries, tmp_path)).axes[0].containers
    _, caps, bars = drawn_bars.lines
    assert not any(np.isfinite(np.array(cap.get_ydata(), float)).any() for cap in caps)
    assert not any(len(s) and np.isfinite(s).all() for bar in bars for s in bar.get_segments())


def test_virtual_iterates_of_several_methods_have_colours_of_their_own(tmp_path):
    compressors = ("topk:0.01", "twomeans")
    study = study_of(entries_of("smoke", compressors=compressors, epochs=2, seeds=1), tmp_path)
    curves = lines(drawn(command.PICTURES[2], study))
    colours = [line.get_color() for name, line in curves.items() if name.endswith("at x - e")]
    assert len(set(colours)) == len(colours) == 3


@pytest.mark.parametrize("batches", [(128, 32, 8), (128, 32, 8, 4)])
def test_titles_of_narrow_panels_stay_in_them(tmp_path, batches):
    """Panels side by side: the title of one ends before the next begins."""
    entries = entries_of("small", batches=batches, epochs=2, seeds=1, data=("cifar10",))
    long = [
        replace(e, training=replace(e.training, data="my_own_images_of_cats_and_dogs-0123456789ab"))
        for e in entries
    ]
    for kind in command.PICTURES[:3]:
        with style.drawing():
            figure = kind.draw(study_of(long, tmp_path))
            figure.draw_without_rendering()
            axes = figure.axes[: len(batches)]
            ends = [ax.title.get_window_extent() for ax in axes if ax.get_title()]
            ends += [ax._left_title.get_window_extent() for ax in axes if ax.get_title(loc="left")]
        assert len(ends) == len(batches)
        assert ends[-1].x1 <= figure.bbox.x1
        assert all(a.x1 < b.x0 for a, b in pairwise(ends))


def test_gap_without_sgdm_and_density_without_a_memory_say_so(tmp_path):
    entries = entries_of("smoke", methods=("signsgd",), epochs=2)
    study = study_of(entries, tmp_path)
    assert "no run of SGDm" in words(drawn(command.PICTURES[3], study))
    for kind in command.PICTURES[1:3]:
        assert "no method with a memory" in words(drawn(kind, study))


def test_every_method_has_a_look_of_its_own(tmp_path):
    entries = entries_of("smoke", compressors=("topk:0.01", "twomeans"), epochs=2, seeds=1)
    study = study_of(entries, tmp_path)
    looks = [plots.look(study, method) for method in study.methods]
    assert len({(look["color"], str(look["linestyle"]), look["marker"]) for look in looks}) == 6
    assert [look["label"] for look in looks[-2:]] == ["EF topk:0.01", "EF twomeans"]


def test_a_picture_names_its_results_and_repeats_its_bytes(as_published, tmp_path):
    results = {entry.name: result for entry, result in as_published.results.items()}
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        options = make.Options(out=tmp_path / name)
        paths += make.draw(command.PICTURES[3].of(as_published), results, options)
    content = paths[0].read_bytes()
    assert paths[0].name == "gap-vgg19-cifar10.png"
    assert content == paths[1].read_bytes()
    assert all(result.path.name.encode() in content for result in results.values())


# -- saved results --------------------------------------------------------------------------------


def test_collect_finds_results_and_names_what_cannot_be_used(tmp_path):
    entries = entries_of("smoke", methods=("sgdm",), seeds=4, epochs=2)
    good, damaged, foreign, missing = entries
    paths = {entry: result_of(entry, tmp_path).path for entry in entries}
    paths[damaged].write_bytes(paths[damaged].read_bytes()[:100])
    other = load(paths[good])
    save(paths[foreign], other.arrays, other.spec, other.made_by)
    paths[missing].unlink()
    results, complaints = collect(entries, tmp_path)
    assert list(results) == [good]
    assert [text.split(" counts as missing: ")[0] for text in complaints] == [
        damaged.name,
        foreign.name,
    ]
    (study,) = studies(entries, results)
    assert study.missing == entries[1:]
    assert incomplete(study) == ["batch 32, SGDm: 1 of 4 runs"]


def test_a_result_that_lacks_epochs_or_a_series_counts_as_missing(tmp_path):
    entries = entries_of("smoke", methods=("sgdm",), seeds=3, epochs=3)
    good, short, poor = (result_of(entry, tmp_path) for entry in entries)
    save(short.path, {n: a[:2] for n, a in short.arrays.items()}, short.spec, short.made_by)
    arrays = {n: a for n, a in poor.arrays.items() if n != "test_accuracy"}
    save(poor.path, arrays, poor.spec, poor.made_by)
    results, complaints = collect(entries, tmp_path)
    assert [result.path for result in results.values()] == [good.path]
    assert "holds no train_loss, test_loss, test_accuracy" in complaints[0]
    assert complaints[1].endswith("holds no test_accuracy of 3 epochs")


GPU = {"device": "NVIDIA H200"}


def by_code(folder, *records):
    """SGDm by one seed of today's code and one of other code for each of `records`, a made_by."""
    entries = entries_of("smoke", methods=("sgdm",), seeds=1 + len(records), epochs=2)
    result_of(entries[0], folder)
    for entry, record in zip(entries[1:], records, strict=True):
        result_of(entry, folder, made_by={"code": "0" * 64} | record)
    results, _ = collect(entries, folder)
    other = of_other_code(results)
    assert list(other) == entries[1:]
    (study,) = studies(entries, results, other)
    return study


@pytest.mark.parametrize(
    ("commits", "code"),
    [
        (["b87c458"], "1 of 2 runs made by commit b87c458"),
        (["b87c458"] * 2, "2 of 3 runs made by commit b87c458"),
        (["v1-2-gb87c458", "1a2b3c4"], "2 of 3 runs made by commits 1a2b3c4, v1-2-gb87c458"),
        ([None], "1 of 2 runs made by other code"),
        (["b87c458", None], "2 of 3 runs made by commit b87c458 and other code"),
    ],
)
@pytest.mark.parametrize("machine", [{}, GPU], ids=["CPU", "GPU"])
def test_results_of_other_code_name_their_commits(tmp_path, monkeypatch, commits, code, machine):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    study = by_code(tmp_path, *({"git": commit} | machine for commit in commits))
    (verdict,) = [v for v in judged(study) if "runs made by" in v.claim]
    count, made = code.split(" runs ")
    assert verdict.measured == count
    assert verdict.passed is None
    text = f"{study.model}/{study.data}: runs {made}"
    if machine:  # nobody can make them again here, so they are as good as they were
        assert caption(study).endswith(f", 2 epochs, {code}")
        assert (verdict.claim, verdict.expected) == (text, "-")
    else:
        assert caption(study).endswith(f", stale: {code}")
        assert (verdict.claim, verdict.expected) == (f"{text} (stale)", "train anew with --again")


def test_results_that_several_versions_of_the_code_made_name_no_commit(tmp_path):
    study = by_code(tmp_path, {"code": None, "git": "b87c458"})
    assert caption(study).endswith("1 of 2 runs made by other code")


@pytest.mark.parametrize(
    ("records", "cuda", "stale"),
    [
        ([GPU], False, False),
        ([GPU], True, True),
        ([GPU, GPU], False, False),
        ([GPU, {}], False, True),  # that of the CPU can be made again
        ([{}], True, True),
    ],
)
def test_stale_is_what_this_machine_could_make_again(tmp_path, monkeypatch, records, cuda, stale):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    study = by_code(tmp_path, *records)
    assert study.stale is stale
    assert ("stale" in caption(study)) is stale
    assert any("(stale)" in verdict.claim for verdict in judged(study)) is stale
    assert any("--again" in verdict.expected for verdict in judged(study)) is stale


def test_results_of_todays_code_say_nothing_of_it(tmp_path):
    study = by_code(tmp_path)
    assert study.stale is False
    assert "made by" not in caption(study)
    assert not any("made by" in verdict.claim for verdict in judged(study))


@pytest.mark.parametrize(
    ("made_by", "expected"),
    [
        ({}, False),
        ({"device": "cpu"}, False),
        ({"device": "AMD EPYC 9B14"}, False),
        ({"device": "AMD Ryzen 7 7840U w/ Radeon 780M Graphics"}, False),
        ({"device": "Intel(R) Xeon(R) Platinum 8480+"}, False),
        ({"device": "aarch64", "graph": False, "form": "compiled"}, False),
        ({"device": "NVIDIA H100 80GB HBM3"}, True),
        ({"device": "Tesla T4"}, True),
        ({"device": "AMD Instinct MI300X"}, True),
        ({"device": ["AMD EPYC 9B14", "NVIDIA H200"]}, True),
        ({"device": "a GPU of another maker", "graph": True}, True),
        ({"device": "a GPU of another maker", "graph": [False, True]}, True),
        ({"device": "a GPU of another maker", "form": "triton"}, True),
    ],
)
def test_a_result_of_a_gpu_is_known_by_its_record(made_by, expected):
    assert by_gpu(made_by) is expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_of_this_machine_is_known_by_its_name():
    assert by_gpu({"device": torch.cuda.get_device_name()})


def test_the_small_print_names_every_device_that_had_a_part(tmp_path):
    entries = entries_of("smoke", methods=("sgdm",), seeds=2, epochs=2)
    result_of(entries[0], tmp_path)
    result_of(entries[1], tmp_path, made_by={"device": ["a GPU", "a CPU"]})
    results, _ = collect(entries, tmp_path)
    (study,) = studies(entries, results)
    assert ", a CPU and a GPU, fp32, " in caption(study)


def test_the_small_print_says_what_it_is(as_published, tmp_path):
    expected = "cifar10 (50000 training, 10000 test images), n = 3 seeds, a CPU, fp32, 200 epochs"
    assert caption(as_published) == expected
    assert ", n = 1 seed, " in caption(study_of(entries_of("smoke", seeds=1, epochs=2), tmp_path))


SHORT = "short schedule: {} of the paper's 200 epochs"


@pytest.mark.parametrize(
    ("preset", "changes", "number", "schedule"),
    [
        ("paper", {"models": ("vgg19",)}, "3 seeds", "200 epochs"),
        ("paper", {"models": ("vgg19",), "epochs": 100}, "3 seeds", SHORT.format(100)),
        (
            "short",
            {"models": ("vgg19",)},
            "3 seeds at batch 128 and 1 at batch 8",
            SHORT.format(30),
        ),
        ("short", {"models": ("vgg19",), "seeds": 2}, "2 seeds", SHORT.format(30)),
        ("short", {"models": ("resnet18",)}, "1 seed", SHORT.format(30)),
        ("short", {"models": ("vgg19",), "batches": (8,)}, "1 seed", SHORT.format(30)),
        ("short", {"models": ("vgg11",)}, "1 seed", "30 epochs"),
        ("small", {}, "3 seeds", "10 epochs"),
    ],
)
def test_the_small_print_names_a_short_schedule_of_the_papers_models(
    tmp_path, preset, changes, number, schedule
):
    entries = entries_of(preset, **changes)
    data, _, rest = caption(study_of(entries, tmp_path)).partition(", n = ")
    assert data.endswith(" test images)")
    machine = f"a CPU, {entries[0].training.precision}"
    words = [schedule, machine] if "short" in schedule else [machine, schedule]
    assert rest == ", ".join([number, *words])


def test_the_small_print_of_a_grid_that_differs_by_batch_size_counts_what_is_there(tmp_path):
    def losing(entry):
        return None if entry.method == "sgdm" and entry.training.seed else {}

    study = study_of(entries_of("short", models=("vgg19",)), tmp_path, losing)
    assert ", n = 1 to 3 seeds at batch 128 and 1 at batch 8, " in caption(study)


def test_a_search_has_no_short_schedule(tmp_path):
    entries = entries_of("short", models=("resnet18",))
    held_out = [replace(e, training=replace(e.training, validation=5000)) for e in entries]
    assert caption(study_of(held_out, tmp_path)).endswith(", bf16, 30 epochs")


def test_the_small_print_says_what_is_evaluated_rarely(tmp_path):
    assert caption(rarely(tmp_path)).endswith(", bf16, train loss and x - e every 7 epochs")


def test_the_small_print_of_data_that_nobody_has_counts_no_images(tmp_path):
    source = Source.named("mine-0123abcd")
    entry = replace(entries_of("paper", seeds=1, epochs=2)[0], source=source)
    assert "(all training, all test images)" in caption(study_of([entry], tmp_path))


def test_a_grid_is_cut_into_one_study_for_each_model_and_data(tmp_path):
    entries = entries_of("paper", seeds=1, epochs=2)
    results = {entry: result_of(entry, tmp_path) for entry in entries}
    assert [study.file_stem for study in studies(entries, results)] == [
        "vgg19-cifar10",
        "resnet18-cifar100",
    ]
    assert isinstance(studies(entries, {})[:1], list)
    assert studies(entries, {}) == []
    assert all(isinstance(study, Study) for study in studies(entries, results))
