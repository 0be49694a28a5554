"""``efsgd-figures bounds``: it finds every planted false claim, and refuses bad input in words.

Without this file a compressor with a false delta could be reported as fine.
"""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from commands import refused
from compressor_table import LIBRARY
from doctored import computed, doctored

import efsgd
from efsgd.convex.studies.bound_checks import BUILT_IN, OTHERS, Bounds, ScaledMultiples
from efsgd.convex.verification import verification
from efsgd.figures.bounds import delta_zoo, options, tables, trainings, zoo_claims
from efsgd.figures.bounds.command import PICTURES
from efsgd.figures.bounds.own_compressor import own_compressor
from efsgd.figures.cli import TRACKS, main
from efsgd.results import Result, save

CLAIMS = '''
import numpy as np
import efsgd
from efsgd.arrays import norm


class L2SignHere(efsgd.Compressor, spec="l2sign_here"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        size = norm(x).astype(x.dtype) / np.sqrt(x.shape[-1])
        return size * np.where(x < 0, -1.0, 1.0)

    def delta(self, d):
        return 1 / d


class CheapIdentityHere(efsgd.Compressor, spec="cheap_identity_here"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def bits(self, d, dtype=np.float64):
        return d


class HiddenBiasHere(efsgd.Compressor, spec="hidden_bias_here"):
    guarantee = "unbiased"
    random = True

    def draw(self, shape, rng=None, state=None):
        return 0.97 * efsgd.QSGD(4).draw(shape, rng)

    def apply(self, x, drawn=None):
        return efsgd.QSGD(4).apply(x, drawn)

    def omega(self, d):
        return efsgd.QSGD(4).omega(d)


class OneLessHere(efsgd.Compressor, spec="one_less_here"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return efsgd.TopK(3).apply(x)

    def delta(self, d):
        return min(1.0, 4 / d)


class PlainQSGDHere(efsgd.Compressor, spec="plain_qsgd_here"):
    """Unscaled, with the delta that only QSGD/(1 + omega) has."""

    guarantee = "expectation"
    random = True

    def draw(self, shape, rng=None, state=None):
        return efsgd.QSGD(1).draw(shape, rng)

    def apply(self, x, drawn=None):
        return efsgd.QSGD(1).apply(x, drawn)

    def delta(self, d):
        return 1 / (1 + efsgd.QSGD(1).omega(d))


class OnEveryPathHere(PlainQSGDHere, spec="on_every_path_here"):
    guarantee = "pathwise"


class Scaling(efsgd.Compressor, spec="scaling_here"):
    guarantee = "pathwise"

    def __init__(self, q):
        object.__setattr__(self, "q", q)

    def apply(self, x, drawn=None):
        return (1 - self.q) * x

    def delta(self, d):
        return 1 - self.q**2


honest = efsgd.TopK(3)


def half(x):
    return 0.5 * x


def keep_half(x, rng):
    return x * (rng.random(x.shape) < 0.5)


keep_half.delta = lambda d: 0.5


def expects_matrices(x):
    return x @ x.T @ x[0]


def broken(x):
    raise KeyError("no such key")


broken.delta = expects_matrices.delta = 0.5
number = 3


class Foreign:
    pass
'''


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text(CLAIMS)
    return path


@pytest.fixture
def run(tmp_path):
    """The command with --jobs 1 in a folder of its own."""

    def runs(*words):
        out = ("--out", str(tmp_path / "out"), "--results", str(tmp_path / "results"))
        return CliRunner().invoke(main, ["bounds", *map(str, words), *out, "--jobs", "1"])

    return runs


def rows(tmp_path):
    return json.loads((tmp_path / "out" / "verdicts.json").read_text())


