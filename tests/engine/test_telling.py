"""What a run tells a person, a log and a machine, and how it ends when it is asked to."""

import contextlib
import itertools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.parametrize("bucket", ["file"], indirect=True)

SLOW = ("--bandwidth-limit", "8MiB", "--concurrency", "1")


@pytest.fixture
def uploaded(model, bucket, modelberth):
    return modelberth.upload(model, bucket).result


@pytest.fixture
def words(uploaded, bucket, claim):
    """What syncs the model."""
    return ("sync", bucket.url, claim, "--revision", uploaded["revision"])


@pytest.fixture
def silent():
    """An S3 server that takes connections and never answers; set once somebody waits for it."""
    server, asked = socket.create_server(("127.0.0.1", 0)), threading.Event()
    held = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                held.append(server.accept()[0])
                asked.set()

    threading.Thread(target=take, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    yield keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}"}, asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def lines(process, code=0):
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    return [json.loads(line) for line in out.splitlines()]


# Machines. ------------------------------------------------------------------------------------------------------------


def test_with_json_every_command_says_all_in_lines_of_json_the_result_last(
    model, bucket, modelberth, claim, uploaded, words
):
    revision = ("--revision", uploaded["revision"])
    commands = {
        "manifest": ("manifest", model),
        "upload": ("upload", model, bucket.url, "--model", "other"),
        "sync": words,
        "verify": ("verify", claim, *revision),
        "check": ("check", claim, *revision),
        "list": ("list", claim),
    }
    told = {name: lines(modelberth.start(*command, "--json")) for name, command in commands.items()}
    for name, events in told.items():
        assert [event["event"] for event in events[:-1] if event["event"] not in ("progress", "message")] == (
            ["manifest"] if name == "manifest" else []
        )
        assert (events[-1]["event"], events[-1]["command"], events[-1]["outcome"]) == ("result", name, "ok")
    last = [event for event in told["sync"] if event["event"] == "progress"][-1]
    assert (last["final"], last["bytes"], last["bytes_total"]) == (True, uploaded["bytes"], uploaded["bytes"])
    assert (last["subject"], last["files"], last["files_total"]) == (uploaded["revision"], 4, 4)
    (manifest,) = [event["manifest"] for event in told["manifest"] if event["event"] == "manifest"]
    assert {file["path"] for file in manifest["files"]} == {
        "config.json", "sub/vocab.txt", "sub/none", "model.safetensors"
    }  # fmt: skip


def test_with_json_a_failure_is_said_in_json_too(modelberth, tmp_path, bucket):
    events = lines(modelberth.start("list", tmp_path / "none", "--json"), code=23)
    assert [event["event"] for event in events] == ["message", "result"]
    assert (events[0]["level"], events[0]["text"]) == ("error", events[1]["problems"][0])


def test_with_json_progress_comes_once_a_second_and_at_the_end(modelberth, words):
    told = [event for event in lines(modelberth.start(*words, *SLOW, "--json")) if event["event"] == "progress"]
    assert [event["final"] for event in told] == [False] * (len(told) - 1) + [True]
    times = [event["seconds"] for event in told[:-1]]
    assert times
    assert all(later - earlier >= 0.9 for earlier, later in itertools.pairwise(times))
    assert all(set(event) == set(told[0]) for event in told)


# People and logs. -----------------------------------------------------------------------------------------------------


