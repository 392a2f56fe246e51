"""Requests to the web servers that know what a source holds: their answers, or what is wrong with them."""

from __future__ import annotations

import base64
import json
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelberth.clients import AT_ONCE, once
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources.connections import connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response, Session

TIMEOUTS = (5, 20)
"""Seconds to connect, and between two pieces of an answer."""

TRIES = 3
LONGEST_WAIT = 10.0
"""Seconds: a server that asks for more is left alone, and the task tries again later."""

LARGEST = 64 * 1024 * 1024
"""Bytes of an answer."""


def authorization(name: str | None) -> str:
    """Return the header Authorization that a connection stands for: a password alone is a token; empty for none.

    :raises Failure: There is no such connection.
    """
    if not name:
        return ""
    found = connection(name)
    if found.login:
        both = base64.b64encode(f"{found.login}:{found.password or ''}".encode()).decode()
        return f"Basic {both}"
    return f"Bearer {found.password}" if found.password else ""


def lent(name: str | None) -> dict[str, str]:
    """Return what a pod needs to ask as the connection does."""
    said = authorization(name)
    return {"MODELBERTH_FETCH_AUTHORIZATION": said} if said else {}


def host_of(name: str | None, otherwise: str) -> str:
    """Return the address that a connection names, without a final ``/``, *otherwise* where it names none.

    :raises Failure: There is no such connection, or its host is no address.
    """
    if not name or not connection(name).host:
        return otherwise
    return once(lambda: _base_of(name), "host", name)


def web(name: str | None = None) -> Web:
    """Return how web servers are asked in the name of connection *name*."""
    return once(lambda: Web(name), "web", name or "")


def _base_of(name: str) -> str:
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(http_conn_id=name)
    hook.get_conn()
    parts = urlsplit(hook.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise Failure(ExitCode.REFUSED, f"Connection {name!r} names no address: expected a host such as https://host.")
    return hook.base_url.rstrip("/")


class Web:
    """How web servers are asked, in the name of a connection or of nobody; by several threads at once."""

    def __init__(self, connection: str | None = None) -> None:
        self.connection = connection

    def json(self, url: str, what: str, **params: Any) -> Any:
        """Return the JSON that is at *url*.

        :param what: What is asked for, as messages name it.
        :raises Failure: It is not to be had, or is none.
        """
        with self.ask(url, what, params) as answer:
            if answer.status_code != 200:
                raise refused(answer, what)
            return self.parsed(answer, what)

    @staticmethod
    def parsed(answer: Response, what: str) -> Any:
        """Return the JSON that an answer is.

        :raises Failure: It is none.
        """
        try:
            return json.loads(Web.body(answer, what))
        except (ValueError, RecursionError) as error:
            text = f"{what} could not be had: the answer of {_shown(answer.url)} is no JSON. Is it the right address?"
            raise Failure(ExitCode.REFUSED, text) from error

    @staticmethod
    def body(answer: Response, what: str) -> bytes:
        """Return all bytes of an answer.

        :raises Failure: They broke off, or are over 64 MiB.
        """
        return b"".join(_bounded(answer, what))

    def read(self, url: str, what: str) -> bytes:
        """Return the bytes that are at *url*.

        :raises Failure: They are not to be had, or over 64 MiB.
        """
        with self.ask(url, what) as answer:
            if answer.status_code != 200:
                raise refused(answer, what)
            return self.body(answer, what)

    def ask(
        self, url: str, what: str, params: Any = None, headers: Mapping[str, str] | None = None, *, follow: bool = True
    ) -> Response:
        """Return an answer whose body is not read yet; one that a later try may change is not returned.

        :raises Failure: There was none, nor after retries.
        """
        from requests import RequestException

        tries = 0
        while True:
            tries += 1
            try:
                answer = self._session.get(
                    url, params=params, headers=headers, timeout=TIMEOUTS, stream=True, allow_redirects=follow
                )
            except (RequestException, ValueError) as error:
                if tries >= TRIES:
                    text = f"{what} could not be had: {_shown(url)} does not answer ({type(error).__name__})."
                    raise Failure(ExitCode.UNREACHABLE, text) from error
                time.sleep(0.5 * tries)
                continue
            wait = _wait(answer, tries)
            if wait is None:
                return answer
            answer.close()
            if tries >= TRIES or wait > LONGEST_WAIT:
                raise _busy(answer, what)
            time.sleep(wait)

    @cached_property
    def _session(self) -> Session:
        from airflow.providers.http.hooks.http import HttpHook
        from requests import Session
        from requests.adapters import HTTPAdapter

        session, said = Session(), authorization(self.connection)
        if self.connection:
            session = HttpHook(http_conn_id=self.connection, tcp_keep_alive=False).get_conn()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_connections=AT_ONCE, pool_maxsize=AT_ONCE))
        if said:
            session.auth = _Stated(said)
        return session


class _Stated:
    """Sends one header: without it requests would rather send what a .netrc says. Redirects elsewhere lose it."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: Any) -> Any:
        request.headers.setdefault("Authorization", self._header)
        return request


def refused(answer: Response, what: str, hint: str = "") -> Failure:
    """Return what an answer without the bytes means.

    | status | code |
    |---|---|
    | 401, 403 | denied |
    | 404, 410 | not found |
    | any other | refused |
    """
    status, where = answer.status_code, _shown(answer.url)
    if status in (401, 403):
        hint = hint or "Give the source a connection with a user and password, or a token that may read it."
        return Failure(ExitCode.DENIED, f"{what} is denied by {where} (HTTP status {status}). {hint}")
    if status in (404, 410):
        hint = hint or "Correct the source in the catalog."
        return Failure(ExitCode.NOT_FOUND, f"{what} is not at {where} (HTTP status {status}). {hint}")
    hint = hint or "Is it the right address?"
    return Failure(ExitCode.REFUSED, f"{what} could not be had: {where} answered with HTTP status {status}. {hint}")


def _wait(answer: Response, tries: int) -> float | None:
    """Return after how many seconds to ask again, None when the answer is one."""
    if answer.status_code not in (408, 429) and answer.status_code < 500:
        return None
    asked = answer.headers.get("Retry-After", "")
    return float(asked) if asked.isdecimal() else 0.5 * 2**tries


def _busy(answer: Response, what: str) -> Failure:
    where = _shown(answer.url)
    if answer.status_code == 429:
        asked = answer.headers.get("Retry-After", "")
        more = f", and asks to wait {asked} s" if asked.isdecimal() else ""
        text = f"{what} could not be had: {where} limits how often it is asked (HTTP status 429){more}."
        return Failure(ExitCode.UNREACHABLE, f"{text} Give the source a connection, which most servers grant more.")
    return Failure(ExitCode.UNREACHABLE, f"{what} could not be had: {where} fails (HTTP status {answer.status_code}).")


def _bounded(answer: Response, what: str) -> list[bytes]:
    from requests import RequestException

    pieces, size = [], 0
    try:
        for piece in answer.iter_content(1024 * 1024):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise Failure(ExitCode.REFUSED, f"{what} was not read: the answer has over {LARGEST} bytes.")
    except RequestException as error:
        text = f"{what} could not be had: {_shown(answer.url)} broke off ({type(error).__name__})."
        raise Failure(ExitCode.UNREACHABLE, text) from error
    return pieces


def _shown(url: str) -> str:
    """Return *url* without its query, which may hold a signature: for messages."""
    return repr(url.partition("?")[0])