# -- false and true claims ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "d", "words"),
    [
        ("L2SignHere", 16, "worst found -0.5"),  # 2/sqrt(16) - 1
        ("CheapIdentityHere", 5, "bits"),
        ("HiddenBiasHere", 16, "standard errors away from x"),
        ("OneLessHere", 16, "worst found 0.1875"),  # 3/16
        ("PlainQSGDHere", 16, "the bound does not hold"),
        ("OnEveryPathHere", 4, "the bound does not hold"),
    ],
)
def test_every_planted_false_claim_is_rejected(run, module, tmp_path, name, d, words):
    outcome = run("--module", f"{module}:{name}", "--d", d)
    assert outcome.exit_code == 1, outcome.output
    assert f"d = {d}: VIOLATED" in outcome.output
    assert words in outcome.output
    (row,) = [row for row in rows(tmp_path) if row["kind"] == "claim" and "its " in row["claim"]]
    assert row["pass"] is False
    assert "VIOLATED" in row["measured"]
    (path,) = (tmp_path / "out").glob("violation-*.npz")
    assert str(path) in outcome.output
    x = np.load(path)["x"]
    if "bound" in words or "worst" in words:  # the vector is a counterexample by itself
        c = own_compressor(f"{module}:{name}").mapping
        copies = np.broadcast_to(x, (4000, d))
        achieved = efsgd.achieved_delta(copies, c(copies, np.random.default_rng(7)))
        worst = achieved.min() if c.guarantee == "pathwise" else achieved.mean()
        assert worst < c.delta(d) - 1e-3


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_l2_scaled_sign_is_fine_up_to_one_entry_and_wrong_beyond(run, module, d):
    """Its delta is 2/sqrt(d) - 1: 1 at d = 1, below 1/d from d = 2 on; no compressor for d > 4."""
    assert run("--module", f"{module}:L2SignHere", "--d", d).exit_code == int(d > 1)


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("honest",), "attained"),
        (("half", "--delta", 0.75), "attained"),
        (("half", "--delta", 0.7), "not violated"),
        (("half", "--delta", 0.76), "VIOLATED"),
        (("keep_half",), "attained"),
        (("keep_half", "--delta", 0.6), "VIOLATED"),
    ],
)
def test_a_function_is_held_to_its_delta(run, module, words, verdict):
    outcome = run("--module", f"{module}:{words[0]}", *words[1:], "--d", 6)
    assert outcome.exit_code == int(verdict == "VIOLATED"), outcome.output
    printed = "certified" if words == ("honest",) else verdict  # an instance of a built-in one
    assert f"d = 6: {printed}" in outcome.output


def test_a_delta_that_the_file_states(run, tmp_path):
    path = tmp_path / "stated.py"
    path.write_text("def delta(d):\n    return 0.75\n\n\ndef half(x):\n    return x / 2\n")
    assert run("--module", f"{path}:half", "--d", 3).exit_code == 0
    assert run("--module", f"{path}:half", "--d", 3, "--delta", 0.8).exit_code == 1


# -- what it writes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results():
    """The checks of three compressors that nobody has to compute again."""
    works = [
        Bounds(efsgd.compressor(spec), d, 0, 200)
        for spec in ("topk:0.5", "terngrad", "threshold:linf=0.5", "sign")
        for d in (2, 16)
    ]
    checks = {
        f"{work.compressor}, d = {work.d}": Result(
            work.compute(), {"compressor": str(work.compressor), "d": work.d}, {}, "none.npz"
        )
        for work in works
    }
    return checks | {zoo_claims.MULTIPLES: computed(ScaledMultiples())}


