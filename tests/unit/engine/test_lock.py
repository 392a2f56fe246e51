import json
import os
import threading
import time

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import lock
from modelberth.engine.lock import Lock


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "EXPIRY", 1.0)
    monkeypatch.setattr(lock, "WAIT", 2.0)


def held_by(path, **owner):
    path.mkdir(parents=True)
    (path / "owner").write_text(json.dumps({"nonce": "x", "host": "node-7", "pid": 1, "place": "elsewhere"} | owner))


def test_the_lock_is_there_while_the_block_runs_and_gone_after(tmp_path, stop):
    path = tmp_path / "lock" / "minilm"
    with Lock(path, stop):
        assert json.loads((path / "owner").read_text())["pid"] == os.getpid()
    assert list(path.parent.iterdir()) == []


def test_the_lock_is_freed_when_the_block_fails(tmp_path, stop):
    with pytest.raises(RuntimeError), Lock(tmp_path / "lock", stop):
        raise RuntimeError
    assert not (tmp_path / "lock").exists()


def test_a_living_owner_is_waited_for_and_then_named(tmp_path, stop):
    with Lock(tmp_path / "lock", stop), pytest.raises(Failure, match=f"process {os.getpid()}") as raised:
        Lock(tmp_path / "lock", stop).__enter__()
    assert raised.value.code is ExitCode.BUSY


def test_a_second_writer_gets_the_lock_when_the_first_is_done(tmp_path, stop):
    order = []
    with Lock(tmp_path / "lock", stop):
        other = threading.Thread(target=lambda: Lock(tmp_path / "lock", stop).__enter__() and order.append("second"))
        other.start()
        time.sleep(0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"]


def test_an_owner_elsewhere_that_shows_no_life_loses_the_lock(tmp_path, stop):
    held_by(tmp_path / "lock")
    began = time.monotonic()
    with Lock(tmp_path / "lock", stop):
        assert time.monotonic() - began >= 1.0
        assert json.loads((tmp_path / "lock" / "owner").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", [None, "", "{", "[]", "null", '{"pid": "x"}'])
def test_a_lock_that_names_no_owner_expires_as_well(tmp_path, stop, text):
    (tmp_path / "lock").mkdir()
    if text is not None:
        (tmp_path / "lock" / "owner").write_text(text)
    with Lock(tmp_path / "lock", stop):
        pass


def test_a_dead_process_of_this_machine_loses_the_lock_at_once(tmp_path, stop, monkeypatch):
    monkeypatch.setattr(lock, "EXPIRY", 60.0)  # longer than anybody waits
    child = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitpid(child, 0)
    held_by(tmp_path / "lock", pid=child, place=lock._place())
    with Lock(tmp_path / "lock", stop):
        pass


def test_an_owner_that_lost_the_lock_does_not_free_the_next_ones(tmp_path, stop):
    path = tmp_path / "lock"
    first = Lock(path, stop)
    first.__enter__()
    path.rename(tmp_path / "aside")
    with Lock(path, stop):
        first.__exit__()
        assert path.exists()
