"""Results of trainings: made once, found again, and named after all that took part in them.

Without this file a result could pass as fresh, or as one machine's, when it is not.
"""

import re
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from small_trainings import (  # noqa: E402
    DATA,
    nothing,
    small,
    stopping,
    timeless,
    tiny,
)

from efsgd import results  # noqa: E402
from efsgd.deep.data.dataset import load  # noqa: E402
from efsgd.deep.training import Stopped, evaluate, obtain  # noqa: E402
from efsgd.deep.training import session as sessions  # noqa: E402
from efsgd.deep.training.history import NAMES  # noqa: E402
from efsgd.deep.training.obtain import is_stale, run_training, train  # noqa: E402


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
    result = run_training(small(), DATA, tmp_path, report=events.append)
    assert events[0][:3] == (2, 2, 2)
    assert timeless(result.arrays) == timeless(train(small(), DATA))


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


def test_a_result_of_two_versions_of_the_code_is_stale(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "made_by", lambda training: {"code": "of yesterday"})
        with pytest.raises(KeyboardInterrupt):
            run_training(small(), DATA, tmp_path, report=stopping(4))
    result = run_training(small(), DATA, tmp_path)
    assert result.made_by["code"] is None
    assert is_stale(result, small())


def test_a_result_of_several_machines_names_them(tmp_path, monkeypatch, caplog):
    """Sums over other threads have other last bits."""
    caplog.set_level("INFO", logger="efsgd.deep")
    for threads in (7, 7, 3, 7, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with pytest.raises(KeyboardInterrupt):
            run_training(small(), DATA, tmp_path, report=stopping(1))
    made = run_training(small(), DATA, tmp_path).made_by
    assert re.findall("goes on with (.*): its last bits", caplog.text) == [
        "threads 3, not 7",
        "threads 7, not 3",
        "threads 5, not 7",
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


def test_a_session_that_only_evaluates_is_named_too(tmp_path, monkeypatch):
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


def test_a_session_that_finds_a_training_done_is_not_named(tmp_path, monkeypatch):
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


def test_what_a_killed_training_left_goes_though_its_result_is_there(tmp_path):
    """Nobody writes the checkpoint again then."""
    run_training(small(epochs=1), DATA, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for path in (tmp_path / ".a.npz.012345.efsgd", tmp_path / "checkpoints" / ".a.pt.6789ab.efsgd"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    run_training(small(epochs=1), DATA, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


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
