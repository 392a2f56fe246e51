"""Requests through a proxy, plain and over TLS, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY say."""

import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest
from certificates import Authority

from modelberth.core.chunks import Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import connection, transport
from modelberth.engine.http import Get
from modelberth.engine.transport import Transport

DATA = bytes(range(256)) * 1000


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(transport, "TRIES", 1)
    connection._proxy.cache_clear()
    connection._tls.cache_clear()
    yield
    connection._proxy.cache_clear()
    connection._tls.cache_clear()


@contextmanager
def listening(talk):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with suppress(OSError):
            while True:
                threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()

    def guarded(peer):
        with suppress(OSError), peer:
            talk(peer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answer(peer):
    """Send the object."""
    last = len(DATA) - 1
    head = f"HTTP/1.1 206 P\r\nContent-Range: bytes 0-{last}/{len(DATA)}\r\nContent-Length: {len(DATA)}\r\n\r\n"
    peer.sendall(head.encode() + DATA)


@contextmanager
def proxying(seen, status=b"200 Connection established"):
    def relay(source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def talk(peer):
        request = peer.recv(65536)
        seen.append(request.decode())
        method, target, _ = request.split(b" ", 2)
        if method != b"CONNECT":
            answer(peer)
        elif peer.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n") is None and status.startswith(b"200"):
            host, port = target.decode().split(":")
            with socket.create_connection((host, int(port))) as server:
                threading.Thread(target=relay, args=(server, peer), daemon=True).start()
                relay(peer, server)

    with listening(talk) as port:
        yield port


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """The port of a server whose certificate ours trusts."""
    authority = Authority(tmp_path / "pki")
    authority.create()
    files = authority.issue("server", "server", addresses=("127.0.0.1", "localhost"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)

    def talk(peer):
        with suppress(ssl.SSLError), context.wrap_socket(peer, server_side=True) as wrapped:
            wrapped.recv(65536)
            answer(wrapped)

    with listening(talk) as port:
        yield port


def bring(url, stop):
    got = bytearray(len(DATA))
    Transport(stop).bring(
        lambda: Get(url, "object 'o'"), [Span(0, len(DATA))], lambda _, fill: fill(memoryview(got), len)
    )
    return bytes(got)


def test_a_secure_server_is_reached_through_a_tunnel(secure, stop, monkeypatch):
    with proxying(seen := []) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{port}")
        assert bring(f"https://127.0.0.1:{secure}/o", stop) == DATA
    assert seen[0].startswith(f"CONNECT 127.0.0.1:{secure} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in seen[0]


def test_a_plain_server_is_asked_for_by_its_whole_url(stop, monkeypatch):
    with proxying(seen := []) as port:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
        assert bring("http://store.example/bucket/o?x=1", stop) == DATA
    assert seen[0].startswith("GET http://store.example/bucket/o?x=1 HTTP/1.1\r\nHost: store.example\r\n")


def test_a_host_that_no_proxy_names_is_reached_directly(secure, stop, monkeypatch):
    with proxying(seen := []) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        assert bring(f"https://127.0.0.1:{secure}/o", stop) == DATA
    assert seen == []


def test_a_proxy_that_refuses_is_named_without_its_password(secure, stop, monkeypatch):
    with proxying([], b"407 Proxy Authentication Required") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
        with pytest.raises(Failure, match=r"proxy 127\.0\.0\.1 answered .*407") as raised:
            bring(f"https://127.0.0.1:{secure}/o", stop)
    assert raised.value.code is ExitCode.UNREACHABLE
    assert "secret" not in str(raised.value)


def test_a_certificate_of_nobody_we_trust_is_refused(secure, stop, monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(Failure, match="certificate verify failed"):
        bring(f"https://127.0.0.1:{secure}/o", stop)
