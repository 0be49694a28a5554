"""Checkpoint files: their content, and that damaged and foreign files are refused.

Without this file a torn or foreign checkpoint could be continued as if it were the right one.
"""

import io
import json
import math
import os
import re
import zipfile

import pytest
from damaged_files import check_all_are_read_or_refused, mutants, sealed, with_flipped_bit

torch = pytest.importorskip("torch")

from small_trainings import DATA, EFM, nothing, small, stopping, tiny  # noqa: E402

from efsgd.deep.training import checkpoint  # noqa: E402
from efsgd.deep.training.history import NAMES  # noqa: E402
from efsgd.deep.training.obtain import train  # noqa: E402
from efsgd.deep.training.session import Session  # noqa: E402
from efsgd.provenance import as_text, spec_of  # noqa: E402

SPEC, SHA = '{"lr":0.1,"seed":0}', "d" * 64
STATE = {"epoch": 3, "weights": torch.arange(9.0), "history": {"loss": torch.zeros(2)}}


def test_round_trip(tmp_path):
    path = tmp_path / "folder" / "a.pt"
    assert checkpoint.load(path, SPEC, SHA) is None
    checkpoint.save(path, SPEC, SHA, STATE)
    state = checkpoint.load(str(path), SPEC, SHA)
    assert state.keys() == STATE.keys()
    assert torch.equal(state["weights"], STATE["weights"])
    assert [p.name for p in path.parent.iterdir()] == ["a.pt"]
    checkpoint.finish(path)
    checkpoint.finish(path)
    assert list(path.parent.iterdir()) == []


def test_it_replaces_the_last_one_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.pt"
    checkpoint.save(path, SPEC, SHA, STATE)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="cannot pickle"):
        checkpoint.save(path, SPEC, SHA, {"torn": torch.zeros(9), "open": (x for x in ())})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("room", [0, 100, 4096, 100_000])
def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path, room):
    """A limit on the size of files cuts a write short as a full disk does."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.pt"
    checkpoint.save(path, SPEC, SHA, STATE)
    before = path.read_bytes()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))
    try:
        with pytest.raises(OSError, match=r"^cannot write .*a\.pt \(File too large\): make room"):
            checkpoint.save(path, SPEC, SHA, {"weights": [torch.zeros(9000) for _ in range(9)]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*file/a\.pt .*choose another folder"):
        checkpoint.save(tmp_path / "file" / "a.pt", SPEC, SHA, STATE)


def test_what_a_training_saves_is_plain(tmp_path):
    """Tensors, numbers and strings in dictionaries and lists: all that weights_only lets in."""
    session = Session(small(method=EFM), DATA)
    session._train(nothing, nothing, nothing)
    kinds = set()

    def visit(value):
        if isinstance(value, dict):
            assert all(isinstance(name, str | int) for name in value)
            list(map(visit, value.values()))
        elif isinstance(value, list | tuple):
            list(map(visit, value))
        else:
            kinds.add(type(value))

    state = session.state()
    visit(state)
    assert kinds <= {torch.Tensor, int, float, bool, str, type(None)}
    assert set(state["history"]) == set(NAMES)
    checkpoint.save(tmp_path / "a.pt", SPEC, SHA, state)
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert (content["format"], content["spec"], content["data"]) == (checkpoint.FORMAT, SPEC, SHA)


def refusal(path, spec=SPEC, sha=SHA):
    """What is said about a file, which always names it and the remedy in one sentence."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
        checkpoint.load(path, spec, sha)
    message = str(refused.value)
    assert message.startswith(f"the checkpoint {path} ")
    assert message.endswith(": delete it to start over")
    assert "\n" not in message
    return message


