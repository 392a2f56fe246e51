"""One TCP or TLS connection of our own, through a proxy where one is set, watched for progress while it waits."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from modelberth.engine.stopping import Stop

CONNECT_WITHIN = 5.0
LEAST_BYTES = 64 * 1024
LEAST_PER = 30.0
"""An answer that brings less than 64 KiB in 30 s is given up: a link that slow would take weeks for a model."""

_TICK = 1.0
_LONGEST_HEADER = 64 * 1024
_NOTHING = memoryview(b"")


class Broken(Exception):  # noqa: N818 - healed by the next try
    """The connection broke, stalled or spoke no HTTP: the same request may work on another."""


class Stalled(Broken):
    """Less than the least progress."""


class Ended(Broken):
    """The server ended the connection."""


class Watch:
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


class Connection:
    """One keep-alive connection to the server of a URL.

    :param through: Whether requests must name the whole URL, since a proxy reads them.
    :raises Broken: The server or its proxy does not answer.
    """

    def __init__(self, url: SplitResult, stop: Stop) -> None:
        self.used = False
        self.through = False
        self._secure = secure = url.scheme == "https"
        proxy = _proxy(url.scheme, url.hostname or "")
        try:
            host, port = url.hostname or "", url.port or (443 if secure else 80)
            self._socket = _connected(*(_place(proxy) if proxy else (host, port)))
            if proxy and secure:
                self._tunnel(host, port, proxy, Watch(stop))
            elif proxy:
                self.through, self.authorisation = True, _authorisation(proxy)
            if secure:
                self._socket = _with_tls(self._socket, host)
        except (OSError, ValueError) as error:  # a port or a name that cannot be one, too
            way = f" through the proxy {proxy.hostname}" if proxy else ""
            raise Broken(f"no connection to {url.netloc.rpartition('@')[2]}{way}: {error}") from error

    def _tunnel(self, host: str, port: int, proxy: SplitResult, watch: Watch) -> None:
        """Ask a proxy to pass on what follows."""
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.send(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n{_authorisation(proxy)}\r\n".encode("latin-1"))
        lines, early = self.header(watch)
        if not re.match(r"HTTP/1\.[01] 200\b", lines[0]) or early:
            raise Broken(f"the proxy {proxy.hostname} answered {lines[0][:40]!r}")

    def send(self, data: bytes) -> None:
        """Send a request."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Broken(str(error)) from error

    def receive(self, view: memoryview, watch: Watch) -> int:
        """Receive up to ``len(view)`` bytes, as many as come in one go; 0 means that a second passed without any.

        :raises Broken: The connection ended.
        """
        return self._received(self._records if self._secure else self._whole, view, watch)

    def _received(self, take: Callable[[memoryview], int], view: memoryview, watch: Watch) -> int:
        try:
            count = take(view)
        except (BlockingIOError, TimeoutError):
            count = 0
        except OSError as error:
            raise Broken(str(error)) from error
        watch.got(count)
        return count

    def _some(self, view: memoryview) -> int:
        """Receive what is there."""
        return _more_than_none(self._socket.recv_into(view))

    def _whole(self, view: memoryview) -> int:
        """Receive a whole piece in one call."""
        return _more_than_none(self._socket.recv_into(view, 0, socket.MSG_WAITALL))

    def _records(self, view: memoryview) -> int:
        """Receive over TLS, which hands out records of 16 KiB: to look round after each costs a tenth of the time."""
        count, until = 0, time.monotonic() + _TICK
        while count < len(view) and time.monotonic() < until:
            try:
                count += self._some(view[count:])
            except TimeoutError:
                break
        return count

    def header(self, watch: Watch, early: memoryview = _NOTHING) -> tuple[list[str], memoryview]:
        """Return the lines of an answer's header, and what came with them.

        :param early: What came with the header before it.
        """
        buffer, filled = memoryview(bytearray(_LONGEST_HEADER)), len(early)
        buffer[:filled] = early
        while (end := buffer.obj.find(b"\r\n\r\n", 0, filled)) < 0:  # type: ignore[attr-defined]
            if filled == len(buffer):
                raise Broken("the answer's header has over 64 KiB")
            filled += self._received(self._some, buffer[filled:], watch)
        return bytes(buffer[:end]).decode("latin-1").split("\r\n"), buffer[end + 4 : filled]

    def rest(self, watch: Watch, most: int) -> bytes:
        """Return what comes until the server ends the connection, of more than *most* bytes the first few more.

        :raises Broken: The connection ended in another way.
        """
        found, view = b"", memoryview(bytearray(_LONGEST_HEADER))
        while len(found) < most:
            try:
                found += view[: self._received(self._some, view, watch)]
            except Ended:
                break
        return found

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never connected
            self.close()  # a kept one ends with the thread that kept it


def _more_than_none(count: int) -> int:
    if not count:
        raise Ended("the server closed the connection too early")
    return count


def _connected(host: str, port: int) -> socket.socket:
    plain = socket.create_connection((host, port), timeout=CONNECT_WITHIN)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.settimeout(None)  # a time-out of Python's own would make the socket non-blocking and MSG_WAITALL void
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(_TICK), 0))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(LEAST_PER), 0))
    return plain


def _with_tls(plain: socket.socket, host: str) -> socket.socket:
    plain.settimeout(CONNECT_WITHIN)
    secure = _tls().wrap_socket(plain, server_hostname=host)
    secure.settimeout(_TICK)
    return secure


@cache
def _tls() -> ssl.SSLContext:
    import ssl  # 15 ms that a plain connection need not wait

    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)


@cache
def _proxy(scheme: str, host: str) -> SplitResult | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for *host*, as curl and the SDKs read them."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # 20 ms that most pods need not wait

    found = getproxies()
    text = found.get(scheme) or found.get("all")
    return None if not text or proxy_bypass(host) else urlsplit(text if "://" in text else f"http://{text}")


def _place(proxy: SplitResult) -> tuple[str, int]:
    return proxy.hostname or "", proxy.port or 80


def _authorisation(proxy: SplitResult) -> str:
    if not proxy.username:
        return ""
    from base64 import b64encode

    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(words.encode()).decode()}\r\n"
