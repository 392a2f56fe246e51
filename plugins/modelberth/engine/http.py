"""Ranged GETs over sockets of our own: bytes go from the kernel into the caller's buffer and nowhere else.

http.client costs a copy, a poll per read and an e-mail parser per answer; at gigabytes a second that is a third of the
time. What is needed here is small: HTTP/1.1, keep-alive, a known length. Clients of the stores do everything else.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelberth.core.chunks import Span
    from modelberth.engine.stopping import Stop

CONNECT_WITHIN = 10.0
LEAST_BYTES = 64 * 1024
LEAST_PER = 30.0
"""An answer that brings less than 64 KiB in 30 s is given up: a link that slow would take weeks for a model."""

_TICK = 1.0
_PIECE = 1024 * 1024
_LONGEST_HEADER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Get:
    """A signed request, complete but for the range.

    :param what: The object's name for messages; the URL may hold a signature.
    """

    url: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer(Exception):  # noqa: N818 - not always an error: 412 is what was asked for
    """The server answered with a status that brings no bytes."""

    def __init__(self, status: int, retry_after: float = 0.0) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.retry_after = retry_after


class Broken(Exception):  # noqa: N818 - healed by the next try
    """The connection broke, stalled or spoke no HTTP: the same request may work on another."""


class Stalled(Broken):
    """Less than the least progress."""


class _Watch:
    """Sees to it that a connection makes progress, and that SIGTERM is noticed while it waits."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._since = time.monotonic()
        self._bytes = 0

    def restart(self) -> None:
        """Begin to wait now: what passed before was the caller's own time, a limit's or a disk's."""
        self._since, self._bytes = time.monotonic(), 0

    def got(self, count: int) -> None:
        """Count bytes, 0 when a second passed without any.

        :raises Stalled: Too few came for too long.
        """
        self._stop.check()
        self._bytes += count
        waited = time.monotonic() - self._since
        if waited < LEAST_PER:
            return
        if self._bytes < LEAST_BYTES:
            raise Stalled(f"{self._bytes} bytes in {waited:.0f} s; the least is {LEAST_BYTES}")
        self._since, self._bytes = time.monotonic(), 0


