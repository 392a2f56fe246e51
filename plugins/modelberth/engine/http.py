"""Ranged GETs over sockets of our own: bytes go from the kernel into the caller's buffer and nowhere else.

http.client costs a copy, a poll per read and an e-mail parser per answer; at gigabytes a second that is a third of the
time. What is needed here is small: HTTP/1.1, keep-alive, a known length. Clients of the stores do everything else.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urlsplit

from modelberth.engine.connection import Broken, Connection, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelberth.core.chunks import Span
    from modelberth.engine.stopping import Stop

Taken = TypeVar("Taken")

_PIECE = 1024 * 1024
_LONGEST_LINE = 1024
_MOST_INTERIM = 10
_MOST_TRAILERS = 100


@dataclass(frozen=True, slots=True)
class Get:
    """A signed request, complete but for the range.

    :param what: The object's name for messages; the URL may hold a signature.
    :param check: Called with the headers of an answer before its bytes are taken: raises what it does not like.
    """

    url: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Mapping[str, str]], None] | None = None


class Answer(Exception):  # noqa: N818 - not always an error: 412 is what was asked for
    """The server answered with a status that brings no bytes.

    :param headers: The answer's, their names in lower case.
    """

    def __init__(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.headers = headers or {}

    @property
    def retry_after(self) -> float:
        """How long the server asks to wait, seconds; 0 when it does not say, or says it as a date."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else 0.0


class Body:
    """The bytes of an answer, taken in order.

    :param headers: The answer's, their names in lower case.
    """

    def __init__(self, connection: Connection, early: memoryview, watch: Watch, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._early = early
        self._watch = watch
        self.headers = headers

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

    def read(self, count: int) -> bytes:
        """Return the next *count* bytes."""
        view = memoryview(bytearray(count))
        self._fill_piece(view)
        return bytes(view)

    @property
    def to_the_end(self) -> bool:
        """Whether the body ends with its connection (RFC 9112, 6.3), as of small web servers that redirect."""
        return not {"transfer-encoding", "content-length"} & self.headers.keys()

    def small(self, most: int) -> bytes:
        """Return the whole body, or its first bytes, more than *most*, when it is longer."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._unchunked(most)
        if self.to_the_end:
            early, self._early = bytes(self._early), self._early[:0]
            return (early + self._connection.rest(self._watch, most + 1 - len(early)))[: most + 1]
        length = self.headers.get("content-length", "")
        if not length.isdecimal():
            raise Broken("the answer announces no length")
        return self.read(min(int(length), most + 1))

    def _unchunked(self, most: int) -> bytes:
        found = b""
        while size := int(self._line().partition(b";")[0] or b"x", 16):
            if len(found) + size > most:
                return found + self.read(most + 1 - len(found))
            found += self.read(size)
            self._line()
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                return found
        raise Broken("the answer's trailers have no end")

    def _line(self) -> bytes:
        found = b""
        while not found.endswith(b"\r\n"):
            if len(found) == _LONGEST_LINE:
                raise Broken("a line between two pieces of the answer has no end")
            found += self.read(1)
        return found[:-2]


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

        def taken(status: int, body: Body) -> tuple[None, bool]:
            if status not in (200, 206):
                raise Answer(status, body.headers)
            if get.check:
                get.check(body.headers)
            _expect(status, body.headers, span)
            take(body)
            return None, True

        self._answer(get, f"Range: bytes={span.start}-{span.end - 1}\r\n", taken)

    def small(self, get: Get, most: int) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of an answer, of which more than *most* bytes are there when it is longer.

        :raises Broken: The connection failed.
        """

        def taken(status: int, body: Body) -> tuple[tuple[int, Mapping[str, str], bytes], bool]:
            try:
                data = body.small(most)
            except ValueError as error:
                raise Broken("the answer's pieces have no size") from error
            return (status, body.headers, data), len(data) <= most and not body.to_the_end

        return self._answer(get, "", taken)

    def _answer(self, get: Get, more: str, take: Callable[[int, Body], tuple[Taken, bool]]) -> Taken:
        """Send a request and return what *take* makes of the answer, and whether it took all of it."""
        url = urlsplit(get.url)
        place = (url.scheme, url.netloc)
        while True:
            connection = self._connections.pop(place, None) or Connection(url, self._stop)
            try:
                watch = Watch(self._stop)
                connection.send(_request(url, get, more, connection))
                status, headers, early = _header(connection, watch)
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
            found, whole = take(status, Body(connection, early, watch, headers))
        except BaseException:
            connection.close()
            raise
        connection.used = True
        if whole and headers.get("connection", "").lower() != "close":
            self._connections[place] = connection
        else:
            connection.close()
        return found

    @property
    def _connections(self) -> dict[tuple[str, str], Connection]:
        if not hasattr(self._local, "connections"):
            self._local.connections = {}
        kept: dict[tuple[str, str], Connection] = self._local.connections
        return kept


def _request(url: SplitResult, get: Get, more: str, connection: Connection) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    if connection.through:
        target, more = f"{url.scheme}://{url.netloc}{target}", more + connection.authorisation
    headers = "".join(f"{name}: {value}\r\n" for name, value in get.headers.items())
    host = url.netloc.rpartition("@")[2]
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n{headers}{more}\r\n".encode(
        "latin-1"
    )


def _header(connection: Connection, watch: Watch) -> tuple[int, dict[str, str], memoryview]:
    """Return status, headers and what of the body came with them."""
    early = memoryview(b"")
    for _ in range(_MOST_INTERIM):
        (first, *lines), early = connection.header(watch, early)
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise Broken("the answer is not HTTP/1")
        if not rest.startswith("1"):
            pairs = (line.partition(":") for line in lines)
            return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}, early
    raise Broken(f"the server sent {_MOST_INTERIM} interim answers and no final one")


def _expect(status: int, headers: Mapping[str, str], span: Span) -> None:
    """Refuse an answer that is not exactly *span*.

    :raises Answer: 416 when the object ends too early, as the server itself would say.
    :raises Broken: Another range came, or none is named.
    """
    length = headers.get("content-length", "")
    came, _, total = headers.get("content-range", "").removeprefix("bytes ").partition("/")
    whole = length if status == 200 else total
    if whole.isascii() and whole.isdigit() and int(whole) < span.end:
        raise Answer(416, headers)
    if span.start if status == 200 else came != f"{span.start}-{span.end - 1}":
        raise Broken(f"the answer is another range than bytes {span.start}-{span.end - 1}")
    if length != str(span.length):
        raise Broken(f"the answer announces {length or 'no'} bytes; asked for {span.length}")
