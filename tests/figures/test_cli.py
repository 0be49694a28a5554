"""The ``efsgd-figures`` command on small pictures: files, tables, exit codes, error sentences.

Without this file a failed claim could leave the exit code 0, an interrupt could lose results, and
pictures could differ between runs, machines and numbers of workers.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from archives import but_made_by
from click.testing import CliRunner
from commands import refused
from project import python_path

import efsgd
from efsgd.figures import cli
from efsgd.figures.claims import verdicts
from efsgd.figures.drawing import style
from efsgd.figures.make import Options, Picture, make
from efsgd.figures.processes import pool
from efsgd.results import load, made_by, place, save

CALLS = []


@dataclass(frozen=True)
class Walk:
    """A random walk of R replicates; ``cost`` lets the pool begin with the longest."""

    steps: int = 30
    seed: int = 0
    cost: int = 0

    def compute(self):
        CALLS.append(self)
        noise = np.random.default_rng(self.seed).standard_normal((self.steps, 6))
        return {"loss": 1.0 + noise.cumsum(0) ** 2, "step": np.arange(self.steps)}


@dataclass(frozen=True)
class Threads:
    """How many BLAS threads this process was told to use; 0 if nothing was said."""

    salt: int = 0

    def compute(self):
        return {"threads": np.array(int(os.environ.get("OMP_NUM_THREADS", 0)))}


@dataclass(frozen=True)
class Failing:
    error: str

    def compute(self):
        if self.error == "ValueError":
            raise ValueError("the step size is\n  too large")
        if self.error == "OSError":
            raise FileNotFoundError(2, "No such file or directory", "data.txt")
        if self.error == "killed":
            os._exit(9)
        raise IndexError("a mistake of ours")


@dataclass(frozen=True)
class Slow:
    seconds: float

    def compute(self):
        time.sleep(self.seconds)
        return {"a": np.zeros(2)}


def walks(quick, seed):
    steps = 4 if quick else 30
    return {"SGD": Walk(steps, seed), "EF-signSGD": Walk(steps, seed + 1)}


def draw(results):
    figure, axes = style.panels(1, 2)
    for label, result in results.items():
        style.spread(axes[0, 0], result["step"], result["loss"], label)
        style.spread(axes[0, 1], result["step"], result["loss"][:, :1], label)
    axes[0, 0].set(xlabel="step", ylabel="loss", yscale="log")
    axes[0, 0].legend()
    return figure


def judge(results):
    least = min(result["loss"].min() for result in results.values())
    return [
        verdicts.claim("the loss is never below 1", "derived here", least, ">=", 1.0),
        verdicts.does_not_hold("walks are flat", "nobody", "the walk moves", shown=True),
        verdicts.observation("the walks end somewhere", "derived here", "at 3"),
    ]


def failing_claim(results):
    return [*judge(results), verdicts.claim("pi is 3", "Indiana, 1897", np.pi, "==", 3.0)]


WALKS = Picture("walks", "Two random walks", walks, draw, judge)
OTHERS = replace(WALKS, name="more-walks", title="The same walks once more")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the command in an empty folder with pictures of our own; CALLS starts empty."""
    monkeypatch.chdir(tmp_path)
    CALLS.clear()

    def run(*arguments, pictures=(WALKS, OTHERS), catch=False):
        monkeypatch.setitem(cli.TRACKS, "convex", lambda: pictures)
        arguments = [str(a) for a in arguments]
        return CliRunner().invoke(cli.main, arguments, catch_exceptions=catch)

    return run


# -- what a command leaves ------------------------------------------------------------------------


def test_a_command_makes_pictures_results_and_verdicts(call):
    done = call("convex", "--jobs", 1)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sorted(os.listdir("figures-out")) == ["more-walks.png", "verdicts.json", "walks.png"]
    works = walks(False, 0).values()
    assert set(Path("results/convex").iterdir()) == {
        place(work, "results/convex") for work in works
    }
    assert len(CALLS) == 2  # though two pictures need both
    for words in ("figures-out/walks.png", "4 claims: 4 pass, 0 fail; 2 observations", "pass"):
        assert words in done.stdout
    assert call("convex", "--jobs", 1).exit_code == 0
    assert len(CALLS) == 2
    assert call("convex", "--jobs", 1, "--again").exit_code == 0
    assert len(CALLS) == 4