def test_pictures_tables_and_verdicts_are_written_and_results_are_kept(run, tmp_path, monkeypatch):
    words = ("--compressor", "topk:0.5", "--compressor", "terngrad", "--d", 2, "--d", 9)
    outcome = run(*words, "--format", "svg")
    assert outcome.exit_code == 0, outcome.output
    out = tmp_path / "out"
    (written,) = out.glob("*.csv")
    assert re.fullmatch("delta-zoo-topk-0-5-[0-9a-f]{8}", written.stem)
    files = {f"{written.stem}.{ending}" for ending in ("svg", "md", "tex", "csv")}
    assert {p.name for p in out.iterdir()} == files | {"verdicts.json"}
    table = list(csv.DictReader(written.read_text().splitlines()))
    pairs = [(spec, d) for spec in ("topk:0.5", "terngrad") for d in ("2", "9")]
    assert [(row["compressor"], row["d"]) for row in table] == pairs
    assert float(table[3]["claimed"]) == 1  # (sqrt(9) - 1)/2
    assert float(table[3]["certified"]) == pytest.approx(1, abs=1e-7)
    assert {row["verdict"] for row in table} == {"certified"}
    assert all(row["pass"] for row in rows(tmp_path) if row["kind"] == "claim")

    def computed(self):
        raise AssertionError("a kept result is computed again")

    monkeypatch.setattr(Bounds, "compute", computed)
    assert run(*words).exit_code == 0
    assert run(*words, "--again").exit_code != 0


def test_tables_say_the_same_in_three_formats(results):
    checks = zoo_claims.all_checks(results)
    text, latex = tables.markdown(checks), tables.latex(checks)
    assert text.count("\n| ") == len(checks) + 2
    assert latex.count("\\\\\n") == len(checks) + 1
    assert "LP in u = x$^2$" in latex
    assert "_" not in latex.replace("\\_", "").partition("\\hline")[2]
    lines = csv.DictReader(tables.comma_separated(checks).splitlines())
    by_name = {row["compressor"]: row for row in lines}
    assert float(by_name["threshold:linf=0.5"]["claimed"]) == pytest.approx(4 / 19)  # 1/(1 + 15/4)
    assert by_name["sign"]["attaining"] == ""


def test_quick_pictures_carry_no_verdicts(run, module, tmp_path):
    outcome = run("--quick", "--compressor", "topk:1")
    assert outcome.exit_code == 0, outcome.output
    assert not (tmp_path / "out" / "verdicts.json").exists()
    assert "quick pictures carry no verdicts" in outcome.output
    assert run("--quick", "--module", f"{module}:L2SignHere").exit_code == 1  # still a vector


def test_another_choice_gets_files_and_verdicts_of_its_own(run, module, tmp_path):
    out, words = tmp_path / "out", ("--compressor", "topk:1", "--d", 2)
    assert run(*words).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.glob("delta-zoo*")}
    assert run("--compressor", "topk:1", "--d", 3).exit_code == 0
    assert run(*words, "--quick").exit_code == 0
    assert run("--module", f"{module}:half", "--delta", 0.75, "--d", 2).exit_code == 0
    module.write_text(CLAIMS.replace("return 0.5 * x", "return x / 2"))
    assert run("--module", f"{module}:half", "--delta", 0.75, "--d", 2).exit_code == 0
    assert {name: (out / name).read_bytes() for name in before} == before
    stems = {path.stem for path in out.glob("delta-zoo*.csv")}
    assert len({stem for stem in stems if not stem.endswith("-quick")}) == 4
    assert len(stems) == 5
    asked = {row["figure"]: row["options"] for row in rows(tmp_path)}
    assert len(asked) == 4
    assert asked[min(before).partition(".csv")[0]] == "--compressor topk:1 --d 2"


def test_show_opens_what_is_saved_and_vectors_are_read_again(run, module, tmp_path):
    assert run("--module", f"{module}:L2SignHere", "--d", 16).exit_code == 1
    (path,) = (tmp_path / "out").glob("violation-*.npz")
    shown = CliRunner().invoke(main, ["show", str(path)]).output
    assert '"compressor": "l2sign_here"' in shown
    assert '"d": 16' in shown
    assert re.search(r"x +float64 \(16,\)", shown)
    again = run("--module", f"{module}:L2SignHere", "--d", 1, "--vectors", path)
    assert again.exit_code == 1
    assert "l2sign_here on x: VIOLATED" in again.output
    assert run("--compressor", "topk:1", "--d", 3).exit_code == 0
    (kept,) = (tmp_path / "results/bounds").iterdir()
    assert '"compressor": "topk:1"' in CliRunner().invoke(main, ["show", str(kept)]).output


