"""An upload is a process of its own: it outlives the task that started it, and ends when nobody wants it any more."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from modelberth.operators.child import python_path
from modelberth.operators.keeping import Begun, Kept
from modelberth.operators.statefolder import Ended, StateFolder, StateFolderError

FILES, SIZE = 4, 1 << 19

KEEPER = """
import sys
from modelberth.operators import keeper
keeper.PATIENCE, keeper.UNASKED = 0.5, float(sys.argv.pop(1))
keeper.main()
"""


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELBERTH_STATE", str(tmp_path))
    return tmp_path / f"modelberth-{os.getuid()}" / os.uname().nodename


@pytest.fixture
def bucket(tmp_path):
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def words(tmp_path, bucket):
    """An upload that takes about 2 s."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(FILES):
        (source / f"{number}.bin").write_bytes(os.urandom(SIZE))
    limit = ("--bandwidth-limit", "1MiB", "--concurrency", "1")
    return ["upload", str(source), f"file://{bucket}", "--model", "minilm", "--upload", "u1", *limit]


def quick(words):
    """The same upload without its limit, as the folder of another command line; the bucket is the same."""
    return words[: words.index("--bandwidth-limit")]


@contextmanager
def plain():
    yield dict(os.environ)


def followed(kept, look=lambda: None):
    lines = []
    outcome = kept.follow(lines.append, look)
    return outcome, lines


def sent(bucket):
    return sorted(path.name for path in bucket.rglob("data/u1/*.bin"))


def program(words):
    """The number of the process of the upload that has *words*, None if there is none."""
    told = "\0".join(["modelberth.engine", *words]).encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if told in path.read_bytes():
                return int(path.parent.name)
        except OSError:
            continue
    return None


def parent(number):
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def task(words):
    """The number of the process of a task that started the upload and follows it."""
    number = os.fork()
    if not number:
        kept = Kept("u1", words)
        kept.begin(plain)
        followed(kept)
        os._exit(0)
    until("the program", lambda: program(words))
    yield number
    if left := program(words):
        os.kill(left, signal.SIGKILL)


def kill(task):
    os.kill(task, signal.SIGKILL)
    os.waitpid(task, 0)


def test_it_is_in_a_session_of_its_own_and_nobodys_child(task, words):
    number = program(words)
    assert os.getsid(number) != os.getsid(task)
    assert parent(parent(number)) != task
    kill(task)


def test_a_killed_task_leaves_it_running_and_the_next_try_joins_it(task, words, bucket):
    until("a file in the bucket", lambda: sent(bucket))
    kill(task)
    number = program(words)
    assert number
    kept = Kept("u1", words)
    assert kept.begin(plain) is Begun.JOINED
    outcome, _ = followed(kept)
    assert f"Process {number} " in outcome.where
    assert outcome.result("upload")["bytes_uploaded"] == FILES * SIZE  # by one process: nothing was sent twice


def test_what_ended_while_nobody_followed_is_taken(task, words, bucket, state):
    kill(task)
    folder = StateFolder.of("u1", words)
    until("its end", folder.concluded)
    kept = Kept("u1", words)
    assert kept.begin(plain) is Begun.TAKEN
    outcome, _ = followed(kept)
    assert outcome.result("upload")["bytes_uploaded"] == FILES * SIZE
    kept.forget()
    assert not list(state.iterdir())


def test_what_failed_while_nobody_followed_is_started_anew(words, bucket):
    folder = StateFolder.of("u1", quick(words))
    folder.conclude(Ended(25, '{"problems": ["the credentials have expired"]}', 1))
    kept = Kept("u1", quick(words))
    assert kept.begin(plain) is Begun.STARTED
    outcome, _ = followed(kept)
    assert outcome.exit_code == 0


