"""Requests against a server that does what it is told: everything that a network and a store can do to one."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from modelberth.core.chunks import Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import connection, http, transport
from modelberth.engine.http import Get
from modelberth.engine.transport import Again, Transport

DATA = bytes(range(256)) * 40
SPANS = [Span(0, 4000), Span(4000, 4000), Span(8000, 2240)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.01)


def ranged(request):
    (line,) = [line for line in request.split("\r\n") if line.startswith("Range: bytes=")]
    first, last = line.removeprefix("Range: bytes=").split("-")
    return int(first), int(last)


def whole(request, more=""):
    first, last = ranged(request)
    header = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{last}/{len(DATA)}\r\n{more}"
    return header.encode() + f"Content-Length: {last + 1 - first}\r\n\r\n".encode() + DATA[first : last + 1]


def status(number, more=""):
    return lambda _: f"HTTP/1.1 {number} X\r\nContent-Length: 0\r\n{more}\r\n".encode()


@contextmanager
def server(*answers):
    """Answer each request with the next of *answers*, and whatever comes after them properly.

    An answer is a function of the request, or None to close the connection without one.
    """
    listener, requests, queue = socket.create_server(("127.0.0.1", 0)), [], list(answers)

    def talk(connection):
        with connection, suppress(OSError):
            while request := connection.recv(65536).decode():
                requests.append(request)
                answer = queue.pop(0) if queue else whole
                if answer is None:
                    return
                sent = answer(request)
                keep = isinstance(sent, bytes)
                for piece in [sent] if keep else sent:
                    connection.sendall(piece)
                if not keep:
                    return

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Get(f"http://127.0.0.1:{listener.getsockname()[1]}/o?x=1", "object 'o'", {"X-Key": "k"}), requests
    finally:
        listener.close()


def bring(get, stop, spans=SPANS, check=lambda *_: None):
    got = {}

    def sink(index, fill):
        view = memoryview(bytearray(spans[index].length))
        fill(view, lambda _: None)
        check(index, view)
        got[index] = bytes(view)

    Transport(stop).bring(lambda: get, spans, sink)
    return b"".join(got[index] for index in range(len(spans)))


def cut(after):
    return lambda request: iter([whole(request)[:after]])


def test_one_request_brings_several_chunks(stop):
    with server() as (get, requests):
        assert bring(get, stop) == DATA
    assert len(requests) == 1
    assert requests[0].startswith("GET /o?x=1 HTTP/1.1\r\n")
    assert "X-Key: k" in requests[0]
    assert ranged(requests[0]) == (0, len(DATA) - 1)


def test_a_connection_is_kept_for_the_next_request(stop):
    with server() as (get, _):
        moved = Transport(stop)
        seen = set()
        real = http.Connection.__init__

        def count(self, *arguments):
            seen.add(self)
            real(self, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http.Connection, "__init__", count)
            for _ in range(3):
                moved.bring(
                    lambda: get, SPANS, lambda index, fill: fill(memoryview(bytearray(SPANS[index].length)), len)
                )
    assert len(seen) == 1


TROUBLE = {
    "closed without an answer": [None],
    "closed in the header": [cut(20)],
    "closed in the first chunk": [cut(2000)],
    "closed in the second chunk": [cut(6000)],
    "closed in each": [cut(6000), cut(6000), cut(2000)],
    "500": [status(500)],
    "503 twice": [status(503), status(503)],
    "429": [status(429, "Retry-After: 0\r\n")],
    "408": [status(408)],
    "a 403 that a fresh signature heals": [status(403)],
    "no HTTP": [lambda _: b"SSH-2.0-OpenSSH\r\n\r\n"],
    "HTTP/2": [lambda _: b"HTTP/2 200\r\n\r\n"],
    "an endless header": [lambda _: b"x" * 70_000],
    "a length too small": [lambda r: iter([whole(r).replace(b"Content-Length: 10240", b"Content-Length: 10239")])],
    "a length too large": [lambda r: iter([whole(r).replace(b"Content-Length: 10240", b"Content-Length: 99999")])],
    "no length": [lambda r: iter([whole(r).replace(b"Content-Length: 10240\r\n", b"")])],
}


@pytest.mark.parametrize("answers", TROUBLE.values(), ids=TROUBLE)
def test_a_trouble_that_goes_away_is_not_seen(stop, answers):
    with server(*answers) as (get, _):
        assert bring(get, stop) == DATA


def test_what_arrived_before_a_break_is_not_asked_for_again(stop):
    with server(cut(6000)) as (get, requests):
        assert bring(get, stop) == DATA
    assert [ranged(request)[0] for request in requests] == [0, 4000]


def test_a_kept_connection_that_the_server_closed_costs_no_try(stop, monkeypatch):
    monkeypatch.setattr(transport, "TRIES", 1)
    with server(lambda request: iter([whole(request)])) as (get, requests):
        moved = Transport(stop)
        for _ in range(3):
            moved.bring(lambda: get, SPANS, lambda index, fill: fill(memoryview(bytearray(SPANS[index].length)), len))
    assert len(requests) == 3


def test_a_chunk_that_came_wrong_is_asked_for_again(stop):
    came = []

    def check(index, view):
        came.append(index)
        if came.count(1) == 1 and index == 1:
            raise Again(Failure(ExitCode.MISMATCH, "wrong"))

    with server() as (get, _):
        assert bring(get, stop, check=check) == DATA
    assert came == [0, 1, 1, 2]


LASTING = {
    "404": (status(404), ExitCode.INCOMPLETE, 1),
    "410": (status(410), ExitCode.INCOMPLETE, 1),
    "412": (status(412), ExitCode.MISMATCH, 1),
    "416": (status(416), ExitCode.MISMATCH, 1),
    "400": (status(400), ExitCode.UNREACHABLE, 3),
    "401": (status(401), ExitCode.DENIED, 3),
    "403": (status(403), ExitCode.DENIED, 3),
    "302": (status(302), ExitCode.UNREACHABLE, 1),
    "503": (status(503), ExitCode.UNREACHABLE, 8),
    "closed": (None, ExitCode.UNREACHABLE, 8),
    "another range": (lambda r: whole(r).replace(b"bytes 0-", b"bytes 1-"), ExitCode.UNREACHABLE, 8),
    "the whole object, longer than asked for": (
        lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + DATA, ExitCode.UNREACHABLE, 8),
    "the whole object, shorter than asked for": (
        lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + DATA[:99], ExitCode.MISMATCH, 1),
    "a range of a shorter object": (
        lambda r: whole(r).replace(b"/10240", b"/9999"), ExitCode.MISMATCH, 1),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "code", "tries"), LASTING.values(), ids=LASTING)
def test_a_trouble_that_stays_ends_with_its_meaning(stop, answer, code, tries):
    with server(*[answer] * 9) as (get, requests), pytest.raises(Failure, match="object 'o'") as raised:
        bring(get, stop)
    assert raised.value.code is code
    assert len(requests) == tries


def test_a_server_without_ranges_serves_whole_objects(stop):
    with server(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n" + DATA) as (get, _):
        assert bring(get, stop) == DATA


def unmeasured(number, body=b"", more=""):
    header = f"HTTP/1.0 {number} X\r\n{more}\r\n".encode()
    return lambda _: iter([header, body[:7], body[7:]])


UNMEASURED = {
    "a redirect": (unmeasured(302, more="Location: /there\r\n"), (302, b"")),
    "a 404 with a page": (unmeasured(404, b"<h1>Nothing here</h1>"), (404, b"<h1>Nothing here</h1>")),
    "more than is asked for": (unmeasured(200, b"x" * 70_000), (200, b"x" * 101)),
    "a body that comes with the header": (
        lambda _: iter([b"HTTP/1.1 404 X\r\nConnection: close\r\n\r\ngone"]), (404, b"gone")),
    "after a 503": (unmeasured(200, b"there"), (200, b"there"), unmeasured(503, b"busy")),
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected", "before"), [(*row, None)[:3] for row in UNMEASURED.values()], ids=UNMEASURED
)
def test_an_answer_without_a_length_ends_with_its_connection(stop, answer, expected, before):
    with server(*filter(None, (before, answer))) as (get, _):
        moved = Transport(stop)
        status, _, body = moved.small(lambda: get, 100)
        again = moved.small(lambda: Get(get.url, get.what, {"Range": "bytes=0-3"}), 100)
    assert (status, body) == expected
    assert again[2] == DATA[:4], "the connection was not kept"


def test_an_answer_that_stalls_is_given_up(stop, monkeypatch):
    monkeypatch.setattr(connection, "LEAST_PER", 1.5)
    monkeypatch.setattr(transport, "TRIES", 1)

    def dribble(request):
        for n in range(100):
            yield whole(request)[n : n + 1]
            time.sleep(0.1)

    with server(dribble) as (get, _), pytest.raises(Failure, match="stalled") as raised:
        bring(get, stop)
    assert raised.value.code is ExitCode.STALLED


def test_a_wait_for_the_network_ends_with_sigterm(stop):
    def silent(_request):
        time.sleep(5)
        yield b""

    with server(silent) as (get, _):
        threading.Timer(0.2, stop.ask, ["SIGTERM"]).start()
        began = time.monotonic()
        with pytest.raises(Failure, match="SIGTERM") as raised:
            bring(get, stop)
    assert raised.value.code is ExitCode.INTERRUPTED
    assert time.monotonic() - began < 2.5


def test_nobody_listening_is_unreachable(stop):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(Failure, match="no connection") as raised:
        bring(Get(f"http://127.0.0.1:{port}/o", "object 'o'"), stop)
    assert raised.value.code is ExitCode.UNREACHABLE


def test_time_that_the_caller_takes_between_chunks_is_no_stall(stop, monkeypatch):
    monkeypatch.setattr(connection, "LEAST_PER", 0.2)
    monkeypatch.setattr(connection, "LEAST_BYTES", 10**9)

    def late(request):
        sent = whole(request)
        yield sent[:4000]  # the rest must not come with the header, which is read without looking at the clock
        time.sleep(0.1)
        yield sent[4000:]

    with server(late) as (get, requests):
        assert bring(get, stop, check=lambda *_: time.sleep(0.3)) == DATA  # as --bandwidth-limit does
    assert len(requests) == 1