def test_the_help_says_the_largest_dimension_of_the_search():
    assert verification.LARGEST == options.LARGEST
    assert "1<=x<=131072" in CliRunner().invoke(main, ["bounds", "--help"]).output


def test_it_is_listed_and_named():
    listed = CliRunner().invoke(main, ["list"]).output
    assert "efsgd-figures bounds delta-zoo" in listed
    assert TRACKS["bounds"]() == PICTURES
    assert set(delta_zoo.work(True, 0)) < set(delta_zoo.work(False, 0))


def test_the_default_takes_every_built_in_class():
    kinds = {type(c) for c in BUILT_IN}
    assert kinds == set(LIBRARY)
    works = [work for work in delta_zoo.work(False, 3).values() if isinstance(work, Bounds)]
    pairs = {(str(work.compressor), work.d) for work in works}
    assert pairs == {(str(c), d) for c in BUILT_IN for d in (1, 2, 5, 16, 256)} | set(OTHERS)
    assert len(pairs) == len(works)
    assert {work.seed for work in works} == {3}


# -- vectors --------------------------------------------------------------------------------------


def test_vectors_of_ones_own(run, tmp_path):
    """Scaled sign achieves phi; one of the rows is one-hot, the others are constant."""
    g = np.ones((3, 16), np.float32)
    g[1] = np.eye(16)[3]
    np.savez(tmp_path / "g.npz", layer=g, bias=np.array([1.0, 2.0]))
    words = ("--compressor", "scaledsign", "--compressor", "randk:0.5", "--d", 2)
    outcome = run(*words, "--vectors", tmp_path / "g.npz")
    assert outcome.exit_code == 0, outcome.output
    printed = [re.split(" {2,}", line.strip()) for line in outcome.output.splitlines()]
    assert ["scaledsign", "layer", "3", "16", "0.0625", "0.0625", "1", "0.0625, 1"] in printed
    achieved = "0.9"  # 9/(2*5)
    assert ["scaledsign", "bias", "1", "2", "0.5", achieved, "0.9", "0.9, 0.9"] in printed
    on_vectors = [row for row in rows(tmp_path) if row["source"] == "your vectors"]
    assert [row["pass"] for row in on_vectors] == [True] * 4
    (table,) = (tmp_path / "out").glob("delta-zoo-scaledsign-*.md")
    assert "| scaledsign | layer | 3 | 16 | 0.0625 | 0.0625 | 1 | 0.0625, 1 |" in table.read_text()


def test_rounding_hides_no_broken_claim_on_long_float32_vectors(run, tmp_path):
    """A function that sends nothing achieves 0, not 1/20000; half of x in float32 is .75 of any."""
    path = tmp_path / "mine.py"
    path.write_text(
        "def zero(x):\n    return 0 * x\n\n\ndef half(x):\n    return x.astype('f4') / 2\n"
    )
    g = np.random.default_rng(0).standard_normal((2, 20_000))
    np.savez(tmp_path / "g.npz", single=g.astype("f4"), double=g)
    words = ("--d", 1, "--vectors", tmp_path / "g.npz", "--module")
    outcome = run(*words, f"{path}:zero", "--delta", 5e-5)
    assert "zero on single: VIOLATED; delta 0" in outcome.output
    assert run(*words, f"{path}:half", "--delta", 0.75).exit_code == 0