def test_lines_arrive_while_it_runs(words, bucket):
    words[1] = str(bucket / "nothing")
    kept = Kept("u1", words)
    assert kept.begin(plain) is Begun.STARTED
    outcome, lines = followed(kept)
    assert outcome.exit_code == 23
    assert any("nothing" in line for line in lines)
    assert not [line for line in lines if line.startswith("{")]


def test_a_line_is_said_when_it_is_whole_and_what_is_no_text_does_no_harm(words):
    kept, folder, lines = Kept("u1", words), StateFolder.of("u1", words), []
    folder.log.write_bytes(b"one\ntw")
    writes = iter([b"o\n\xff\n", b"three\n"])
    running = ExitStack()  # as if it ran

    def write_on():
        if text := next(writes, None):
            with folder.log.open("ab") as log:
                log.write(text)
        else:
            running.close()

    assert running.enter_context(folder.lock()) is not None
    kept.follow(lines.append, write_on)
    assert lines == ["one", "two", "\N{REPLACEMENT CHARACTER}", "three"]


def test_its_end_keeps_what_was_sent_and_the_next_try_sends_the_rest(words, bucket):
    kept = Kept("u1", words)
    assert kept.begin(plain) is Begun.STARTED
    outcome, _ = followed(kept, lambda: sent(bucket) and kept.end())
    assert (outcome.exit_code, outcome.reason) == (10, "its end was asked for")
    assert program(words) is None
    before = len(sent(bucket))
    assert 0 < before < FILES
    kept.forget()
    again = Kept("u1", quick(words))
    again.begin(plain)
    outcome, _ = followed(again)
    assert outcome.result("upload")["bytes_uploaded"] == (FILES - before) * SIZE


@pytest.fixture
def keep(words):
    """Runs a keeper with little patience, for an hour unless told; returns the folder."""
    number = None

    def run(unasked=3600.0):
        nonlocal number
        folder, env = StateFolder.of("u1", words), os.environ | {"PYTHONPATH": python_path(os.environ)}
        with folder.lock() as lock, folder.log.open("ab") as log:
            command = [sys.executable, "-c", KEEPER, str(unasked), str(folder.path), *words]
            subprocess.run(command, env=env, stdin=lock, stdout=log, stderr=log, check=True, start_new_session=True)
        number = until("the program", lambda: program(words))
        return folder

    yield run
    if number and program(words) == number:
        os.kill(number, signal.SIGKILL)


def test_a_program_that_does_not_end_is_killed_with_all_it_started(keep, words):
    folder = keep()
    number = program(words)
    os.kill(number, signal.SIGSTOP)  # as one that hangs
    folder.end.touch()
    until("its end", lambda: not folder.kept)
    assert folder.concluded() == Ended(137, "", number, "SIGKILL, its end was asked for")
    assert program(words) is None


def test_nobody_following_for_long_is_its_end(keep, words, bucket):
    folder = keep(unasked=1.0)
    ended = until("its end", folder.concluded)
    assert (ended.exit_code, ended.reason) == (10, "no task followed it for 1 s")
    assert len(sent(bucket)) < FILES


def test_a_follower_keeps_it_alive(keep, words, bucket):
    keep(unasked=1.0)
    kept = Kept("u1", words)
    assert kept.begin(plain) is Begun.JOINED
    outcome, _ = followed(kept)
    assert outcome.exit_code == 0


def test_nothing_is_left_of_it_when_its_keeper_is_killed(keep, words):
    folder = keep()
    number = program(words)
    keeper = parent(number)
    kept, lost = Kept("u1", words), []
    assert kept.begin(plain) is Begun.JOINED
    outcome, _ = followed(kept, lambda: lost or lost.append(os.kill(keeper, signal.SIGKILL)))
    assert (outcome.exit_code, program(words), folder.kept) == (137, None, False)
    assert "gone" in outcome.reason


def test_sigterm_to_the_keeper_is_an_end_in_order(keep, words, bucket):
    folder = keep()
    until("a file in the bucket", lambda: sent(bucket))
    number = program(words)
    keeper = parent(number)
    os.kill(keeper, signal.SIGTERM)
    assert until("its end", folder.concluded).exit_code == 10