def test_a_name_and_a_seed_choose_what_is_made(call):
    assert call("convex", "walks", "walks", "--jobs", 1, "--seed", 5).exit_code == 0
    assert [walk.seed for walk in CALLS] == [5, 6]
    assert sorted(os.listdir("figures-out")) == ["verdicts.json", "walks.png"]
    assert {row["figure"] for row in rows()} == {"walks"}


def test_the_folders_can_be_chosen(call):
    assert call("convex", "walks", "--out", "a/b", "--results", "c", "--jobs", 1).exit_code == 0
    assert sorted(os.listdir("a/b")) == ["verdicts.json", "walks.png"]
    assert len(os.listdir("c/convex")) == 2


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_picture_names_its_results_and_repeats_its_bytes(call, kind):
    arguments = ("convex", "walks", "--jobs", 1, "--format", kind)
    assert call(*arguments).exit_code == 0
    assert sorted(os.listdir("figures-out")) == ["verdicts.json", f"walks.{kind}"]
    picture = Path("figures-out", f"walks.{kind}").read_bytes()
    assert b"Two random walks" in picture
    for work in walks(False, 0).values():
        assert place(work, ".").name.encode() in picture
    assert call(*arguments, "--out", "again").exit_code == 0
    assert Path("again", f"walks.{kind}").read_bytes() == picture


def test_vector_pictures_are_vectors_with_text(call):
    done = call("convex", "walks", "--jobs", 1, "--format", "svg", "--format", "pdf")
    assert done.exit_code == 0
    svg = Path("figures-out/walks.svg").read_text()
    assert "<image" not in svg
    assert ">EF-signSGD</text>" in svg
    pdf = Path("figures-out/walks.pdf").read_bytes()
    assert b"/Subtype /Image" not in pdf
    assert b"/FontFile2" in pdf  # TrueType, which can be searched and edited
    assert b"/Type3" not in pdf


def test_quick_marks_the_pictures_and_gives_no_verdicts(call):
    assert call("convex", "walks", "--jobs", 1, "--format", "svg").exit_code == 0
    full = Path("figures-out/walks.svg").read_text()
    assert ">quick: " not in full
    before = rows()
    assert len(before) == 3
    done = call(
        "convex", "walks", "--jobs", 1, "--format", "svg", "--quick",
        pictures=(replace(WALKS, verdicts=failing_claim),),
    )  # fmt: skip
    assert done.exit_code == 0
    assert ">quick: " in Path("figures-out/walks-quick.svg").read_text()
    assert Path("figures-out/walks.svg").read_text() == full
    assert rows() == before
    assert "no verdicts" in done.stdout
    assert [walk.steps for walk in CALLS] == [30, 30, 4, 4]