def test_vectors_on_which_a_claim_breaks(run, module, tmp_path):
    """At d = 1 nothing is wrong with the l2-scaled sign; on this vector of 16 entries it is."""
    np.savez(tmp_path / "g.npz", g=np.eye(16)[0])
    words = ("--module", f"{module}:L2SignHere", "--d", 1, "--vectors", tmp_path / "g.npz")
    outcome = run(*words)
    assert outcome.exit_code == 1, outcome.output
    assert "l2sign_here on g: VIOLATED; delta -0.5" in outcome.output
    saved = np.load(tmp_path / "out" / "violation-l2sign_here-g.npz")["x"]
    np.testing.assert_array_equal(saved, np.eye(16)[0])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"g": np.ones((2, 3, 4))}, "'g' is float64 of shape (2, 3, 4)"),
        ({"g": np.float64(3)}, "of shape ()"),
        ({"g": np.ones(3) * 1j}, "give real numbers"),
        ({"g": np.array(["a"])}, "give real numbers"),
        ({"g": np.ones((0, 3))}, "of shape (0, 3)"),
        (
            {"ok": np.ones(3), "w": np.array([[1.0, 2], [np.nan, 1]])},
            "'w' holds NaN or inf in row 1",
        ),
        ({"g": np.array([np.inf])}, "NaN or inf in row 0"),
        ({"g": np.array([None])}, "is no .npz file of numbers"),
        ({}, "holds no array"),
    ],
)
def test_vectors_that_are_none_are_refused(run, tmp_path, arrays, words):
    np.savez(tmp_path / "g.npz", **arrays)
    outcome = run("--compressor", "topk:1", "--d", 2, "--vectors", tmp_path / "g.npz")
    refused(outcome, words, "g.npz")


def test_what_is_no_npz_file_is_refused(run, tmp_path):
    (tmp_path / "g.npz").write_text("1 2 3")
    np.save(tmp_path / "g.npy", np.ones(3))
    for name in ("g.npz", "g.npy"):
        refused(run("--d", 2, "--vectors", tmp_path / name), "is no .npz file", name)
    refused(run("--d", 2, "--vectors", tmp_path / "none.npz"), "No such file", "none.npz")


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--module", "claims.py"), "write FILE.py:NAME"),
        (("--module", "claims.txt:half"), "write FILE.py:NAME"),
        (("--module", "nowhere.py:half"), "nowhere.py"),
        (("--delta", "0.5"), "add --module"),
        (("--compressor", "topq:1"), "no compressor is called 'topq'"),
        (("--compressor", "topk:0"), "k must be a positive count"),
        (("--d", "0"), "0 is not in the range 1<=x<="),
        (("nothing",), "no figure of bounds is called 'nothing'"),
        (("scaledsgin",), "'scaledsgin': name a compressor by --compressor scaledsign"),
        (("topq:1",), "name a compressor by --compressor topk:1"),
    ],
)
def test_bad_usage_is_refused_in_one_sentence(run, words, reason):
    refused(run(*words), reason)


def test_a_pipe_is_no_module_and_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "fifo.py")
    refused(run("--module", f"{tmp_path}/fifo.py:f"), "fifo.py cannot be run (it is a pipe or a")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "holds no 'missing': choose from"),
        ("half", "pass --delta X"),
        ("number", "is neither a compressor nor a function"),
        ("Foreign", "is no efsgd.Compressor"),
        ("Scaling", "write mine = Scaling(...)"),
        ("broken", "line {line}: KeyError: 'no such key'"),
        ("expects_matrices", "claims.py, line "),
    ],
)
def test_what_is_wrong_with_a_module_is_told_with_its_file(run, module, name, reason):
    line = CLAIMS[: CLAIMS.index("    raise KeyError")].count("\n") + 1
    outcome = run("--module", f"{module}:{name}", "--d", 2)
    refused(outcome, reason.format(line=line), str(module))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\ny = (", "line 2: SyntaxError"),
        ("import numpy\n\nnumpy.no_such_thing()\n", "line 3: AttributeError"),
        ("raise SystemExit(3)\n", "line 1: SystemExit: 3"),
        (
            "import efsgd\n\n\nclass A(efsgd.Compressor, spec='topk'):\n    pass\n",
            "line 4: ValueError",
        ),
    ],
)
def test_a_file_that_does_not_run_is_told_with_its_line(run, tmp_path, text, reason):
    path = tmp_path / "bad.py"
    path.write_text(text)
    refused(run("--module", f"{path}:a", "--d", 2), f"{path}, {reason}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\ny = (", "line 2: SyntaxError"),
        ("delta = 0.5\n\n\ndef f(x):\n    return x.nothing\n", "line 5: AttributeError"),
        ("delta = 0.5\n\n\ndef f(x):\n    raise SystemExit(3)\n", "line 5: SystemExit: 3"),
    ],
)
def test_the_line_is_told_of_a_file_in_this_folder(run, tmp_path, monkeypatch, text, reason):
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    refused(run("--module", "mine.py:f", "--d", 2), f"mine.py, {reason}")


