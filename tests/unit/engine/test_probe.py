"""Asking real servers with what a Secret has: HTTPS, a key, and nothing of it ever said."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from certificates import Authority

from modelberth.core.confirm import Confirm, Smoke
from modelberth.core.failure import Failure
from modelberth.core.probe import Order, Serving
from modelberth.core.reports import Named
from modelberth.engine.cli import run
from modelberth.engine.probe import probe

if TYPE_CHECKING:
    from pathlib import Path

KEY = "Bearer hunter2"
PATH = "/models/m/1f.1/files"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"data": [{"id": "m", "root": PATH}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"echo": asked, "secret": self.headers["Authorization"]})

    def answer(self, document):
        ours = self.headers.get("Authorization") == KEY
        body = json.dumps(document if ours else {"you sent": self.headers.get("Authorization")}).encode()
        self.send_response(200 if ours else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(*certificate: Path) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.create()
    return made


@pytest.fixture(scope="module")
def servers(authority):
    """Yield the port of a server by scheme."""
    running = {"http": serve(), "https": serve(*authority.issue("server", "server", (), ("embedder.serving",)))}
    yield {scheme: server.server_address[1] for scheme, server in running.items()}
    for server in running.values():
        server.shutdown()
        server.server_close()


@pytest.fixture
def secret(tmp_path, authority):
    """Return a writer of a Secret, as kubelet mounts one."""

    def write(**files: bytes | None):
        folder = tmp_path / "secret"
        (folder / "..data").mkdir(parents=True)
        named = {name.replace("_", "."): content for name, content in files.items()}
        whole = {"Authorization": KEY.encode() + b"\n", "ca.crt": authority.certificate.read_bytes()} | named
        for name, content in whole.items():
            if content is not None:
                (folder / name).write_bytes(content)
        return folder

    return write


def order(port: int, scheme: str = "https", address: str = "127.0.0.1") -> Order:
    smoke = Smoke("/embed", {"text": "a"}, 200, "echo.text", "a")
    confirm = Confirm("behaved", port, "/v1/models", "vllm", (smoke,))
    return Order(scheme, confirm, (Named(PATH, "m@sha256:1f"),), (Serving("a-1", address),))


@pytest.mark.parametrize(
    ("scheme", "files", "said"),
    [
        ("https", {}, []),
        ("http", {}, []),
        ("http", {"ca_crt": None}, []),
        ("https", {"server-name": b"embedder.serving\n"}, []),
        ("https", {"server-name": b"another.serving"}, ["certificate is refused"] * 2),
        ("https", {"Authorization": b"Bearer wrong"}, ["answered 401"] * 2),
        ("https", {"Authorization": None}, ["answered 401"] * 2),
    ],
)
def test_pods_are_asked_with_what_the_secret_has(servers, secret, scheme, files, said):
    result = probe(order(servers[scheme], scheme).dump(), secret(**files))
    assert result["asked"] == 1
    assert [one in problem for one, problem in zip(said, result["problems"], strict=True)] == [True] * len(said)


def test_a_certificate_of_another_authority_gets_no_key(servers, secret, tmp_path_factory):
    other = Authority(tmp_path_factory.mktemp("other"))
    other.create()
    [problem, _] = probe(order(servers["https"]).dump(), secret(ca_crt=other.certificate.read_bytes()))["problems"]
    assert problem.startswith("a-1: its report answered nothing (its certificate is refused")


def test_every_pod_is_asked(servers, secret):
    one = order(servers["http"], "http")
    result = probe(replace(one, pods=(*one.pods, Serving("a-2", "127.0.0.9"))).dump(), secret())
    assert result["asked"] == 2
    assert {problem.partition(":")[0] for problem in result["problems"]} == {"a-2"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca_crt": None}, "no ca.crt"),
        ({"ca_crt": b"hunter2"}, "holds no certificates"),
        ({"ca_crt": b"\xff"}, "holds no certificates"),
        ({"tls_key": b"hunter2"}, "tls.key: neither"),
        ({"Authorization": b"Bearer\nhunter2"}, "no header can have: Authorization"),
        ({"Authorization": "Bearer hunter2é".encode()}, "no header can have: Authorization"),
        ({"Authorization": b""}, "no header can have: Authorization"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_without_its_value(servers, secret, files, said):
    with pytest.raises(Failure, match=said) as caught:
        probe(order(servers["https"]).dump(), secret(**files))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("files", [{}, {"Authorization": b"Bearer hunter2\nx"}, {"Authorization": b"Bearer hunter2x"}])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_of_the_secret_is_said(servers, secret, files, scheme, capfd, caplog, monkeypatch, tmp_path):
    caplog.set_level(logging.DEBUG)
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setenv("MODELBERTH_TERMINATION_LOG", str(message))
    run(["probe", order(servers[scheme], scheme).dump(), "--secret", str(secret(**files))])
    said = capfd.readouterr()
    assert json.loads(said.out.splitlines()[-1])["command"] == "probe"
    assert "hunter2" not in said.out + said.err + caplog.text + message.read_text()
