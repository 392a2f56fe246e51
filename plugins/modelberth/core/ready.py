"""READY.json: what makes a directory a snapshot, and the record that later looks are compared with.

::

    {"schema": 1, "revision": "minilm@sha256:<64 hex>", "nonce": "<32 hex>", "at": "2026-11-22T17:06:26Z",
     "stats": {"model.safetensors": [90868376, 1795367456157716049, 1795367456157716049, 1311234]}}

``stats`` holds each file's size, mtime and ctime (nanoseconds) and inode as they were at publication. ``nonce`` tells
two publications of one revision apart when a file system repeats or misreports a rename.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import MOST_FILES
from modelberth.core.refusing import LARGEST
from modelberth.core.revision import Revision

_NONCE = re.compile(r"[0-9a-f]{32}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

Stats = dict[str, tuple[int, int, int, int]]
"""Path -> size, mtime_ns, ctime_ns, inode."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A snapshot's own record."""

    revision: Revision
    nonce: str
    at: str
    stats: Stats

    def dump(self) -> bytes:
        """Return the canonical form, which ``parse`` reads back."""
        return canonical.dump(
            {"schema": 1, "revision": str(self.revision), "nonce": self.nonce, "at": self.at, "stats": self.stats}
        )

    @classmethod
    def parse(cls, data: bytes) -> Ready:
        """Return the record that *data* is.

        :raises Failure: *data* is anything else.
        """
        try:
            if len(data) > LARGEST or data.count(b"{") > MOST_FILES or data.count(b"[") > 2 * MOST_FILES:
                raise ValueError(f"It has {len(data)} bytes and more in it than a record has.")
            document = canonical.load(data)
            if document.keys() != {"schema", "revision", "nonce", "at", "stats"}:
                raise ValueError("It has not the keys of schema 1.")
            if document["schema"] != 1 or type(document["schema"]) is not int:
                raise ValueError("Its schema is not 1.")
            if not (_NONCE.fullmatch(document["nonce"]) and _TIME.fullmatch(document["at"])):
                raise ValueError("Its nonce or time is none.")
            stats = {path: _row(row) for path, row in document["stats"].items()}
            return cls(Revision.parse(document["revision"]), document["nonce"], document["at"], stats)
        except (ValueError, TypeError, AttributeError) as error:
            raise Failure(ExitCode.FOREIGN, f"READY.json was refused: {error}") from error


def _row(row: Any) -> tuple[int, int, int, int]:
    if len(row) != 4 or any(type(number) is not int for number in row):
        raise ValueError(f"Not size, mtime, ctime and inode: {row!r}.")
    return (row[0], row[1], row[2], row[3])


def stats_digest(stats: Stats) -> Digest:
    """Return the digest that stands for *stats* in results and receipts."""
    return Digest.of(canonical.dump(stats))


class Rehash(Enum):
    """How much of a snapshot a check has to read."""

    NOTHING = "nothing"
    DIFFERING = "differing"
    EVERYTHING = "everything"


def to_rehash(now: Stats, published: Stats, verified: Digest | None) -> Rehash:
    """Decide how much to read again, given what the last verify reported.

    Verify proved every byte of the files as they were in the table whose digest is *verified*.

    | verified | answer |
    |---|---|
    | not known | everything |
    | the table now | nothing |
    | the table at publication | the files that differ from it now |
    | some other table | everything |
    """
    if verified == stats_digest(now):
        return Rehash.NOTHING
    if verified == stats_digest(published):
        return Rehash.DIFFERING
    return Rehash.EVERYTHING