def at_terminal(process_words, columns, env):
    """Run the program with a terminal as stderr; return its code, stdout and what the terminal got."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "modelberth.engine", *map(str, process_words)], stdout=subprocess.PIPE, stderr=slave,
        env=os.environ | env | {"COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # EIO once the other side is closed
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out.decode(), shown.decode()


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_terminal_shows_a_bar_that_does_not_wrap_and_leaves_the_last_state(modelberth, words, columns):
    code, out, shown = at_terminal((*words, *SLOW), columns, modelberth.env)
    assert code == 0
    assert "\r" not in out
    bars = re.findall(r"\r\x1b\[K([^\r\n]*)(?=\r\x1b)", shown)
    assert len(bars) > 3
    assert all(len(bar) < columns for bar in bars)
    assert any("%" in bar or "fetched" in bar for bar in bars)
    if columns == 200:
        assert any(
            re.search(r"\[#+\.+\] fetched .* of 23.8 MiB, . of 4 files, .*MiB/s, \d+ s left", bar) for bar in bars
        )
    plain = [line.rpartition("\r\x1b[K")[2].rstrip("\r") for line in shown.split("\n")]
    assert sum("fetched 23.8 MiB of 23.8 MiB, 4 of 4 files in " in line for line in plain) == 1
    assert plain[-1] == ""
    assert sum(line.endswith(": published.") for line in plain) == 1


def test_a_pipe_gets_no_bar(modelberth, words):
    process = modelberth.start(*words, *SLOW)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\r" not in out + err
    assert "\x1b" not in out + err


@pytest.mark.parametrize("content", [b"", b"1"])
@pytest.mark.parametrize("columns", [10, 100])
def test_next_to_nothing_is_told_like_anything_else(modelberth, bucket, claim, tmp_path, content, columns):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/f").write_bytes(content)
    revision = modelberth.upload(tmp_path / "m", bucket).result["revision"]
    for command in (
        ("manifest", tmp_path / "m"),
        ("sync", bucket.url, claim, "--revision", revision),
        ("verify", claim, "--revision", revision),
    ):
        code, out, shown = at_terminal(command, columns, modelberth.env)
        assert (code, json.loads(out.splitlines()[-1])["outcome"]) == (0, "ok")
        assert "Traceback" not in shown


@pytest.mark.parametrize("command", ["list", "manifest"])
def test_a_reader_that_left_is_no_fault(modelberth, claim, model, command, bucket):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "modelberth.engine", command, str(claim if command == "list" else model)],
        stdout=write, stderr=subprocess.PIPE, text=True, env=os.environ | modelberth.env,
    )  # fmt: skip
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# The end. -------------------------------------------------------------------------------------------------------------


def interrupted(process, ready):
    """Wait until *ready*, ask for the end and return what the program said."""
    ready()
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 10
    result = json.loads(out.splitlines()[-1])
    assert (process.returncode, result["outcome"], result["exit_code"]) == (10, "interrupted", 10), err
    assert "Traceback" not in err
    return result


def progress_of(process):
    def wait():
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                return

    return wait


def waits_for(asked):
    def wait():
        assert asked.wait(30)

    return wait


@pytest.mark.parametrize("command", ["verify", "check"])
def test_sigterm_ends_a_verify(modelberth, words, uploaded, claim, command):
    modelberth(*words)
    again = (command, claim, "--revision", uploaded["revision"])
    process = modelberth.start(*again, "--bandwidth-limit", "2MiB", "--concurrency", "1", "--json")
    interrupted(process, progress_of(process))
    assert modelberth(*again).code == 0


def test_sigterm_ends_a_manifest(modelberth, tmp_path, bucket):
    (tmp_path / "huge").mkdir()
    with (tmp_path / "huge/f").open("wb") as stream:
        stream.truncate(2**40)
    process = modelberth.start("manifest", tmp_path / "huge", "--json")
    interrupted(process, progress_of(process))


def test_sigterm_ends_an_upload_to_a_store_that_does_not_answer(modelberth, model, silent, bucket):
    env, asked = silent
    process = modelberth.start("upload", model, "s3://test/x", "--model", "minilm", **env)
    interrupted(process, waits_for(asked))


def test_sigterm_ends_a_sync_from_a_store_that_does_not_answer(modelberth, claim, uploaded, silent, bucket):
    env, asked = silent
    process = modelberth.start("sync", "s3://test/x", claim, "--revision", uploaded["revision"], **env)
    interrupted(process, waits_for(asked))
    assert not (claim / ".modelberth/lock/minilm").exists()


def test_sigterm_ends_a_sync_that_waits_for_the_lock_and_leaves_it_to_its_owner(modelberth, words, claim):
    lock = claim / ".modelberth/lock/minilm"
    lock.mkdir(parents=True)
    (lock / "owner").write_text('{"nonce": "theirs", "beat": 1, "host": "elsewhere", "pid": 1, "place": "elsewhere"}')
    process = modelberth.start(*words, "--json")

    def waits():
        assert any(re.search(r"held by process 1 on elsewhere; waiting", line) for line in process.stdout)

    interrupted(process, waits)
    assert "theirs" in (lock / "owner").read_text()


SLOW_DISK = """
import os, sys, threading
from modelberth.engine import batch, cli, filesystem

batch.FLUSH_SECONDS = 0
def slow(descriptor):
    print('{"event": "flushing"}', flush=True)
    threading.Event().wait(3600)
os.fdatasync = filesystem.sync_all = slow
sys.exit(cli.run(sys.argv[1:]))
"""


def on_a_slow_disk(modelberth, words):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW_DISK, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | modelberth.env,
    )  # fmt: skip


def test_sigterm_ends_a_sync_whose_disk_does_not(modelberth, words, claim):
    process = on_a_slow_disk(modelberth, words)
    interrupted(process, process.stdout.readline)
    assert not (claim / ".modelberth/lock/minilm").exists()
    assert not (claim / "minilm").exists()
    resumed = modelberth(*words).result
    assert resumed["bytes_fetched"] == resumed["bytes"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(modelberth, words, second):
    process = on_a_slow_disk(modelberth, words)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.8)  # within which a signal may be taken for the first one's echo
    began = time.monotonic()
    process.send_signal(second)
    process.communicate(timeout=30)
    assert time.monotonic() - began < 3
    assert process.returncode == -second
