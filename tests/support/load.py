"""Constant load on a Service: real HTTP requests from outside of the cluster, on new connections and on kept ones.

A request counts as lost when its answer is not 200, or when there is none; nothing is asked twice. A client with a kept
connection does what a client should: it opens another one after an answer that says ``Connection: close``.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE = 0.02
"""Seconds between two requests of one client: enough for an endless stream, and not all of a small machine."""

ANSWER_WITHIN = 10


@dataclass
class Load:
    """What became of the requests to one address.

    :param answered: When each answer came, and the ``revision`` in it. :param lost: What happened instead.
    """

    address: tuple[str, int]
    answered: list[tuple[float, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def sent(self) -> int:
        return len(self.answered) + len(self.lost)

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds in which no answer came to any client."""
        return max(after - before for before, after in pairwise(sorted(moment for moment, _ in self.answered)))

    @property
    def revisions(self) -> list[str]:
        """The revisions that answered, in the order of their first answer."""
        return list(dict.fromkeys(revision for _, revision in sorted(self.answered)))

    def wait_for(self, requests: int, within: float = 60) -> None:
        """Wait until so many more requests were sent."""
        goal, deadline = self.sent + requests, time.monotonic() + within
        while self.sent < goal:
            assert time.monotonic() < deadline, f"{self.sent} of {goal} requests sent; lost: {self.lost[:3]}"
            time.sleep(0.05)

    def client(self, *, keep: bool) -> None:
        """Ask until the end, on one connection as long as it may be kept, or on a new one each time."""
        connection = self._connection()
        while not self.ending.wait(PAUSE):
            try:
                usable = self._ask(connection, keep=keep)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.lost.append(f"{time.strftime('%H:%M:%S')} {'kept' if keep else 'new'}: {error!r}")
                usable = False
            if not (keep and usable):
                connection.close()
                connection = self._connection()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, *, keep: bool) -> bool:
        """Send one request; return whether the connection may be used again."""
        connection.request("GET", "/modelz", headers={} if keep else {"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{answer.status} {body[:200]!r}")
        self.answered.append((time.monotonic(), json.loads(body)["revision"]))
        return not answer.will_close

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=ANSWER_WITHIN)


@contextmanager
def constant_load(address: tuple[str, int], kept: int = 4, new: int = 4) -> Iterator[Load]:
    """Keep so many clients of each kind asking while the block runs."""
    load = Load(address)
    clients = [
        threading.Thread(target=load.client, kwargs={"keep": keep})
        for keep, count in ((True, kept), (False, new))
        for _ in range(count)
    ]
    for one in clients:
        one.start()
    try:
        yield load
    finally:
        load.ending.set()
        for one in clients:
            one.join()