def test_delta_beside_a_compressor_is_refused(run, module):
    refused(run("--module", f"{module}:honest", "--delta", 0.5), "leave --delta out")
    refused(run("--module", f"{module}:half", "--delta", 1.5, "--d", 2), "at most 1, not 1.5")


# -- the picture and its verdicts -----------------------------------------------------------------


def judged(results):
    return {verdict.claim: verdict for verdict in zoo_claims.verdicts(results)}


def altered(results, name, **values):
    """The results with some numbers of one of them changed."""
    arrays = {array: np.array(value) for array, value in values.items()}
    changes = {array: lambda _, new=new: new for array, new in arrays.items()}
    return doctored(results, re.escape(name), changes)


def failing(results):
    return [claim for claim, verdict in judged(results).items() if verdict.passed is False]


def test_all_claims_pass_on_what_was_computed(results):
    assert failing(results) == []
    outcomes = [verdict.passed for verdict in judged(results).values()]
    # three compressors, two kinds of named vectors, certificates, two delta of unbiased ones, of
    # those without a bound, and of scaled ones
    assert outcomes.count(True) == 10


@pytest.mark.parametrize(
    ("name", "values", "claim"),
    [
        ("topk:0.5, d = 16", {"verdict": "VIOLATED", "reason": "it is"}, "topk:0.5: its delta"),
        ("terngrad, d = 2", {"verdict": "VIOLATED", "reason": "it is"}, "terngrad: its omega"),
        ("sign, d = 2", {"verdict": "VIOLATED", "reason": "wire"}, "sign: its delta"),
        ("threshold:linf=0.5, d = 16", {"attaining": 0.25}, "if nothing is random"),
        ("terngrad, d = 16", {"attaining": 1.3}, "at the vectors named as worst, random"),
        ("terngrad, d = 16", {"gap": 1e-5}, "solved certificates"),
        ("topk:0.5, d = 2", {"gap": np.nan}, "solved certificates"),
        ("terngrad, d = 2", {"stated": 0.82}, "unbiased: largest distance of delta"),
        ("terngrad, d = 16", {"stated": 1 - 1.5}, "unbiased: largest distance of delta"),
        ("terngrad, d = 2", {"contractive": 0.79}, "delta of contractive"),
        ("sign, d = 16", {"stated": 0.01}, "no bound: delta"),
        (zoo_claims.MULTIPLES, {"claimed": np.array([0.16, 0.5, 0.6, 0.0])}, "of C only delta"),
    ],
)
def test_every_claim_can_fail(results, name, values, claim):
    (failed,) = failing(altered(results, name, **values))
    assert claim in failed


