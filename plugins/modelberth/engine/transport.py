"""Brings spans of objects, wherever they are: one GET for several chunks, retried without losing those that arrived."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from modelberth.core.chunks import Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.connection import Broken, Stalled
from modelberth.engine.http import Answer, Get, Http

if TYPE_CHECKING:
    from modelberth.engine.stopping import Stop

TRIES = 8
"""Without a single chunk in between: about a minute of waiting."""

SMALL_TRIES = 5
"""For what a person waits to see: a wrong address is told within ten seconds."""

_LONGEST_WAIT = 20.0

Fill = Callable[[memoryview, Callable[[memoryview], object]], None]
Sink = Callable[[int, Fill], None]
"""Called with a chunk's place in the spans, and what fills a buffer with its bytes."""


class Again(Exception):  # noqa: N818 - healed by the next try
    """What came is not what was asked for, which a second try may heal: a bit that flipped on the way."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Transport:
    """Moves bytes from ``file``, ``http`` and ``https`` URLs."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._http = Http(stop)

    def bring(self, sign: Callable[[], Get], spans: Sequence[Span], sink: Sink) -> None:
        """Let *sink* receive each of *spans*, which are neighbours, in order.

        A broken connection is replaced; *sink* is called again for the span that it interrupted.

        :param sign: Makes the request anew for each try, since signatures expire.
        :raises Failure: It did not work, nor after retries.
        """
        done = tries = 0
        while done < len(spans):
            before, get = done, sign()

            def take(fill: Fill) -> None:
                nonlocal done
                while done < len(spans):
                    sink(done, fill)
                    done += 1

            try:
                self._once(get, Span(spans[done].start, spans[-1].end - spans[done].start), take)
            except (Answer, Broken, Again) as trouble:
                tries = tries + 1 if done == before else 1
                self._wait(trouble, tries, _most(trouble), get.what)

    def small(self, sign: Callable[[], Get], most: int) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of a small answer; one that a later try may change is not returned.

        :raises Failure: There was none, nor after retries.
        """
        tries = 0
        while True:
            get = sign()
            try:
                status, headers, data = self._http.small(get, most)
                if _may_pass(status):
                    raise Answer(status, headers)
            except (Answer, Broken) as trouble:
                tries += 1
                self._wait(trouble, tries, min(_most(trouble), SMALL_TRIES), get.what)
            else:
                return status, headers, data

    def _once(self, get: Get, span: Span, take: Callable[[Fill], None]) -> None:
        if get.url.startswith("file:"):
            _from_file(get, span, take)
        else:
            self._http.stream(get, span, lambda body: take(body.fill))

    def _wait(self, trouble: Answer | Broken | Again, tries: int, most: int, what: str) -> None:
        """Wait before the next try, or say that there is none."""
        if tries >= most:
            raise final(trouble, tries, what) from trouble
        wait = min(_LONGEST_WAIT, 0.25 * 2**tries) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter is no secret
        asked = trouble.retry_after if isinstance(trouble, Answer) else 0.0
        self._stop.sleep(max(wait, min(asked, 60.0)))


def _most(trouble: Exception) -> int:
    """Return how many tries a trouble is worth.

    | trouble | tries |
    |---|---|
    | 408, 429, 5xx, a broken or stalled connection | 8 |
    | other bytes than the digest's | 3 |
    | 401, 403 and AWS' 400 for a token that expired, which a clock or a fresh credential may heal | 3 |
    | any other answer | 1 |
    """
    if isinstance(trouble, Broken):
        return TRIES
    if isinstance(trouble, Answer):
        return TRIES if _may_pass(trouble.status) else 3 if trouble.status in (400, 401, 403) else 1
    return 3


def _may_pass(status: int) -> bool:
    """Whether a status speaks of the server's state, not of the request."""
    return status in (408, 429) or status >= 500


def final(trouble: Exception, tries: int, what: str) -> Failure:
    """Return what a trouble means when it does not go away.

    | trouble | code |
    |---|---|
    | other bytes than the digest's | mismatch, with its own words |
    | 404, 410 | incomplete: the listing had it |
    | 412 | mismatch: replaced since the upload |
    | 416 | mismatch: shorter than the upload |
    | 401, 403 | denied |
    | a stall | stalled |
    | 400, anything else | unreachable; of a 400 who can list may find out more |
    """
    if isinstance(trouble, Again):
        return trouble.failure
    if isinstance(trouble, Stalled):
        return Failure(ExitCode.STALLED, f"Reading {what} stalled: {trouble}. Run the same again to go on.")
    if isinstance(trouble, Answer):
        code, why = _meaning(trouble.status)
        return Failure(code, f"Could not read {what}: HTTP status {trouble.status}: {why}")
    return Failure(
        ExitCode.UNREACHABLE,
        f"Could not read {what}: {trouble}, {tries} times in a row. Check the server's address (AWS_ENDPOINT_URL for "
        "S3) and the network, then run the same again.",
    )


def _meaning(status: int) -> tuple[ExitCode, str]:
    if status in (404, 410):
        return ExitCode.INCOMPLETE, "it was there when it was listed. Run the same again, or upload again."
    if status == 412:
        return ExitCode.MISMATCH, "it was replaced since the upload. Upload again under another name."
    if status == 416:
        return ExitCode.MISMATCH, "it is shorter than the upload was. Upload again under another name."
    if status in (401, 403):
        return ExitCode.DENIED, "these credentials may not read it. Give the right to read the bucket's prefix."
    return ExitCode.UNREACHABLE, "the store does not serve it now. Run the same again to go on."


def _from_file(get: Get, span: Span, take: Callable[[Fill], None]) -> None:
    path = Path(unquote(urlsplit(get.url).path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Answer(404) from None
    except PermissionError:
        raise Answer(403) from None
    position = span.start

    def fill(view: memoryview, each: Callable[[memoryview], object]) -> None:
        nonlocal position
        read_exactly(descriptor, view, position, each)
        position += len(view)

    try:
        take(fill)
    finally:
        os.close(descriptor)


def read_exactly(descriptor: int, view: memoryview, offset: int, each: Callable[[memoryview], object]) -> None:
    """Read ``len(view)`` bytes at *offset*, calling *each* with a piece while it is still in the cache.

    :raises Answer: 416 when the file ends too early.
    """
    filled = 0
    while filled < len(view):
        piece = view[filled : filled + 1024 * 1024]
        count = os.preadv(descriptor, [piece], offset + filled)
        if not count:
            raise Answer(416)
        each(piece[:count])
        filled += count


def since(began: float) -> float:
    """Return the seconds since *began*, for results."""
    return round(time.monotonic() - began, 3)