def test_the_users_own_matplotlib_settings_do_not_matter(call):
    import matplotlib

    assert call("convex", "walks", "--jobs", 1).exit_code == 0
    plain = Path("figures-out/walks.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert call("convex", "walks", "--jobs", 1).exit_code == 0
        assert matplotlib.rcParams["font.size"] == 30
    assert Path("figures-out/walks.png").read_bytes() == plain


# -- verdicts -------------------------------------------------------------------------------------


def rows():
    return json.loads(Path("figures-out/verdicts.json").read_text())


def test_verdicts_json_has_exactly_these_fields(call):
    call("convex", "walks", "--jobs", 1)
    claim, false_claim, observation = rows()
    names = ["figure", "kind", "claim", "source", "expected", "measured", "pass"]
    names += ["command", "options", "code"]
    assert [list(row) for row in rows()] == [names] * 3
    assert {(row["command"], row["options"]) for row in rows()} == {("convex", "")}
    assert claim["code"] == (made_by()["git"] or made_by()["efsgd"])
    assert (claim["figure"], claim["kind"], claim["pass"]) == ("walks", "claim", True)
    assert (claim["expected"], claim["claim"]) == (">= 1", "the loss is never below 1")
    assert (false_claim["kind"], false_claim["expected"]) == ("claim", "does not hold")
    assert false_claim["pass"] is True
    assert (observation["kind"], observation["pass"]) == ("observation", None)


def test_a_failed_claim_is_exit_code_1_and_an_observation_never(call):
    bad = replace(WALKS, verdicts=failing_claim)
    done = call("convex", "--jobs", 1, pictures=(bad, OTHERS))
    assert done.exit_code == 1
    assert "FAIL" in done.stdout
    assert "5 claims: 4 pass, 1 fail; 2 observations" in done.stdout
    assert [row["pass"] for row in rows()] == [True, True, None, False, True, True, None]
    observing = replace(WALKS, verdicts=lambda results: judge(results)[2:])
    done = call("convex", "--jobs", 1, pictures=(observing,))
    of_walks = [row["pass"] for row in rows() if row["figure"] == "walks"]
    assert (done.exit_code, of_walks) == (0, [None])


def test_a_run_leaves_the_verdicts_of_other_figures_and_answers_for_its_own(call):
    bad = replace(OTHERS, verdicts=failing_claim)
    assert call("convex", "--jobs", 1, "--seed", 4, pictures=(WALKS, bad)).exit_code == 1
    done = call("convex", "walks", "--jobs", 1, "--format", "svg", pictures=(WALKS, bad))
    assert (done.exit_code, ", 0 fail" in done.stdout) == (0, True)
    options = [(row["figure"], row["options"], row["pass"]) for row in rows()]
    walks_first = [("walks", "", passed) for passed in (True, True, None)]
    assert options == walks_first + [
        ("more-walks", "--seed 4", passed) for passed in (True, True, None, False)
    ]


def test_a_file_of_something_else_is_never_taken_for_verdicts(call):
    Path("figures-out").mkdir()
    Path("figures-out/verdicts.json").write_text('{"my": "notes"}')
    done = call("convex", "--jobs", 1)
    assert refused(done, "verdicts.json holds no verdicts: remove it, or choose another folder")
    assert CALLS == []
    assert Path("figures-out/verdicts.json").read_text() == '{"my": "notes"}'


@pytest.mark.parametrize(
    ("measured", "relation", "bound", "passes"),
    [
        (1.0, "<", 1.0, False),
        (1.0, "<=", 1.0, True),
        (1.0, "==", 1.0, True),
        (1.0, ">=", 1.0, True),
        (1.0, ">", 1.0, False),
        (float("nan"), "<=", 1.0, False),
        (np.float32(2.0), ">", 1, True),
    ],
)
def test_a_claim_compares(measured, relation, bound, passes):
    verdict = verdicts.claim("c", "s", measured, relation, bound)
    assert verdict.passed is passes
    assert json.loads(json.dumps(verdict.row("f")))["pass"] is passes


@pytest.mark.parametrize(
    ("mean", "passes"), [(1.0, True), (1.39, True), (0.61, True), (1.41, False), (np.nan, False)]
)
def test_a_claim_in_expectation_allows_four_standard_errors(mean, passes):
    verdict = verdicts.claim_mean("c", "s", mean, error=0.1, expected=1.0)
    assert verdict.passed is passes
    assert verdict.expected == "1 within 4 s.e."


# -- bad input ------------------------------------------------------------------------------------


def test_an_unknown_figure_lists_the_known_ones(call):
    assert refused(call("convex", "wlaks"), "'wlaks'", "did you mean 'walks'?", "more-walks")
    assert refused(call("convex", "zzz"), "'zzz'", "walks, more-walks")
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], ["--bogus"]),
        (["nonsense"], ["nonsense"]),
        (["convex", "--job", "1"], ["--job", "--jobs"]),
        (["convex", "--jobs", "0"], ["--jobs", "0"]),
        (["convex", "--jobs", "x"], ["--jobs", "x"]),
        (["convex", "--seed", "-1"], ["--seed", "-1"]),
        (["convex", "--format", "gif"], ["gif", "png", "svg"]),
        (["convex", "--out", "file"], ["--out", "file"]),
        (["convex", "--out", "file/sub"], ["file/sub"]),
        (["convex", "--jobs", "1", "--results", "file/sub"], ["cannot write file/sub/convex"]),
        (["show"], ["FILE.npz"]),
        (["show", "nowhere.npz"], ["nowhere.npz", "does not exist"]),
        (["show", "file"], ["file", "damaged or no result"]),
        (["show", "."], [". holds no .npz file"]),
        (["show", "file", "nowhere.npz"], ["nowhere.npz", "does not exist"]),
        (["results", "wlaks"], ["'wlaks'", "did you mean 'walks'?"]),
        (["wlaks"], ["'wlaks'", "did you mean 'efsgd-figures convex walks'?"]),
        (["covnex"], ["'covnex'", "Did you mean 'convex'?"]),
        (["theory", "more-walk"], ["theory", "'efsgd-figures convex more-walks'?", "rate"]),
        (["convex", "theorem-three"], ["convex", "'efsgd-figures theory theorem-three'?"]),
        (["convex", "--preset", "small"], ["'--preset'", "of cifar and tune"]),
        (["bounds", "--d", "131073"], ["--d", "1<=x<=131072"]),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(call, arguments, words):
    Path("file").write_text("not a result")
    assert refused(call(*arguments), *words)