def test_a_try_that_comes_while_it_is_ended_waits_and_starts_anew(keep, words):
    folder = keep()
    os.kill(program(words), signal.SIGSTOP)
    folder.end.touch()
    kept = Kept("u1", quick(words))
    kept._folder = folder  # the same upload, without the limit: the test need not wait for it
    assert kept.begin(plain) is Begun.STARTED
    outcome, _ = followed(kept)
    assert outcome.exit_code == 0


def test_a_try_that_airflow_gave_up_does_not_end_what_a_later_one_follows(keep, words):
    folder = keep()
    old, new, ended = Kept("u1", words), Kept("u1", words), []
    for kept in (old, new):
        assert kept.begin(plain) is Begun.JOINED

    def both():
        if not ended:
            followed(new, lambda: ended.append(old.end()) if not ended else new.end())

    outcome, _ = followed(old, both)
    assert ended == [False]
    assert outcome.exit_code == 10  # by the later one, in the end
    assert folder.concluded()


def test_another_command_line_is_another_upload(words):
    assert StateFolder.of("u1", words).path != StateFolder.of("u1", quick(words)).path


def test_what_nobody_came_back_for_is_removed_after_a_day_but_not_what_runs(keep, words, state):
    running = keep()
    old, young = (StateFolder.of(name, words) for name in ("u2", "u3"))
    yesterday = time.time() - 90_000
    for folder in (old, running):
        folder.conclude(Ended(10, "", 1))
        for path in (*folder.path.iterdir(), folder.path):
            os.utime(path, (yesterday, yesterday))
    young.conclude(Ended(10, "", 1))
    StateFolder.of("u4", words).sweep()
    assert sorted(path.name[:2] for path in state.iterdir()) == ["u1", "u3", "u4"]


def test_a_file_of_credentials_outlives_the_tasks_own_and_goes_with_the_program(words, tmp_path):
    lent = tmp_path / "lent.json"
    lent.write_text("{}")

    @contextmanager
    def environment():
        yield dict(os.environ) | {"GOOGLE_APPLICATION_CREDENTIALS": str(lent)}
        lent.unlink()

    kept, folder, seen = Kept("u1", words), StateFolder.of("u1", words), []
    kept.begin(environment)

    def look():
        if number := program(words):
            told = Path(f"/proc/{number}/environ").read_bytes()
            seen.append(f"GOOGLE_APPLICATION_CREDENTIALS={folder.credentials}\0".encode() in told)
            seen.append(folder.credentials.read_text() == "{}")
            kept.end()

    followed(kept, look)
    assert seen
    assert all(seen)
    assert not folder.credentials.exists()


def test_a_folder_that_others_may_write_to_is_refused(tmp_path, words):
    (tmp_path / f"modelberth-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"modelberth-{os.getuid()}").chmod(0o777)
    with pytest.raises(StateFolderError, match="MODELBERTH_STATE"):
        StateFolder.of("u1", words)


def test_a_worker_without_a_place_for_states_says_what_it_needs(tmp_path, words, monkeypatch):
    monkeypatch.setenv("MODELBERTH_STATE", "/proc/nowhere")
    with pytest.raises(StateFolderError, match="MODELBERTH_STATE name a directory on a disk of this worker's own"):
        StateFolder.of("u1", words)


def test_a_keeper_that_cannot_start_is_an_error_and_lets_go_of_the_lock(words, monkeypatch):
    kept = Kept("u1", words)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(subprocess.CalledProcessError):
        kept.begin(plain)
    assert not StateFolder.of("u1", words).kept


def test_the_result_is_the_last_line_of_json(words, bucket):
    kept = Kept("u1", quick(words))
    kept.begin(plain)
    outcome, _ = followed(kept)
    assert json.loads(outcome.message)["upload"] == "u1"
