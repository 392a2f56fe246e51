"""Airflow's connections, and the clients that the providers' hooks make of them.

Each connection is asked for through Airflow's supervisor, and each client takes 0.1 s of a processor: a look at a
thousand models, which have a few of them, asks for each once (``kept``).
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Connection

CONNECT_TIMEOUT, READ_TIMEOUT = 5, 20
"""Seconds; with the clients' own two retries a dead store is known within about a minute."""

AT_ONCE = 32
"""Requests that a client can have under way."""

_T = TypeVar("_T")
_LOCK = Lock()
_KEPT: dict[tuple[str, ...], Future[Any]] | None = None


@contextmanager
def kept() -> Iterator[None]:
    """Make ``once`` keep what it makes, for all threads of this process, and so connections and clients.

    What could not be made is kept as well: it is asked for again at the next look.
    """
    global _KEPT  # noqa: PLW0603 - threads do not inherit context variables
    _KEPT = {}
    try:
        yield
    finally:
        _KEPT = None


def once(make: Callable[[], _T], *key: str) -> _T:
    """Return what *make* returns; while things are ``kept``, what it returned or raised for *key* before."""
    with _LOCK:
        if (known := _KEPT) is None:
            found = None
        elif found := known.get(key):
            make = found.result
        else:
            found = known[key] = Future()
            make = _noting(found, make)
    return make()


def connection(name: str) -> Connection:
    """Return the connection called *name*.

    :raises AirflowNotFoundException: There is none.
    """
    from airflow.sdk import BaseHook

    return once(lambda: BaseHook.get_connection(name), "connection", name)


_NEWEST: dict[str, tuple[str, Any]] = {}
"""The newest client of S3 of each connection, and what the connection was: a task asks for several. Clients are safe
for threads and renew credentials that expire."""


def s3_client(name: str) -> Any:
    """Return the client of S3 that connection *name*, as it is now, stands for.

    :raises AirflowNotFoundException: There is no such connection.
    """
    return once(lambda: _newest_s3_client(name), "s3", name)


def gcs_client(name: str) -> Any:
    """Return the client of Google Cloud Storage that connection *name* stands for.

    :raises AirflowNotFoundException: There is no such connection.
    """
    from airflow.providers.google.cloud.hooks.gcs import GCSHook

    connection(name)  # the hook takes a missing one for 'use the worker's own rights'
    return once(lambda: GCSHook(gcp_conn_id=name).get_conn(), "gcs", name)


def _newest_s3_client(name: str) -> Any:
    now = connection(name).get_uri()
    known, client = _NEWEST.get(name, ("", None))
    if known != now:
        client = _new_s3_client(name)
        _NEWEST[name] = (now, client)
    return client


def _new_s3_client(name: str) -> Any:
    """Return the hook's client, with our time-outs added to what the connection configures."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.config import Config  # type: ignore[import-untyped]

    ours = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"max_attempts": 2},
        max_pool_connections=AT_ONCE,
    )
    theirs = S3Hook(aws_conn_id=name).config
    return S3Hook(aws_conn_id=name, config=ours.merge(theirs) if theirs else ours).get_conn()


def _noting(note: Future[_T], make: Callable[[], _T]) -> Callable[[], _T]:
    """Return what makes it, and lets those know who wait for it meanwhile."""

    def made() -> _T:
        try:
            note.set_result(make())
        except BaseException as error:
            note.set_exception(error)
            raise
        return note.result()

    return made