def test_what_killed_commands_left_goes_at_the_start(call):
    """Also in folders into which this command writes nothing."""
    folders = [Path(name) for name in ("figures-out", "results/cifar", "results/cifar/checkpoints")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / ".a.npz.012345.efsgd").write_bytes(b"half")
    call("convex", "walks", "--jobs", 1)
    assert [path for folder in folders for path in folder.glob(".*")] == []


def test_pictures_that_cannot_be_written_are_refused_before_the_work(call, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refused(call("convex", "--jobs", 1), "cannot write into figures-out: choose another")
    assert CALLS == []


def test_a_full_disk_leaves_no_half_picture(call, monkeypatch):
    call("convex", "walks", "--jobs", 1)
    before = Path("figures-out/walks.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert refused(call("convex", "walks", "--jobs", 1), "cannot write figures-out/walks.png")
    assert sorted(os.listdir("figures-out")) == ["verdicts.json", "walks.png"]
    assert Path("figures-out/walks.png").read_bytes() == before


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("ValueError", "failed: ValueError: the step size is too large"),
        ("OSError", "failed: FileNotFoundError: [Errno 2] No such file or directory: 'data.txt'"),
    ],
)
def test_a_failing_work_names_itself(call, jobs, error, words):
    bad = replace(WALKS, work=lambda quick, seed: {"SGD": Failing(error)})
    assert refused(call("convex", "--jobs", jobs, pictures=(bad,)), "walks, SGD " + words)


def test_a_killed_worker_is_reported(call):
    bad = replace(WALKS, work=lambda quick, seed: {"SGD": Failing("killed")})
    done = call("convex", "--jobs", 2, pictures=(bad,))
    assert refused(done, "walks, SGD failed", "a worker died (exit code 9)", "--jobs 1")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bug_keeps_its_trace(call, jobs):
    bad = replace(WALKS, work=lambda quick, seed: {"SGD": Failing("IndexError")})
    done = call("convex", "--jobs", jobs, pictures=(bad,))
    assert done.exit_code == 3
    assert "walks, SGD failed: IndexError: a mistake of ours" in done.stderr
    assert "in compute" in done.stderr  # also where a worker computed
    bad = replace(WALKS, draw=lambda results: np.ones(2).reshape(3))
    done = call("convex", "--jobs", jobs, pictures=(bad,))
    assert done.exit_code == 3
    assert "the picture walks fails on its results" in done.stderr
    assert "ValueError" in done.stderr  # its cause


# -- workers --------------------------------------------------------------------------------------