def test_torn_and_foreign_files_are_refused(tmp_path):
    good = tmp_path / "good.pt"
    checkpoint.save(good, SPEC, SHA, STATE)
    complete = good.read_bytes()
    contents = {
        "empty": b"",
        "text": b"what is this?\n" * 9,
        "truncated": complete[: len(complete) // 2],
        "tail": complete[:-30],
        "moved": b"x" + complete[:-10],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"a": 1}, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    for name, foreign in {"tensor": torch.zeros(3), "object": {"a": small()}}.items():
        (tmp_path / name).write_bytes(sealed(archive(foreign)))
    with zipfile.ZipFile(tmp_path / "zip", "w") as other:
        other.writestr("a.npy", b"")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: who opened it would wait for ever
    (tmp_path / "unsealed").write_bytes(archive({"format": checkpoint.FORMAT}))
    (tmp_path / "bomb").write_bytes(sealed(bomb()))
    for path in set(tmp_path.iterdir()) - {good}:
        assert "is damaged or no checkpoint" in refusal(path), path.name


def archive(content):
    """The archive that torch makes of it."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def bomb():
    """An archive of torch's form whose members are larger than itself."""
    file, plain = io.BytesIO(), io.BytesIO(archive({"weights": torch.zeros(9999)}))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new, zipfile.ZipFile(plain) as old:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return file.getvalue()


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "a.pt"

    def put(**content):
        path.write_bytes(sealed(archive(content)))

    put(model={})
    assert f"has the format None, not {checkpoint.FORMAT}" in refusal(path)
    put(format=1)
    assert f"has the format 1, not {checkpoint.FORMAT}" in refusal(path)
    for foreign in ({}, {"spec": 5}, {"spec": "[[1, 2]]"}, {"spec": "[" * 10**5}):
        put(format=checkpoint.FORMAT, **foreign)
        assert "another training (with no spec of ours)" in refusal(path)
    put(format=checkpoint.FORMAT, spec=SPEC, data=SHA)
    assert "it holds no state" in refusal(path)
    checkpoint.save(path, SPEC, SHA, STATE)
    assert "another training (with another lr)" in refusal(path, spec='{"lr":0.2,"seed":0}')
    assert f"other data, of SHA-256 {SHA}" in refusal(path, sha="e" * 64)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_each_flipped_bit_is_refused(tmp_path, step):
    """9 visits nearly all bytes. One bit in the directory makes torch skip the bytes of a tensor:

    it then gives whatever is in memory, and every checksum of the archive is right.
    """
    path = tmp_path / "a.pt"
    checkpoint.save(path, SPEC, SHA, STATE)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), step):
        path.write_bytes(with_flipped_bit(content, bit))
        with pytest.raises(ValueError, match=r"is damaged or no checkpoint \(it.*: delete it to"):
            checkpoint.load(path, SPEC, SHA)


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_checkpoints_with_a_right_digest(tmp_path, count):
    content = archive({"format": checkpoint.FORMAT, "spec": SPEC, "data": SHA, "state": STATE})
    damaged = (sealed(mutant) for mutant in mutants(content, count) if len(mutant) > 1)
    check_all_are_read_or_refused(
        lambda path: checkpoint.load(path, SPEC, SHA), tmp_path / "a.pt", damaged
    )


# -- in a training --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The checkpoint of a training that was stopped."""
    path = tmp_path_factory.mktemp("stopped") / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train(small(), DATA, checkpoint=path, report=stopping(2))
    return path


@pytest.mark.parametrize(
    ("training", "data", "message"),
    [
        (small(seed=1), DATA, r"belongs to another training \(with another seed\)"),
        (small(lr=0.5, drops=(1,)), DATA, r"\(with another drops, lr\)"),
        (small(method=EFM), DATA, r"\(with another method\)"),
        (small(), tiny(seed=1), f"belongs to other data, of SHA-256 {DATA.digest}"),
    ],
)
def test_a_training_continues_its_own_checkpoint_only(stopped, training, data, message):
    before = stopped.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(training, data, checkpoint=stopped)
    assert stopped.read_bytes() == before


def test_a_torn_checkpoint_is_not_continued(stopped, tmp_path):
    torn = tmp_path / "torn.pt"
    torn.write_bytes(stopped.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"torn\.pt is damaged .*: delete it to start over"):
        train(small(), DATA, checkpoint=torn)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.pop("model"),
        lambda state: state["model"].popitem(),
        lambda state: state.update(sums=torch.zeros(7)),
        lambda state: state.update(optimizer={}),
        lambda state: state["history"].popitem(),
        lambda state: state.update(seconds=3),
        lambda state: state.update(machines=[]),
        lambda state: state.update(machines=["here"]),
        lambda state: state.update(machines=[{}]),
        lambda state: state["machines"][0].update(threads=torch.zeros(3)),
        lambda state: state.update(code=torch.zeros(3)),
        lambda state: state.update(epoch=3),
        lambda state: state.update(epoch=-1),
        lambda state: state.update(epoch=0.0),
        lambda state: state.update(epoch=10**30),
        lambda state: state.update(epoch=2),  # and two batches of the next
        lambda state: state.update(batch=4),
        lambda state: state.update(batch=-1),
        lambda state: state.update(diverged=True),
        lambda state: state.update(diverged="no"),
        lambda state: state.update(skipped=3),
        lambda state: state.update(seconds=[math.nan, 1.0]),
        lambda state: state.update(seconds=[1.0, -1.0]),
        lambda state: state.update(seconds=[1.0]),
        lambda state: state["sums"].fill_(math.inf),
        lambda state: state["counts"].fill_(-1),
        lambda state: state["history"].update(lr=torch.zeros(1, dtype=torch.float64)),
        lambda state: state["history"]["epoch"].fill_(7),
        lambda state: state["model"].update({next(iter(state["model"])): torch.zeros(1)}),
        lambda state: state["optimizer"].update(param_groups=[]),
        lambda state: state["optimizer"]["param_groups"][0].update(maximize=True),
        lambda state: state["optimizer"].update(state=[]),
        lambda state: state["optimizer"].update(skipped=None),
    ],
)
def test_a_state_of_another_program_is_refused(stopped, tmp_path, spoil):
    content = torch.load(stopped, weights_only=True)
    assert json.loads(content["spec"]) == spec_of(small())
    spoil(content["state"])
    path = tmp_path / "spoilt.pt"
    checkpoint.save(path, as_text(spec_of(small())), DATA.digest, content["state"])
    with pytest.raises(ValueError, match=r"spoilt\.pt does not fit .*: delete it to start") as info:
        train(small(), DATA, checkpoint=path)
    assert "\n" not in str(info.value)


def test_nothing_is_left_behind(stopped):
    assert os.listdir(stopped.parent) == ["run.pt"]
