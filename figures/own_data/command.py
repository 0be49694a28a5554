"""The methods on data of one's own: step sizes tuned, then compared with a certified optimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from efsgd import (
    DIANA,
    EF21,
    EF21SGDM,
    EFSGD,
    SGD,
    CompressedSGD,
    Compressor,
    EControl,
    EF21Plus,
    FullyCorrectiveEF,
    GradientEF,
    MajorityVote,
    Method,
    PostMomentumEF,
    ScaledSign,
    Sign,
    SignSGD,
    Signum,
    compressor,
)
from efsgd.convex.data.file_problems import FileCertificate, FileLogistic, FileSquares
from efsgd.convex.data.files import data_file, loaded
from efsgd.figures import make
from efsgd.figures.make import Options, Picture
from efsgd.figures.own_data import plots
from efsgd.figures.own_data.series import located
from efsgd.figures.own_data.study import Study
from efsgd.figures.texts import for_file_name, printable, shortened
from efsgd.results import Work, key, replacing, spec_of
from efsgd.schedules import Theorem

STEPS, QUICK_STEPS = 500, 50
SIGN, SCALED_SIGN = Sign(zero=0), ScaledSign(zero=0)
PLAIN: dict[str, tuple[str, Method]] = {
    "sgd": ("SGD", SGD()),
    "sgdm": ("SGDm", SGD(momentum=0.9)),
    "signsgd": ("signSGD", SignSGD(SIGN)),
    "signsgdm": ("signSGDm", Signum(SIGN)),
    "vote": ("majority vote", MajorityVote()),
}
VARIANTS: dict[str, tuple[str, Callable[[Compressor, int], Method]]] = {  # of compressor and d
    "ef21": ("EF21", lambda c, d: EF21(c)),
    "ef21-sgdm": ("EF21-SGDM", lambda c, d: EF21SGDM(c, momentum=0.9)),
    "ef21-plus": ("EF21+", lambda c, d: EF21Plus(c)),
    "econtrol": ("EControl", lambda c, d: EControl(c, eta=_stable_eta(c, d))),
    "diana": ("DIANA", lambda c, d: DIANA(c)),
    "post-momentum": ("EF, momentum after", lambda c, d: PostMomentumEF(c, momentum=0.9)),
    "gradient-ef": ("gradient EF", lambda c, d: GradientEF(c)),
    "fully-corrective": ("EF, corrected", lambda c, d: FullyCorrectiveEF(c)),
}
DEALT = {"iid": "at random", "label": "by label", "sorted": "in the order of y"}
COMPRESSING = ("compressed", "ef", *VARIANTS)
DEFAULT = ("sgd", "signsgd", "signsgdm", "ef")


def on_data(options: Options, *, data: Path, rates: Sequence[str], **settings: Any) -> int:
    """Tune, compare, draw, tabulate and judge; the exit code is 1 if a claim failed.

    ``settings`` are the other options of :mod:`efsgd.figures.own_data.options`, by name.

    Raises ValueError or OSError, with one sentence, for what cannot be read, computed or written.
    """
    make.check_out(options)
    study = _study(options, data, settings)
    fixed = fixed_rates(rates, study)
    chosen, others = study.tuned(
        fixed,
        {} if options.quick else {"certificate": FileCertificate(study.problem)},
    )
    known = "certificate" in others and located(others["certificate"])
    works: dict[str, Work] = {
        label: study.comparison(label, choice.lr, known) for label, choice in chosen.items()
    }
    results = study.obtain(works) | others
    picture = Picture(
        name=_name(data, study, fixed),
        title=study.title,
        work=lambda quick, seed: {},
        draw=partial(plots.draw, study),
        verdicts=partial(plots.judge, study, chosen),
    )
    for path in make.draw(picture, results, options):
        click.echo(path)
    path = options.file(picture.name, "md")
    with replacing(path) as file:
        file.write(plots.markdown(study, chosen, results).encode())
    click.echo(f"{path}\n\n{plots.plain(study, chosen, results)}")
    judged = [] if options.quick else make.judge(picture, results)
    return make.conclude({picture.name: judged}, options)


def _name(data: Path, study: Study, fixed: dict[str, float]) -> str:
    """The name of the files: data, loss, and a digest of the rows and of what is done with them.

    So no comparison takes the place of another one.
    """
    loss = "squares" if isinstance(study.problem, FileSquares) else "logistic"
    methods = {label: spec_of(method) for label, (_, method) in study.methods.items()}
    decisive: dict[str, Any] = {"problem": spec_of(study.problem), "methods": methods, "lr": fixed}
    if study.workers > 1:
        decisive |= {"workers": study.workers, "split": study.split}
    digest = key(decisive | {"steps": study.steps, "batch": study.batch})[:8]
    return f"data-{for_file_name(data.name)}-{loss}-{digest}"


def _study(options: Options, data: Path, settings: dict[str, Any]) -> Study:
    """What was asked for; reads the data."""
    squares = settings["loss"] != "logistic"
    if squares and settings["l2"] is not None:
        raise ValueError("--l2 is for --loss logistic: leave it out, or name that loss")
    source = data_file(
        data,
        test=_test(settings["test"]),
        seed=options.seed,
        standardise=settings["standardise"],
        intercept=settings["intercept"],
    )
    problem: FileSquares | FileLogistic = FileSquares(source)
    if not squares:
        l2 = 1 / len(loaded(source, classes=True).y) if settings["l2"] is None else settings["l2"]
        problem = FileLogistic(source, l2)
    workers, split = settings["workers"] or 1, settings["split"]
    if split is not None and workers == 1:
        raise ValueError(f"--split {split} deals the rows to several workers: add --workers N")
    methods = methods_of(settings["methods"], settings["compressors"], problem.d)
    steps = settings["steps"] or STEPS
    if options.quick:
        steps = min(steps, QUICK_STEPS)
    loss = "least squares" if squares else f"logistic regression, l2 = {problem.l2:.3g}"
    title = f"{shortened(printable(data.name))}: {loss}, n = {problem.n}, d = {problem.d}"
    split = split or "iid"
    if workers > 1:
        title += f"; {workers} workers, rows {DEALT.get(split, split)}"
    study = Study(title, problem, methods, steps, settings["batch"], options, workers, split)
    study.check()
    return study


def _test(text: str | None) -> float | str:
    """A share, or the path of a test file."""
    if text is None:
        return 0.2
    try:
        return float(text)
    except ValueError:
        return text


def methods_of(names: Sequence[str], specs: Sequence[str], d: int) -> dict[str, tuple[str, Method]]:
    """The methods of these names, by label; each compressor makes one of those in COMPRESSING.

    Raises ValueError for an unknown name, for compressors that nobody uses and for one that a
    method refuses.
    """
    for name in names:
        if name not in PLAIN and name not in COMPRESSING:
            known = ", ".join((*PLAIN, *COMPRESSING))
            raise ValueError(f"no method is called {name!r}: choose from {known}")
    if specs and names and not set(names) & set(COMPRESSING):
        known = f"{', '.join(COMPRESSING[:-1])} and {COMPRESSING[-1]}"
        raise ValueError(f"--compressor {specs[0]} is for {known}: add --method ef")
    compressors = [compressor(spec) for spec in specs] or [SCALED_SIGN]
    by_label: dict[str, tuple[str, Method]] = {}
    for name in names or DEFAULT:
        if name in PLAIN:
            label, method = PLAIN[name]
            by_label[label] = (name, method)
            continue
        for c in compressors:
            label, entry = _compressing(name, c, d)
            if by_label.get(label, entry) != entry:  # the scaled sign with the other sign(0)
                label = f"{label} ({c})"
            by_label[label] = entry
    return by_label


def _compressing(name: str, c: Compressor, d: int) -> tuple[str, tuple[str, Method]]:
    """The label of a method with this compressor, its short name and itself."""
    if name in VARIANTS:
        label, variant = VARIANTS[name]
        return f"{label} ({c})", (name, variant(c, d))
    signs = isinstance(c, ScaledSign)
    if name == "ef":
        return "EF-signSGD" if signs else f"EF {c}", (name, EFSGD(c))
    return "scaled signSGD" if signs else f"{c} alone", (name, CompressedSGD(c))


def _stable_eta(c: Compressor, d: int) -> float:
    """The eta of EControl in the middle of where it is stable; 0 where there is no delta."""
    delta = c.delta(d)
    return Theorem("ef", 1.0, delta=min(delta, 1.0)).gap if delta > 0 else 0.0


def fixed_rates(rates: Sequence[str], study: Study) -> dict[str, float]:
    """Read "0.1" and "ef=0.1": the step sizes by label; those named win. ValueError for others."""
    fixed: dict[str, float] = {}
    for text in sorted(rates, key=lambda text: "=" in text):
        name, equals, number = text.rpartition("=")
        labels = [label for label, (n, _) in study.methods.items() if not equals or n == name]
        try:
            lr = float(number)
        except ValueError:
            lr = 0.0
        if not labels or not 0 < lr < float("inf"):
            refusal = f"--lr {text} is neither a positive number nor one for a method of this run"
            raise ValueError(f"{refusal}: write 0.1 or {next(iter(study.methods.values()))[0]}=0.1")
        fixed |= dict.fromkeys(labels, lr)
    return fixed
