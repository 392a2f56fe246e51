"""How a file is cut into chunks, and chunks into requests.

A chunk is 8 MiB: small enough to be verified in memory before any of its bytes reaches a file, and the
smallest power of two that can be a part of an S3 upload. Where tensor data starts (``head``) a new chunk
begins, so that an edited header does not shift every chunk behind it::

    head = 11224        [0, 11224)  [11224, 11224 + 8 MiB)  [11224 + 8 MiB, ...)  ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK_SIZE = 8 * 1024 * 1024
_LONGEST_RUN = 8
"""64 MiB: what a server spends on finding an object is then little beside its bytes."""


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes [start, start + length) of a file."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.length

    def __str__(self) -> str:
        return f"bytes {self.start}-{self.end}"

    def until(self, end: int) -> Span:
        """Return what lies between this and *end*."""
        return Span(self.end, end - self.end)

    def whole_blocks(self, block: int) -> Span:
        """Return the whole blocks of *block* bytes that lie in it; empty, at its start, when there are none."""
        start, end = -(-self.start // block) * block, self.end // block * block
        return Span(start, end - start) if start < end else Span(self.start, 0)


@dataclass(frozen=True, slots=True)
class Run:
    """Chunks *first* to *first + count* of a file: what one request brings."""

    first: int
    count: int


def count_chunks(size: int, head: int = 0) -> int:
    """Return how many chunks a file of *size* bytes has whose tensor data starts at *head*."""
    return -(-head // CHUNK_SIZE) + -(-(size - head) // CHUNK_SIZE)


def chunk_span(index: int, size: int, head: int = 0) -> Span:
    """Return where chunk *index* lies."""
    in_head = -(-head // CHUNK_SIZE)
    begin, end = (0, head) if index < in_head else (head, size)
    start = begin + (index if index < in_head else index - in_head) * CHUNK_SIZE
    return Span(start, min(CHUNK_SIZE, end - start))


def chunk_spans(size: int, head: int = 0) -> Iterator[Span]:
    """Yield where each chunk of a file lies, in order."""
    return (chunk_span(index, size, head) for index in range(count_chunks(size, head)))


def runs(missing: Sequence[int], left: int, streams: int) -> list[Run]:
    """Return the requests that bring the chunks *missing* (ascending) of a file, each of neighbours.

    They get shorter towards the end: the last ones are under way together, and a long one would be waited for alone.

    :param left: How many chunks these and those of all later files are.

    | missing | left | streams | runs |
    |---|---|---|---|
    | none | any | any | none |
    | 0 1 2 | 999 | 1 | 0+3 |
    | 0 2 3 | 999 | 1 | 0+1, 2+2 |
    | 0 1 2 3 4 5 | 6 | 1 | 0+3, 3+1, 4+1, 5+1 |
    """
    found: list[Run] = []
    longest = 0
    for done, index in enumerate(missing):
        last = found[-1] if found else None
        if last and last.count < longest and last.first + last.count == index:
            found[-1] = Run(last.first, last.count + 1)
        else:
            longest = run_length(left - done, streams)
            found.append(Run(index, 1))
    return found


def run_length(chunks: int, streams: int) -> int:
    """Return how many chunks a request brings at most: few requests, but enough to keep all *streams* busy to the end.

    | chunks | streams | answer |
    |---|---|---|
    | 1 | 8 | 1 |
    | 31 | 8 | 1 |
    | 64 | 8 | 4 |
    | 128 and more | 8 | 8 |
    """
    return max(1, min(_LONGEST_RUN, chunks // (2 * streams)))
