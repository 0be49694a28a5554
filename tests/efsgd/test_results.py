"""Result files: what names them, what is in them, and what happens when something goes wrong.

Without this file a stale or damaged result could be used, one work could find the result of
another, and a failed write could destroy what was saved before.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, make_dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from archives import but_made_by, members
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from project import python_path

import efsgd
from efsgd import provenance, results
from efsgd.provenance import optional
from efsgd.results import find, key, load, made_by, obtain, place, save, spec_of

SPEC = {"type": "some.Work", "lr": 0.1, "at": [1, 2]}


@dataclass(frozen=True)
class Inner:
    eps: float = 0.5


@dataclass(frozen=True)
class Squares:
    """A small work; ``calls`` counts how often it is computed."""

    n: int = 3
    inner: Inner = Inner()
    calls = 0

    def compute(self):
        Squares.calls += 1
        table = np.arange(2.0 * self.n).reshape(2, self.n).T  # not C-contiguous
        return {"square": np.arange(self.n) ** 2, "table": table, "scalar": np.float64(1.5)}


@dataclass(frozen=True)
class Holder:
    value: object


# -- the spec and its key -------------------------------------------------------------------------


def test_a_spec_names_the_type_and_the_fields_at_any_depth():
    assert spec_of(Squares(4)) == {
        "type": f"{__name__}.Squares",
        "n": 4,
        "inner": {"type": f"{__name__}.Inner", "eps": 0.5},
    }


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (None, None),
        (True, True),
        ("a", "a"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        ((1, (2.0, "x")), [1, [2.0, "x"]]),
        (efsgd.TopK(0.01), "topk:0.01"),
        (efsgd.ScaledSign(zero=0), "scaledsign:zero=0"),
    ],
)
def test_what_a_field_becomes(value, described):
    assert spec_of(Holder(value))["value"] == described


def test_arrays_and_sparse_matrices_are_digests_of_their_values():
    from scipy import sparse

    a = np.array([[0.0, 2.0], [3.0, 0.0]])
    sha = hashlib.sha256(np.array([0.0, 2.0, 3.0, 0.0], "<f8").tobytes()).hexdigest()
    assert spec_of(Holder(a))["value"] == {"sha256": sha, "shape": [2, 2], "dtype": "<f8"}
    assert spec_of(Holder(np.asfortranarray(a))) == spec_of(Holder(a))
    assert spec_of(Holder(a.T)) != spec_of(Holder(a))
    matrix = spec_of(Holder(sparse.csr_array(a)))
    assert matrix["value"]["shape"] == [2, 2]
    assert spec_of(Holder(sparse.coo_array(a))) == matrix
    assert spec_of(Holder(sparse.csr_array(2 * a))) != matrix


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.inf, Path("data"), {"a": 1}, object(), max, np.array([None]), 1j, b"x"],
)
def test_what_cannot_be_written_down_is_refused_with_its_field(value):
    with pytest.raises(ValueError, match=r"Holder\.value\[1\]\.value = .* cannot be part"):
        spec_of(Holder((1, Holder(value))))


def test_only_frozen_dataclasses_have_a_spec():
    loose = make_dataclass("Loose", ["n"])
    with pytest.raises(ValueError, match="only a frozen dataclass has a spec, not Loose"):
        spec_of(loose(1))
    with pytest.raises(ValueError, match=r"Holder\.value = Loose\(n=1\) cannot be part"):
        spec_of(Holder(loose(1)))
    with pytest.raises(ValueError, match=r"Typed\.type cannot be part of a spec: give the field"):
        spec_of(make_dataclass("Typed", ["type"], frozen=True)("x"))


@dataclass(frozen=True)
class Option:
    n: int = 1
    fast: bool = optional(False)
    sizes: tuple[int, ...] = optional((1, 2))


def test_an_optional_field_is_in_the_spec_only_where_it_was_changed():
    assert Option() == Option(1, False, (1, 2))
    plain = {"type": f"{__name__}.Option", "n": 1}
    assert spec_of(Option()) == spec_of(Option(sizes=[1, 2])) == plain
    assert spec_of(Option(fast=True)) == plain | {"fast": True}
    assert spec_of(Holder(Option(2, sizes=())))["value"] == plain | {"n": 2, "sizes": []}


def test_a_new_optional_field_changes_no_key():
    fields = [("n", int, 1)]
    same = {"frozen": True, "namespace": {"__module__": __name__}}
    before, after = (
        make_dataclass("Work", [*fields, *more], **same)
        for more in ([], [("fast", bool, optional(False))])
    )
    assert key(spec_of(after())) == key(spec_of(before()))
    assert key(spec_of(after(fast=True))) != key(spec_of(before()))


def test_what_an_optional_field_cannot_hold_is_refused_all_the_same():
    with pytest.raises(ValueError, match=r"Option\.fast = nan cannot be part of a spec"):
        spec_of(Option(fast=float("nan")))


def test_a_cached_property_is_no_part_of_the_spec():
    @dataclass(frozen=True)
    class Lazy:
        n: int = 1

        @cached_property
        def data(self):
            return np.zeros(self.n)

    fresh, used = Lazy(), Lazy()
    assert used.data.shape == (1,)
    assert spec_of(used) == spec_of(fresh)


def test_the_key_is_a_hash_of_canonical_json():
    text = b'{"at":[1,2],"lr":0.1,"type":"some.Work"}'
    assert key(SPEC) == hashlib.sha256(text).hexdigest()[:16]
    assert key(dict(reversed(SPEC.items()))) == key(SPEC)


def test_the_key_is_the_same_in_another_process():
    code = "from test_results import *; print(key(spec_of(Squares(7, Inner(0.1)))))"
    for seed in ("1", "2"):
        assert _python(code, PYTHONHASHSEED=seed) == key(spec_of(Squares(7, Inner(0.1))))


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0, 1), st.floats(0, 1))
def test_different_work_has_a_different_key(n, m, eps, other):
    same = (n, eps.hex()) == (m, other.hex())
    assert (key(spec_of(Squares(n, Inner(eps)))) == key(spec_of(Squares(m, Inner(other))))) == same


# -- files ----------------------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.sampled_from(["loss", "x_final", "step", "a b", "ä"]),
        hnp.arrays(
            st.sampled_from(["<f8", "<f4", "<i8", "bool", "<U3"]),
            hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
        ),
    )
)
def test_round_trip(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("round") / "a.npz"
    save(path, arrays, SPEC, {"seconds": 1.5, "git": None})
    saved = load(path)
    assert (saved.spec, saved.made_by, saved.path) == (SPEC, {"seconds": 1.5, "git": None}, path)
    with np.load(path, allow_pickle=False) as plain:
        assert set(plain) == {*arrays, "spec", "made_by"}
        assert json.loads(str(plain["spec"])) == SPEC
        for name, array in arrays.items():
            assert saved[name].dtype == plain[name].dtype == array.dtype
            np.testing.assert_array_equal(saved[name], array, strict=True)
            np.testing.assert_array_equal(plain[name], array, strict=True)


def test_the_same_result_is_the_same_bytes(tmp_path):
    arrays, reordered = (
        {"a": np.ones((2, 3)), "b": np.arange(3)},
        {"b": np.arange(3), "a": np.ones((3, 2)).T},
    )
    save(tmp_path / "1", arrays, SPEC, {"who": "I"})
    save(tmp_path / "2", reordered, dict(reversed(SPEC.items())), {"who": "I"})
    save(tmp_path / "3", arrays, SPEC, {"who": "somebody else"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert members(tmp_path / "1").keys() == {"a.npy", "b.npy", "spec.npy", "made_by.npy"}
    assert but_made_by(tmp_path / "1") == but_made_by(tmp_path / "3")


def test_a_missing_array_is_named(tmp_path):
    with pytest.raises(KeyError, match=r"squares-\w+\.npz has no 'loss', it has scalar, square"):
        obtain(Squares(), tmp_path)["loss"]


@pytest.mark.parametrize("name", ["spec", "made_by", "objects"])
def test_what_a_result_cannot_hold(tmp_path, name):
    array = np.array([None]) if name == "objects" else np.zeros(2)
    with pytest.raises(ValueError, match=f"a result cannot hold '{name}' of dtype"):
        save(tmp_path / "a.npz", {name: array}, SPEC, {})
    assert list(tmp_path.iterdir()) == []


def broken_files(folder):
    """Name -> a file that is no whole result."""
    good = folder / "good.npz"
    save(good, {"a": np.arange(99.0)}, SPEC, {})
    whole = good.read_bytes()
    contents = {
        "empty": b"",
        "text": b"what is this?\n" * 9,
        "truncated": whole[: len(whole) // 2],
        "no-directory": whole[:-30],
        "flipped": whole[:120] + bytes([whole[120] ^ 255]) + whole[121:],
        "moved": b"x" + whole[:-10],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    savers = {
        "foreign": lambda file: np.savez(file, a=np.zeros(3)),
        "half": lambda file: np.savez(file, spec=np.array("{}")),
        "no-json": lambda file: np.savez(file, spec=np.array("{"), made_by=np.array("{}")),
        "list": lambda file: np.savez(file, spec=np.array("[]"), made_by=np.array("{}")),
        "pickle": lambda file: np.savez(file, a=np.array([{}], dtype=object)),
        "npy": lambda file: np.save(file, np.zeros(3)),
    }
    for name, saver in savers.items():
        with open(folder / name, "wb") as file:
            saver(file)
    with zipfile.ZipFile(folder / "long", "w") as archive:
        header = folder / "npy"
        archive.writestr("a.npy", header.read_bytes() + b"more")
    return {path.name: path for path in folder.iterdir() if path != good}


def test_every_broken_file_is_refused_in_one_sentence(tmp_path):
    broken = broken_files(tmp_path)
    assert len(broken) == 13
    for name, path in broken.items():
        with pytest.raises(
            ValueError, match=r"name another$|name a file that efsgd wrote$"
        ) as info:
            load(path)
        assert str(path) in str(info.value), name
        assert "\n" not in str(info.value), name


def test_no_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.npz")


# -- writing that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.npz"
    save(path, {"a": np.zeros(2)}, SPEC, {})
    before = path.read_bytes()
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match=r"cannot write .*a\.npz \(No space left on device\): make"):
        save(path, {"a": np.ones(2)}, SPEC, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "a.npz"
    save(path, {"a": np.zeros(2), "b": np.zeros(2)}, SPEC, {})
    before = path.read_bytes()
    plain = np.lib.format.write_array
    written = []

    def stop(file, array, **kwargs):
        written.append(array)
        if len(written) == 2:
            raise error
        plain(file, array, **kwargs)

    monkeypatch.setattr(np.lib.format, "write_array", stop)
    with pytest.raises(error):
        save(path, {"a": np.ones(2), "b": np.ones(2)}, SPEC, {})
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_one_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/sub/a\.npz .*choose another folder"):
        save(tmp_path / "file" / "sub" / "a.npz", {}, SPEC, {})


# -- obtain ---------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(Squares, "calls", 0)
    return lambda: Squares.calls


def test_obtain_computes_once_and_gives_the_same_either_way(tmp_path, calls):
    first, second = obtain(Squares(), tmp_path), obtain(Squares(), tmp_path)
    assert calls() == 1
    assert first.path == second.path == place(Squares(), tmp_path)
    assert first.path.name == f"squares-{key(spec_of(Squares()))}.npz"
    assert (first.spec, first.made_by) == (second.spec, second.made_by)
    assert list(first.arrays) == list(second.arrays) == ["scalar", "square", "table"]
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(second[name], array, strict=True)
        assert second[name].flags.c_contiguous == array.flags.c_contiguous


def test_obtain_again_and_other_work_compute(tmp_path, calls):
    obtain(Squares(), tmp_path)
    obtain(Squares(), tmp_path, again=True)
    obtain(Squares(4), tmp_path)
    obtain(Squares(), tmp_path / "elsewhere")
    assert calls() == 4


@pytest.mark.parametrize("name", ["code", "numpy", "scipy", "python"])
def test_a_result_of_other_code_or_versions_is_computed_anew(tmp_path, monkeypatch, calls, name):
    obtain(Squares(), tmp_path)
    now = made_by(Squares()) | {name: "other"}
    monkeypatch.setattr(results, "made_by", lambda work: dict(now))
    assert find(Squares(), tmp_path) is None
    assert obtain(Squares(), tmp_path).made_by[name] == "other"
    obtain(Squares(), tmp_path)
    assert calls() == 2


def test_a_result_of_code_that_nobody_can_name_is_never_used(tmp_path, monkeypatch, calls):
    monkeypatch.setattr(provenance, "digest", lambda work: None)
    obtain(Squares(), tmp_path)
    obtain(Squares(), tmp_path)
    assert calls() == 2


def test_a_damaged_or_misplaced_result_is_computed_anew(tmp_path, calls):
    path = place(Squares(), tmp_path)
    for content in [p.read_bytes() for p in broken_files(tmp_path).values()]:
        path.write_bytes(content)
        assert obtain(Squares(), tmp_path)["scalar"] == 1.5
    assert calls() == 13
    shutil.copy(obtain(Squares(5), tmp_path).path, path)
    assert obtain(Squares(), tmp_path)["square"].tolist() == [0, 1, 4]


def test_the_same_work_gives_the_same_bytes_outside_made_by(tmp_path):
    first, second = (obtain(Squares(), tmp_path / name).path for name in "ab")
    assert but_made_by(first) == but_made_by(second)


# -- what made it ---------------------------------------------------------------------------------


def test_made_by_names_versions_sources_and_machine(tmp_path):
    import scipy

    made = obtain(Squares(), tmp_path).made_by
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert (made["numpy"], made["scipy"], made["python"]) == (
        np.__version__,
        scipy.__version__,
        python,
    )
    assert made["device"] == "cpu"
    assert made["created"].endswith("+00:00")
    assert made["seconds"] >= 0
    assert set(made) >= {"efsgd", "git", "code", "platform"}


USER = """
import sys
from dataclasses import dataclass
import numpy as np
from efsgd.results import obtain