def test_two_workers_give_the_bytes_of_none(call):
    formats = [word for kind in ("png", "pdf", "svg") for word in ("--format", kind)]
    for jobs in (1, 2):
        folders = ("--out", f"out{jobs}", "--results", f"results{jobs}")
        assert call("convex", "--jobs", jobs, *folders, *formats).exit_code == 0
    results = [sorted(Path(f"results{jobs}/convex").iterdir()) for jobs in (1, 2)]
    assert [p.name for p in results[0]] == [p.name for p in results[1]]
    assert [but_made_by(p) for p in results[0]] == [but_made_by(p) for p in results[1]]
    pictures = [sorted(Path(f"out{jobs}").iterdir()) for jobs in (1, 2)]
    assert len(pictures[0]) == 7
    assert [p.read_bytes() for p in pictures[0]] == [p.read_bytes() for p in pictures[1]]


def test_workers_have_one_blas_thread_each_and_the_environment_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    works = {"a": Threads(1), "b": Threads(2)}
    results = pool.obtain_all(works, tmp_path, jobs=2)
    assert [int(result["threads"]) for result in results.values()] == [1, 1]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_equal_work_is_done_once_and_the_longest_comes_first(tmp_path):
    CALLS.clear()
    works = {"a": Walk(2, 0), "b": Walk(3, 0, cost=5), "c": Walk(2, 0), "d": Walk(4, 0, cost=9)}
    assert len(pool.obtain_all(works, tmp_path)) == 3
    assert [walk.cost for walk in CALLS] == [9, 5, 0]


def test_nothing_to_do_starts_no_worker(tmp_path, monkeypatch):
    works = {"a": Walk(2)}
    pool.obtain_all(works, tmp_path)
    monkeypatch.setattr(pool, "workers", None)
    assert len(pool.obtain_all(works, tmp_path, jobs=4)) == 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "patience", "expected"),
    [(Terminal, -1.0, True), (Terminal, 1e9, False), (io.StringIO, -1.0, False)],
)
def test_a_bar_is_for_long_work_on_a_terminal(tmp_path, monkeypatch, stream, patience, expected):
    monkeypatch.setattr(pool, "PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", stream())
    pool.obtain_all({"a": Walk(2), "b": Walk(3)}, tmp_path)
    text = sys.stderr.getvalue()
    assert ("computing" in text and "100%" in text) == bool(text) == expected


def test_an_interrupt_in_this_process_says_what_is_kept(call, monkeypatch):
    def interrupted(self):
        if self.seed == 1:
            raise KeyboardInterrupt
        return {"loss": np.ones((2, 2)), "step": np.arange(2)}

    monkeypatch.setattr(Walk, "compute", interrupted)
    done = call("convex", "--jobs", 1)
    assert done.exit_code == 130
    assert "1 of 2 new results are kept in results/convex" in done.stderr