MUTANTS = [  # a class, its formula, and a false one; at d = 2 and 16
    ("topk:0.25", efsgd.TopK, "_delta", lambda c, d: c._k(d) / d, lambda c, d: 2 * c._k(d) / d),
    ("topk:0.25", efsgd.TopK, "_delta", lambda c, d: c._k(d) / d, lambda c, d: (c._k(d) / d) ** 2),
    ("natural", efsgd.Natural, "_omega", lambda c, d: 1 / 8, lambda c, d: 1 / 9),
    ("natural", efsgd.Natural, "_omega", lambda c, d: 1 / 8, lambda c, d: 1 / 7),
]


@pytest.mark.parametrize(("spec", "kind", "name", "true", "false"), MUTANTS)
def test_a_constant_fails_if_it_is_too_large_and_if_it_is_too_small(
    monkeypatch, spec, kind, name, true, false
):
    def outcome(formula):
        monkeypatch.setattr(kind, name, formula)
        works = {f"{spec}, d = {d}": Bounds(efsgd.compressor(spec), d, 0, 100) for d in (2, 16)}
        return failing({name: computed(work) for name, work in works.items()})

    assert outcome(true) == []
    assert outcome(false)


def test_every_built_in_compressor_names_a_vector_that_is_its_worst():
    claiming = [c for c in BUILT_IN if c.guarantee not in ("absolute", "none")]
    assert len(BUILT_IN) - len(claiming) == 3  # sign, threshold:abs, powersgd
    for c in claiming:
        for d in delta_zoo.dimensions(quick=False):
            assert c.attaining_point(d).shape == (d,)


def test_the_built_in_blocks_have_several_sizes():
    # else the least delta over the blocks would be that of any of them
    (blocks,) = [c for c in BUILT_IN if isinstance(c, efsgd.Blockwise)]
    assert len(set(blocks.block_sizes(16))) == len(set(blocks.block_sizes(256))) == 2


def test_the_picture_shows_every_mark(results):
    bad = altered(results, "topk:0.5, d = 16", worst=-0.25, verdict="VIOLATED")
    phi = {"phi_g": np.array([0.1, 0.5, np.nan]), "phi_p": np.array([0.3])}
    sign = replace(results["topk:0.5, d = 16"], spec={"compressor": "scaledsign", "d": 16})
    real = Result(phi, {"model": "resnet8"}, {}, "t.npz")
    figure = delta_zoo.draw({**bad, "scaledsign, d = 16": sign, f"{trainings.REAL}, t": real})
    left, right = figure.axes
    assert [ax.get_title() for ax in figure.axes] == ["d = 2", "d = 16"]
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert {"claimed", "certified", "by an argument", "worst found"} <= labels
    assert any("resnet8" in text for text in labels)
    assert any(text.get_text().strip() == "-0.25" for text in right.texts)
    assert any(text.get_text() == "claims nothing" for text in left.texts)
    names = [label.get_text() for label in left.get_yticklabels()]
    assert "terngrad, /(1+$\\omega$)" in names
    (band,) = [line for line in right.lines if "resnet8" in str(line.get_label())]
    assert list(band.get_xdata()) == [0.1, 0.5]


def test_densities_of_a_training_are_drawn_where_there_is_one(run, tmp_path):
    arrays = {"phi_g": np.array([0.2, 0.4]), "phi_p": np.array([0.3, 0.6])}
    save(tmp_path / "results" / "cifar" / "training-1.npz", arrays, {"model": "resnet8"}, {})
    (tmp_path / "results" / "cifar" / "training-2.npz").write_text("damaged")
    outcome = run("--compressor", "scaledsign", "--d", 2)
    assert outcome.exit_code == 0, outcome.output
    of_g, of_p = [row for row in rows(tmp_path) if "real gradients" in row["source"]]
    assert of_g["measured"] == "0.2 to 0.4, median 0.3"
    assert of_p["measured"] == "0.3 to 0.6, median 0.45"
    run("--compressor", "topk:1", "--d", 2)
    other = [row for row in rows(tmp_path) if row["figure"].startswith("delta-zoo-topk-1")]
    assert other
    assert not [row for row in other if "real gradients" in row["source"]]