class _Connection:
    """One keep-alive connection."""

    def __init__(self, url: SplitResult, stop: Stop) -> None:
        self._stop = stop
        self.used = False
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            plain = socket.create_connection((url.hostname or "", port), timeout=CONNECT_WITHIN)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = _with_tls(plain, url.hostname) if url.scheme == "https" else _with_ticks(plain)
        except OSError as error:
            raise Broken(f"no connection to {url.hostname}:{port}: {error}") from error
        # MSG_WAITALL brings a whole piece in one call; TLS hands out records of 16 KiB and knows no flags.
        self._flags = 0 if url.scheme == "https" else socket.MSG_WAITALL

    def send(self, data: bytes) -> None:
        """Send a request."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Broken(str(error)) from error

    def receive(self, view: memoryview, watch: _Watch, flags: int | None = None) -> int:
        """Receive up to ``len(view)`` bytes; 0 means that a second passed without any."""
        try:
            count = self._socket.recv_into(view, len(view), self._flags if flags is None else flags)
        except (BlockingIOError, TimeoutError):
            watch.got(0)
            return 0
        except OSError as error:
            raise Broken(str(error)) from error
        if not count:
            raise Broken("the server closed the connection too early")
        watch.got(count)
        return count

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _with_tls(plain: socket.socket, host: str | None) -> socket.socket:
    secure = _tls().wrap_socket(plain, server_hostname=host)
    secure.settimeout(_TICK)
    return secure


def _with_ticks(plain: socket.socket) -> socket.socket:
    plain.settimeout(None)  # a time-out of Python's own would make the socket non-blocking and MSG_WAITALL void
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(_TICK), 0))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(LEAST_PER), 0))
    return plain


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)


class Body:
    """The bytes of an answer, taken in order."""

    def __init__(self, connection: _Connection, early: memoryview, watch: _Watch) -> None:
        self._connection = connection
        self._early = early
        self._watch = watch

    def fill(self, view: memoryview, each: Callable[[memoryview], object]) -> None:
        """Receive ``len(view)`` bytes into *view*, calling *each* with a piece while it is still in the cache."""
        self._watch.restart()
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._fill_piece(piece)
            each(piece)

    def _fill_piece(self, piece: memoryview) -> None:
        filled = min(len(self._early), len(piece))
        piece[:filled] = self._early[:filled]
        self._early = self._early[filled:]
        while filled < len(piece):
            filled += self._connection.receive(piece[filled:], self._watch)


class Http:
    """Requests with a connection per thread and server, kept alive between them."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._local = threading.local()

    def stream(self, get: Get, span: Span, take: Callable[[Body], None]) -> None:
        """Ask for *span* and let *take* receive exactly its bytes.

        :raises Answer: The server has another answer than the bytes.
        :raises Broken: The connection failed.
        """
        url = urlsplit(get.url)
        place = (url.scheme, url.netloc)
        while True:
            connection = self._connections.pop(place, None) or _Connection(url, self._stop)
            try:
                body, keep = self._ask(connection, url, get, span)
                break
            except Broken:
                connection.close()
                if not connection.used:
                    raise
            # A kept connection may have been closed by the server meanwhile: that says nothing about the request.
            except BaseException:
                connection.close()
                raise
        try:
            take(body)
        except BaseException:
            connection.close()
            raise
        connection.used = True
        if keep:
            self._connections[place] = connection
        else:
            connection.close()

    @property
    def _connections(self) -> dict[tuple[str, str], _Connection]:
        if not hasattr(self._local, "connections"):
            self._local.connections = {}
        kept: dict[tuple[str, str], _Connection] = self._local.connections
        return kept

    def _ask(self, connection: _Connection, url: SplitResult, get: Get, span: Span) -> tuple[Body, bool]:
        watch = _Watch(self._stop)
        connection.send(_request(url, get, span))
        status, headers, early = _header(connection, watch)
        if status not in (200, 206):
            raise Answer(status, _seconds(headers.get("retry-after", "")))
        _expect(status, headers, span)
        return Body(connection, early, watch), headers.get("connection", "").lower() != "close"


def _request(url: SplitResult, get: Get, span: Span) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {"Host": url.netloc, "Accept-Encoding": "identity"} | dict(get.headers)
    headers["Range"] = f"bytes={span.start}-{span.end - 1}"
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _header(connection: _Connection, watch: _Watch) -> tuple[int, dict[str, str], memoryview]:
    """Return status, headers and what of the body came with them."""
    buffer, filled = memoryview(bytearray(_LONGEST_HEADER)), 0
    while (end := bytes(buffer[:filled]).find(b"\r\n\r\n")) < 0:
        if filled == len(buffer):
            raise Broken("the answer's header has over 64 KiB")
        filled += connection.receive(buffer[filled:], watch, flags=0)
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise Broken("the answer is not HTTP/1")
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}, buffer[end + 4 : filled]


def _expect(status: int, headers: Mapping[str, str], span: Span) -> None:
    """Refuse an answer that is not exactly *span*.

    :raises Answer: 416 when the object ends too early, as the server itself would say.
    :raises Broken: Another range came, or none is named.
    """
    length = headers.get("content-length", "")
    if status == 200 and (span.start != 0 or length != str(span.length)):
        raise Answer(416)
    if status == 206:
        came = headers.get("content-range", "").removeprefix("bytes ").partition("/")[0]
        if came != f"{span.start}-{span.end - 1}":
            raise Answer(416)
    if length != str(span.length):
        raise Broken(f"the answer announces {length or 'no'} bytes; asked for {span.length}")


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