@dataclass(frozen=True)
class Mine:
    n: int = 1
    def compute(self):
        return {"x": np.full(2, FACTOR * self.n)}

print(obtain(Mine(), sys.argv[1])["x"][0])
"""


def test_a_changed_script_of_the_user_is_computed_anew(tmp_path):
    script = tmp_path / "mine.py"
    for factor in (3, 3, 5):
        script.write_text(USER.replace("FACTOR", str(factor)))
        assert _python(None, str(script), str(tmp_path / "results")) == str(factor)
    assert len(list((tmp_path / "results").iterdir())) == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_describes_efsgds_own_checkout_only(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("EFSGD_COMMIT", raising=False)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "efsgd" / "provenance.py"))
    describe = provenance._git_describe.__wrapped__
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = other\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    assert describe() is None
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = efsgd\n")
    assert describe().endswith("-dirty")
    subprocess.run([*git, "commit", "-q", "-a", "-m", "second"], check=True)
    subprocess.run([*git, "tag", "v9"], check=True)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("EFSGD_COMMIT", "v8")
    assert describe() == "v9"
    monkeypatch.setenv("PATH", "/nowhere")
    assert describe() == "v8"
    monkeypatch.delenv("EFSGD_COMMIT")
    assert describe() is None


@pytest.mark.parametrize(
    ("variable", "commit"), [(" abc1234\n", "abc1234"), (" ", None), ("", None)]
)
def test_a_copy_without_git_is_told_its_commit(tmp_path, monkeypatch, variable, commit):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "efsgd" / "provenance.py"))
    monkeypatch.setenv("EFSGD_COMMIT", variable)
    assert provenance._git_describe.__wrapped__() == commit


SETUPS = {
    "ours": ("[metadata]\nname = efsgd\nversion = 9.8\ndescription = 100 %\n", "9.8"),
    "of another": ("[metadata]\nname = other\nversion = 9.8\n", None),
    "of nobody": ("[options]\n", None),
    "no version": ("[metadata]\nname = efsgd\n", None),
    "broken": ("name = efsgd\n", None),
    "missing": (None, None),
}


@pytest.mark.parametrize(("setup", "version"), SETUPS.values(), ids=list(SETUPS))
def test_the_version_of_a_checkout_that_is_not_installed(tmp_path, monkeypatch, setup, version):
    def none(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(provenance, "version", none)
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "efsgd" / "provenance.py"))
    if setup is not None:
        (tmp_path / "setup.cfg").write_text(setup)
    assert provenance._version.__wrapped__("efsgd") == version
    assert provenance._version.__wrapped__("scipy") is None


def _python(code, *arguments, **environment):
    """What Python prints, run on code or a script with efsgd and the tests on its path."""
    command = [sys.executable, *(["-c", code] if code else []), *arguments]
    env = os.environ | {"PYTHONPATH": python_path(__file__)} | environment
    run = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return run.stdout.strip()
