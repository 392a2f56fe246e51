"""How an object is cut into the parts of an upload, and which of them an earlier object of the bucket already holds.

What is sent as a whole is cut into equal parts of a multiple of the chunk's size, since R2 joins no others::

    [0, 8 MiB)  [8 MiB, 16 MiB)  ...                  whatever the head: a chunk may lie in two parts

What an earlier object holds in part is cut where the bytes come from: runs of chunks that lie there as neighbours are
copied inside the bucket, the rest is sent. A part that is not the last needs 5 MiB, so that a run of less takes bytes
from its neighbour::

    sent [0, 11300 + 5 MiB)  copied [.., 2 GiB)       the header was edited, and shifted everything behind it
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE, Span, chunk_spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_PARTS = 9_000
"""S3 takes 10,000."""

SMALLEST = 5 * 1024 * 1024
_LARGEST_COPY = 256 * 1024 * 1024
"""Several at once are faster than one of the 5 GiB that S3 allows, and none outlasts a client's time-out."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in an object of the bucket: from byte *start* on."""

    key: str
    start: int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an object.

    :param held: Where the same bytes are in the bucket; None when they are sent.
    """

    span: Span
    held: Spot | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The chunks that a bucket holds: one spot for each digest, and the digest at each spot."""

    spots: dict[bytes, Spot]
    digests: dict[Spot, bytes]


def part_size(size: int) -> int:
    """Return the bytes of each part, but the last, of an object of *size* bytes."""
    return CHUNK_SIZE * max(1, -(-size // (CHUNK_SIZE * MOST_PARTS)))


def equal_parts(size: int) -> list[Part]:
    """Return the parts of an object that is sent as a whole; an empty one has none."""
    return [Part(span) for span in _steps(Span(0, size), part_size(size))]


def delta_parts(size: int, head: int, chunks: Sequence[bytes], held: Held) -> list[Part]:
    """Return the parts of an object of which *held* may hold some.

    | held | parts |
    |---|---|
    | no run of neighbours of 5 MiB | equal ones |
    | runs that would make over 9,000 parts | equal ones |
    | a run of neighbours | copied, in parts of at most 256 MiB |
    | between such runs | sent, in parts of at most :func:`part_size`, grown at their end where one has under 5 MiB |
    """
    step = part_size(size)
    runs = _grown(_merged(_without_small(list(_runs(size, head, chunks, held)))), step)
    parts = [part for run in runs for part in _split(run, step, last=run.span.end == size)]
    found = any(part.held for part in parts) and len(parts) <= MOST_PARTS
    return parts if found else equal_parts(size)


def _runs(size: int, head: int, chunks: Sequence[bytes], held: Held) -> Iterator[Part]:
    """Yield the chunks, those that are neighbours here and where they are held as one."""
    run: Part | None = None
    for digest, span in zip(chunks, chunk_spans(size, head), strict=True):
        spot = held.spots.get(digest)
        if run and run.held:
            after = Spot(run.held.key, run.held.start + run.span.length)
            if held.digests.get(after) == digest:
                run = _longer(run, span.length)
                continue
        if run:
            yield run
        run = Part(span, spot)
    if run:
        yield run


def _longer(run: Part, by: int) -> Part:
    return Part(Span(run.span.start, run.span.length + by), run.held)


def _without_small(runs: list[Part]) -> list[Part]:
    """Let what is too small to be copied be sent; the last part may be small."""
    return [run if run.span.length >= SMALLEST or run is runs[-1] else Part(run.span) for run in runs]


def _merged(runs: Iterable[Part]) -> deque[Part]:
    """Make one run of neighbours that are sent."""
    merged: deque[Part] = deque()
    for sent, group in groupby(runs, key=lambda run: run.held is None):
        members = list(group)
        if sent:
            start = members[0].span.start
            members = [Part(Span(start, members[-1].span.end - start))]
        merged.extend(members)
    return merged


def _grown(runs: deque[Part], step: int) -> Iterator[Part]:
    """Yield the runs, each that is sent and not the last long enough to be cut into parts of 5 MiB or more."""
    while runs:
        run = runs.popleft()
        lack = _least(run.span.length, step) - run.span.length
        if run.held or not runs or lack <= 0:
            yield run
            continue
        after = runs.popleft()
        rest = after.span.length - lack
        if after.held and (rest >= SMALLEST or (not runs and rest > 0)):
            runs.appendleft(Part(Span(after.span.start + lack, rest), Spot(after.held.key, after.held.start + lack)))
            runs.appendleft(_longer(run, lack))
        else:
            runs.appendleft(_longer(run, after.span.length))


def _least(length: int, step: int) -> int:
    return max(length, -(-length // step) * SMALLEST)


def _split(run: Part, step: int, *, last: bool) -> Iterator[Part]:
    """Cut a run into parts: those that are copied or not the last evenly, so that none is under 5 MiB."""
    length, most = run.span.length, _LARGEST_COPY if run.held else step
    each = most if last and not run.held else -(-length // -(-length // most))
    for span in _steps(run.span, each):
        offset = span.start - run.span.start
        yield Part(span, Spot(run.held.key, run.held.start + offset) if run.held else None)


def _steps(span: Span, step: int) -> Iterator[Span]:
    for start in range(span.start, span.end, step):
        yield Span(start, min(step, span.end - start))
