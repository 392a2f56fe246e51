"""Asking serving pods by their addresses, with what a Secret has.

The Secret is mounted as a directory of files:

    ca.crt         certificates that the servers' own must come from (PEM); required for https
    server-name    the name that is in the servers' certificates; without it any name is accepted from ``ca.crt``
    <Header>       every other file is a header of that name, such as Authorization or X-API-Key

No value of the Secret is ever said: not in a result, not in a log, not in an error.
"""

from __future__ import annotations

import json
import re
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any

from modelberth.core.confirm import LONGEST_ANSWER, Answer, answers_problems
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.probe import Order, Serving, parse, told

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 20.0
"""Seconds for which a pod may say nothing."""

_AT_ONCE = 8

_HEADER = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True)
class Credentials:
    """What the Secret has."""

    headers: dict[str, str]
    tls: ssl.SSLContext | None
    server_name: str | None


def probe(text: str, secret: Path) -> dict[str, Any]:
    """Ask every pod of the order *text* and return what is to be told about them.

    :param secret: The directory that the Secret is mounted as.
    :raises Failure: The order or the Secret cannot be used.
    """
    try:
        order = parse(text)
    except ValueError as error:
        raise Failure(ExitCode.REFUSED, str(error)) from error
    credentials = read(secret, order.scheme)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = pool.map(lambda pod: _problems(order, credentials, pod), order.pods)
        return told(dict(zip((pod.name for pod in order.pods), found, strict=True)))


def read(secret: Path, scheme: str) -> Credentials:
    """Return what the files in *secret* are.

    :raises Failure: A file that is none of those above, or that no header or certificate can be.
    """
    texts = {one.name: one.read_bytes().strip() for one in secret.iterdir() if not one.name.startswith("..")}
    authority, name = texts.pop("ca.crt", None), texts.pop("server-name", None)
    if odd := sorted(key for key in texts if not _HEADER.fullmatch(key)):
        raise Failure(ExitCode.REFUSED, f"The probe's Secret has {', '.join(odd)}: neither ca.crt nor a header's name.")
    headers = {key: value.decode("latin-1") for key, value in texts.items()}
    if odd := sorted(key for key, value in headers.items() if not _VALUE.fullmatch(value)):
        raise Failure(ExitCode.REFUSED, f"The probe's Secret has a value that no header can have: {', '.join(odd)}.")
    server_name = name.decode(errors="replace") if name else None
    return Credentials(headers, _tls(authority, server_name) if scheme == "https" else None, server_name)


def _tls(authority: bytes | None, server_name: str | None) -> ssl.SSLContext:
    if not authority:
        raise Failure(ExitCode.REFUSED, "The probe's Secret has no ca.crt, which https needs.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # A pod is asked by its address, which is in no certificate.
    context.check_hostname = server_name is not None
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise Failure(ExitCode.REFUSED, "ca.crt of the probe's Secret holds no certificates (PEM).") from None
    return context


def _problems(order: Order, credentials: Credentials, pod: Serving) -> list[str]:
    def ask(path: str, body: Any) -> Answer:
        return _ask(_connection(pod.address, order.confirm.port or 0, credentials), path, body, credentials.headers)

    return answers_problems(order.confirm, order.named, ask)


def _connection(address: str, port: int, credentials: Credentials) -> HTTPConnection:
    if credentials.tls is None:
        return HTTPConnection(address, port, timeout=TIMEOUT)
    return _Named(address, port, credentials.tls, credentials.server_name)


class _Named(HTTPSConnection):
    """A connection to an address whose certificate has a name."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext, server_name: str | None) -> None:
        super().__init__(address, port, timeout=TIMEOUT, context=tls)
        self._tls, self._server_name = tls, server_name

    def connect(self) -> None:
        """Connect, and ask for the certificate of the name."""
        HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def _ask(connection: HTTPConnection, path: str, body: Any, headers: dict[str, str]) -> Answer:
    """Return the answer to one request: POST with a *body*, GET without one."""
    data = None if body is None else json.dumps(body).encode()
    about = {} if data is None else {"Content-Type": "application/json"}
    try:
        connection.request("GET" if data is None else "POST", path, data, {**about, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read(LONGEST_ANSWER + 1))
    except ssl.SSLCertVerificationError as error:
        return Answer(0, f"its certificate is refused: {error.verify_message}".encode())
    except (OSError, HTTPException) as error:
        return Answer(0, type(error).__name__.encode())
    finally:
        connection.close()
