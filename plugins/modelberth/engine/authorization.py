"""Who is asking for a source's file: the header Authorization, made anew where it expires.

| the environment has | the header |
|---|---|
| MODELBERTH_FETCH_AUTHORIZATION | that, as it is: ``Bearer hf_...``, ``Basic ...`` |
| MODELBERTH_FETCH_GOOGLE_SCOPE | a token for it, of MODELBERTH_FETCH_GOOGLE_CREDENTIALS or the pod's own account |
| neither | none |

A server that answers 401 and names where tokens are to be had, as container registries do, is given one: who has a user
and password (``Basic``) shows it there, who has nothing asks as anybody.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.http import Get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelberth.engine.transport import Transport

FETCH = "MODELBERTH_FETCH_"
NAME = f"{FETCH}AUTHORIZATION"
_LARGEST_ANSWER = 64 * 1024
_PARAMETER = re.compile(r'(realm|service|scope)="([^"\\]*)"')


class Authorization:
    """What all files of a list have in common."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._stated = os.environ.get(NAME, "")
        self._google = _google_credentials() if os.environ.get(f"{FETCH}GOOGLE_SCOPE") else None
        self._tokens: dict[tuple[str, str | None, int | None], str] = {}

    def header(self, url: str) -> str:
        """Return the header for the server of *url*, empty for none.

        :raises Failure: Google gives no token.
        """
        with self._lock:
            if self._google:
                return f"Bearer {_google_token(self._google)}"
            return self._tokens.get(server(url), self._stated)

    def learn(self, url: str, used: str, headers: Mapping[str, str]) -> bool:
        """Take a token from where an answer 401 says; return whether there is another header to try now.

        :param used: The header that was denied.
        :raises Failure: There is no token to be had.
        """
        said = headers.get("www-authenticate", "")
        named = dict(_PARAMETER.findall(said))
        if self._google or not said.lower().startswith("bearer ") or "realm" not in named:
            return False
        with self._lock:
            if self._tokens.get(server(url), self._stated) != used:
                return True  # another file's request has brought one meanwhile
            self._tokens[server(url)] = f"Bearer {self._asked(url, named)}"
        return True

    def _asked(self, url: str, named: dict[str, str]) -> str:
        realm = named.pop("realm")
        if urlsplit(realm).scheme not in ({"https"} | {urlsplit(url).scheme} & {"http"}) or "?" in realm:
            raise Failure(ExitCode.REFUSED, f"The server of {shown(url)} sends for a token to {realm!r}: not followed.")
        shows = {"Authorization": self._stated} if self._stated.startswith("Basic ") else {}
        get = Get(f"{realm}?{urlencode(named)}", f"a token for {shown(url)}", shows)
        status, _, data = self._transport.small(lambda: get, _LARGEST_ANSWER)
        token = _token(data) if status == 200 else ""
        if not token:
            raise Failure(
                ExitCode.DENIED,
                f"{realm!r} gave no token for {shown(url)} (HTTP status {status}): check user and password, or {NAME}.",
            )
        return token


def server(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of *url*."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def shown(url: str) -> str:
    """Return *url* without its query, which may hold a signature: for messages."""
    return repr(url.partition("?")[0])


def _token(data: bytes) -> str:
    """Return the token of an answer, empty where it has none that fits a header."""
    try:
        said = json.loads(data)
        token = said.get("token") or said.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return token if isinstance(token, str) and re.fullmatch(r"[!-~]{1,32768}", token) else ""


def _google_credentials() -> Any:
    """Return who the environment says is asking Google.

    :raises Failure: It does not say.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    scopes = [os.environ[f"{FETCH}GOOGLE_SCOPE"]]
    key = os.environ.get(f"{FETCH}GOOGLE_CREDENTIALS", "")
    load: Any = google.auth.load_credentials_from_dict
    try:
        return (load(json.loads(key), scopes=scopes) if key else google.auth.default(scopes=scopes))[0]
    except (ValueError, GoogleAuthError) as error:
        text = f"No Google credentials for the source: neither {FETCH}GOOGLE_CREDENTIALS nor the pod's own will do."
        raise Failure(ExitCode.DENIED, text) from error


def _google_token(found: Any) -> str:
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request

    try:
        if not found.valid:
            found.refresh(Request())
    except TransportError as error:
        raise Failure(ExitCode.UNREACHABLE, "Google gave no token for the source: it does not answer.") from error
    except GoogleAuthError as error:
        raise Failure(ExitCode.DENIED, f"Google gave no token for the source ({type(error).__name__}).") from error
    return str(found.token)
