"""The server as a process: what a probe, a rollout and a client see of it."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

RESIDENT_LIMIT = 256 << 20


def test_healthz_is_ready_and_modelz_names_what_is_served(start, snapshot):
    server = start(MODEL_PATH=str(snapshot / "files"))
    server.wait_until_ready()
    assert server.get("/healthz") == (200, {"ready": True})
    revision = f"minilm@sha256:{snapshot.name.partition('.')[0]}"
    report = {"path": str(snapshot / "files"), "revision": revision, "snapshot": snapshot.name}
    assert server.get("/modelz") == (200, report)


def test_embed_answers_with_a_unit_vector_and_its_revision(server):
    status, answer = server.embed("A ship lies at its berth.")
    assert status == 200
    assert answer["revision"] == server.get("/modelz")[1]["revision"]
    assert answer["dimensions"] == len(answer["embedding"]) == 384
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-6)


def test_two_forms_answer_differently_and_alike(server, int8_server):
    one, other = (each.embed("A ship lies at its berth.")[1] for each in (server, int8_server))
    assert one["revision"] != other["revision"]
    assert np.abs(np.subtract(one["embedding"], other["embedding"])).max() > 1e-3
    assert 0.98 < np.dot(one["embedding"], other["embedding"]) < 0.9999


def test_same_text_gives_the_same_answer(server):
    assert server.embed("berth") == server.embed("berth")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"text": null}',
        b'{"text": 1}',
        b'{"text": ["a"]}',
        b'{"text": ""}',
        b'{"text": " \\n\\t"}',
        b'{"text": "a", "model": "b"}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"text": "' + b"a" * 16_385 + b'"}',
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
def test_bad_input_is_refused_without_being_repeated(server, body):
    status, answer = server.post(body)
    assert status == 422
    assert all(set(problem) == {"where", "problem"} for problem in answer["detail"])
    assert "aaaa" not in str(answer)


def test_longest_input_is_answered(server):
    assert server.embed("a " * 8_192)[0] == 200


def test_model_is_in_memory_once_and_its_file_is_not_held(server):
    process = Path(f"/proc/{server.process.pid}")
    assert "model.safetensors" not in (process / "maps").read_text()
    assert not any(fd.readlink().name == "model.safetensors" for fd in (process / "fd").iterdir())
    highest = int(re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())[1])
    assert highest << 10 < RESIDENT_LIMIT


def test_without_model_path_it_says_so_and_is_never_ready(start):
    server = start()
    reason = server.wait_until_failed()
    assert reason.startswith("MODEL_PATH is ''; expected '<mount>/<model>/<64 hex>.<n>/files'.")
    for status, answer in (server.get("/healthz"), server.get("/modelz"), server.embed("berth")):
        assert (status, answer) == (503, {"ready": False, "reason": reason})


def test_lost_file_is_named(start, snapshot):
    (snapshot / "files/tokenizer.json").unlink()
    server = start(MODEL_PATH=str(snapshot / "files"))
    assert "'tokenizer.json' cannot be read (No such file or directory)" in server.wait_until_failed()


def test_manifest_of_another_revision_is_refused(start, snapshot):
    with (snapshot / "manifest.json").open("ab") as manifest:
        manifest.write(b"\n")
    server = start(MODEL_PATH=str(snapshot / "files"))
    assert "is of another revision: expected sha256:" in server.wait_until_failed()


def test_sigterm_turns_readiness_off_at_once_and_answers_on_until_drained(start, snapshot):
    server = start(MODEL_PATH=str(snapshot / "files"), DRAIN_SECONDS="6")
    server.wait_until_ready()
    began = time.monotonic()
    server.terminate()
    assert server.get("/healthz") == (503, {"ready": False, "reason": "The server is shutting down."})
    assert server.embed("berth")[0] == 200
    assert server.get("/modelz")[0] == 200
    assert server.process.wait(30) == 0
    assert time.monotonic() - began >= 6
    with pytest.raises(httpx.ConnectError):
        server.get("/healthz")


def test_a_kept_connection_ends_with_its_next_answer_while_the_server_drains(start, snapshot):
    server = start(MODEL_PATH=str(snapshot / "files"), DRAIN_SECONDS="60")
    server.wait_until_ready()
    with httpx.Client(base_url=server.url) as client:
        assert "connection" not in client.get("/modelz").headers
        server.terminate()
        answer = client.get("/modelz")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    server.terminate()


def test_second_sigterm_leaves_out_the_drain(start, snapshot):
    server = start(MODEL_PATH=str(snapshot / "files"), DRAIN_SECONDS="60")
    server.wait_until_ready()
    server.terminate()
    assert server.get("/healthz")[0] == 503
    server.terminate()
    assert server.process.wait(10) == 0


def test_request_in_flight_is_finished(start, snapshot):
    server = start(MODEL_PATH=str(snapshot / "files"))
    server.wait_until_ready()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(
            b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n"
        )
        assert server.get("/healthz")[0] == 200  # asked after it, so the server has read the head of the first
        server.terminate()
        time.sleep(0.5)
        client.sendall(b'{"text": "berth"}')
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    assert server.process.wait(10) == 0


def test_sigterm_while_it_still_imports_ends_it(start):
    server = start(DRAIN_SECONDS="60")
    server.wait_until_it_handles_sigterm()
    server.terminate()
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("variable", ["PORT", "DRAIN_SECONDS"])
def test_setting_that_is_no_number_is_named(start, variable):
    server = start(**{variable: "tcp://10.0.0.1"})
    assert server.process.wait(10) == 1
    assert server.log() == f"The server does not start: {variable} is 'tcp://10.0.0.1'; expected a whole number.\n"
