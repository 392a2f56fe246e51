"""What is wrong with a snapshot, and the record of it on the claim that keeps a sync from returning it again.

::

    .modelberth/damaged/<model>/<64 hex>.<n>.json

    {"schema": 1, "revision": "minilm@sha256:<64 hex>", "snapshot": "<64 hex>.<n>", "at": "2026-11-22T17:06:26Z",
     "node": "node-7", "problem_count": 2,
     "problems": [{"file": "model.safetensors", "start": 8388608, "length": 16777216}]}

``problems`` are ranges of bytes, neighbours joined; ``length`` is 0 for what concerns no bytes, such as a directory too
many. Whoever may write to the claim may write such a record, so all that it can say is *not this one*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import canonical, strict
from modelberth.core.revision import Revision, Snapshot  # noqa: TC001  (strict asks for the fields' types)

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST_RECORD = 64 * 2**20
"""Bytes; a reader refuses more."""

_MOST_RANGES = 10_000
_LONGEST_NAME = 800


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One thing that is wrong with a snapshot.

    :param file: The path of what it is about, below the directory that is served.
    :param start: Where the bytes begin that it is about; *length* is 0 when it is about none.
    :param text: A whole sentence, which names the file and the bytes.
    """

    file: str
    start: int
    length: int
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Range:
    """The bytes [start, start + length) of a file."""

    file: str
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A record of damage.

    :param at: When it was found (UTC), *node* where.
    :param problem_count: How many problems there were, before neighbours were joined.
    """

    schema: int
    revision: Revision
    snapshot: Snapshot
    at: str
    node: str
    problem_count: int
    problems: tuple[Range, ...]

    def dump(self) -> bytes:
        """Return the form that ``read`` reads back."""
        return canonical.dump(strict.dump(self))

    @classmethod
    def read(cls, data: bytes, revision: Revision, snapshot: Snapshot) -> Damage:
        """Return the record that *data* is.

        :raises ValueError: It is none, or one about another snapshot than its name says.
        """
        if len(data) > LARGEST_RECORD:
            raise ValueError(f"It has over {LARGEST_RECORD} bytes.")
        found = strict.load(cls, canonical.load(data), "It")
        if (found.schema, found.revision, found.snapshot) != (1, revision, snapshot):
            raise ValueError("It is about another snapshot, or of another schema.")
        if any(item.start < 0 or item.length < 0 for item in found.problems):
            raise ValueError("It names bytes before a file's first.")
        return found


def joined(problems: Iterable[Problem]) -> tuple[Range, ...]:
    """Return the bytes that *problems* are about, the first 10,000 ranges after neighbours were joined."""
    found: list[Range] = []
    for problem in sorted(problems):
        name = _said(problem.file)
        last = found[-1] if found else None
        if last and last.file == name and last.start + last.length >= problem.start:
            end = max(last.start + last.length, problem.start + problem.length)
            found[-1] = Range(name, last.start, end - last.start)
        else:
            found.append(Range(name, problem.start, problem.length))
    return tuple(found[:_MOST_RANGES])


def _said(path: str) -> str:
    """Return *path* as JSON can hold it: what lies in a snapshot may have any name, and of any length."""
    return path.encode(errors="backslashreplace").decode()[:_LONGEST_NAME]