def ended(group, patience=300.0):
    """Whether all processes of a group end by themselves; multiprocessing's own tracker is last."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


INTERRUPTED = """
import test_cli
works = {str(i): test_cli.Slow(0.001 * i if i < 2 else 60.0 + i) for i in range(4)}
picture = test_cli.replace(test_cli.WALKS, work=lambda quick, seed: works)
test_cli.cli.TRACKS["convex"] = lambda: (picture,)
if __name__ == "__main__":
    test_cli.cli.main(["convex", "--jobs", "2"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
def test_ctrl_c_ends_all_workers_and_keeps_what_is_finished(tmp_path):
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": python_path(__file__)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(tmp_path.glob("results/convex/slow-*.npz"))) < 2 and command.poll() is None:
        time.sleep(0.05)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    _, error = command.communicate(timeout=300)
    assert command.returncode == 130
    assert re.fullmatch(
        r"Error: interrupted: [0-2] of 4 new results are kept in results/convex, "
        r"and the same command goes on from there\n",
        error,
    )
    assert len(os.listdir(tmp_path / "results/convex")) == 2
    assert ended(command.pid)


# -- list, show, help -----------------------------------------------------------------------------


def test_list_names_every_figure_and_its_command(call):
    listed = call("list").stdout.splitlines()
    assert [line.split("  ")[0] for line in listed[:2]] == [
        "efsgd-figures convex walks",
        "efsgd-figures convex more-walks",
    ]
    titles = ("Two random walks", "The same walks once more")
    assert len({line.index(title) for line, title in zip(listed, titles, strict=False)}) == 1


def test_the_list_fits_a_narrow_terminal(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    lines = call("list", pictures=(replace(WALKS, title="of two walks " * 9),)).stdout.splitlines()
    assert max(map(len, lines)) <= 50
    assert sum(line.count("of two walks") for line in lines) >= 5  # no word is lost
    assert " ".join(" ".join(lines).split()).count("walks") >= 10


def test_show_reads_what_a_command_wrote(call):
    call("convex", "walks", "--jobs", 1)
    paths = [place(work, "results/convex") for work in walks(False, 0).values()]
    for work, path in zip(walks(False, 0).values(), paths, strict=True):
        done = call("show", path)
        assert f'"seed": {work.seed}' in done.stdout
        assert f"mean {load(path)['loss'][-1].mean():.6g}" in done.stdout
    both = call("show", *paths).stdout
    assert all(f"{path}\n\nspec\n" in both for path in paths)
    assert both.count('"numpy"') == 2


def test_results_are_listed_by_figure(call):
    assert "2 of 2 are missing, efsgd-figures convex walks" in call("results", "walks").stdout
    call("convex", "walks", "--jobs", 1)
    sgd, ef = (place(work, "results/convex") for work in walks(False, 0).values())
    old = load(ef)
    save(ef, old.arrays, old.spec, old.made_by | {"code": "0" * 64})
    lines = [" ".join(line.split()) for line in call("results", "walks").stdout.splitlines()]
    assert lines == [
        "convex walks: Two random walks",
        "result file state",
        f"SGD {sgd} up to date",
        f"EF-signSGD {ef} stale",
    ]
    sgd.write_bytes(b"no archive")
    assert f"{sgd}  damaged" in call("results").stdout
    quick = call("results", "walks", "--quick", "--seed", 3).stdout
    assert "2 of 2 are missing" in quick  # other results than those of a full picture


def test_help_is_short_and_version_is_the_packages(call):
    for flag in ("-h", "--help"):
        done = call(flag)
        assert done.exit_code == 0
        assert all(word in done.stdout for word in ("convex", "list", "show", "Exit codes"))
        assert "..." not in done.stdout.replace("[ARGS]...", "")
    for option in ("--quick", "--out", "--results", "--format", "--again", "--jobs", "--seed"):
        assert option in call("convex", "-h").stdout
    assert call("--version").stdout.startswith("efsgd-figures, version ")
    assert call().exit_code == 2


def test_the_python_function_is_as_good_as_the_command(tmp_path):
    options = Options(out=tmp_path / "out", results=tmp_path / "results")
    assert make([WALKS], options) == 0
    assert make([replace(WALKS, verdicts=failing_claim)], options) == 1


def test_a_closed_pipe_is_silent(tmp_path):
    code = """
import os, sys
from efsgd.figures import cli
from test_cli import WALKS
cli.TRACKS["convex"] = lambda: (WALKS,) * 9
cli.main(["list"])
"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": python_path(__file__)},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.stderr == ""


def test_to_list_the_figures_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from efsgd.figures import cli\n"
        "cli.main(['list'], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(efsgd.__file__).parents[1])},
    )
    assert run.stdout.count("efsgd-figures convex ") >= 4
    assert {"matplotlib", "scipy", "cvxpy", "torch"}.isdisjoint(run.stderr.split())


# -- style ----------------------------------------------------------------------------------------


def test_every_method_differs_in_more_than_its_colour():
    looks = list(style.METHODS.values())
    assert len({(dashes, marker) for _, dashes, marker in looks}) == len(looks)


def test_a_label_may_say_more_than_the_method():
    plain = style.line("EF-signSGD")
    assert style.line("EF-signSGD (ternary)") == plain | {"label": "EF-signSGD (ternary)"}
    with pytest.raises(ValueError, match=r"no style for 'Adam': add it to METHODS"):
        style.line("Adam")
