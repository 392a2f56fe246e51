"""The engine's decisions: what an upload does with a file, what a sync returns, and where it takes chunks from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from modelberth.core.chunks import CHUNK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.core.revision import Snapshot


class Sending(Enum):
    """What an upload does with one file."""

    KEEP = "keep"
    COPY = "copy"
    SEND = "send"
    REFUSE = "refuse"


def sending(ours: tuple[int, str], there: tuple[int, str] | None, *, known: bool) -> Sending:
    """Decide what to do with a file, by its size and checksum.

    :param there: Size and checksum of the object under this upload's name, None when there is none.
    :param known: Whether an earlier upload of the model has an object with the same chunks.

    | there | known | answer |
    |---|---|---|
    | as ours | any | keep it: this upload was interrupted |
    | other | any | refuse: the upload's name was used for other bytes, and objects are never overwritten |
    | none | yes | copy inside the bucket |
    | none | no | send |
    """
    if there is not None:
        return Sending.KEEP if there == ours else Sending.REFUSE
    return Sending.COPY if known else Sending.SEND


def may_be_there(size: int, *, ours: bool, same_size: bool, same_path: bool, ranges: bool, cheap: bool) -> bool:
    """Say whether the bucket may hold a file, or parts of it, so that digesting it may save sending it.

    :param size: Bytes.
    :param ours: There is an object of the file under this upload's name.
    :param same_size: An earlier upload of the model has a file of this size; likewise *same_path*.
    :param ranges: The store may copy parts of objects, and earlier uploads left some.
    :param cheap: The file is here: to read it twice costs little.

    | size | ours | same_size | ranges | same_path or cheap | answer |
    |---|---|---|---|---|---|
    | 0 | any | any | any | any | yes |
    | any | yes | any | any | any | yes |
    | any | any | yes | any | any | yes, probably the whole |
    | more than a chunk | no | no | yes | yes | yes, perhaps parts |
    | any other | no | no | any | any | no |
    """
    if not size or ours or same_size:
        return True
    return size > CHUNK_SIZE and ranges and (same_path or cheap)


def to_return(ready: Iterable[Snapshot], damaged: Iterable[Snapshot]) -> Snapshot | None:
    """Return the snapshot that makes a sync unnecessary: the newest ready one that is not known as damaged.

    | ready | damaged | answer |
    |---|---|---|
    | none | any | None |
    | 1, 2 | none | 2 |
    | 1, 2 | 2 | 1 |
    | 1 | 1 | None |
    """
    return max(set(ready) - set(damaged), default=None)


def next_copy(present: Iterable[int], damaged: Iterable[int] = ()) -> int:
    """Return the number of the copy to publish next to those *present*, whatever state they are in.

    A number that is on record as damaged is not used again, even if that copy is gone: the new one would be taken for
    it.

    | present | damaged | answer |
    |---|---|---|
    | none | none | 1 |
    | 1, 7 | 1 | 8 |
    | none | 1, 2 | 3 |
    | 1 | 9 | 2 |
    """
    taken, number = set(damaged), max(present, default=0) + 1
    while number in taken:
        number += 1
    return number


class From(Enum):
    """Where a sync takes a chunk from that another snapshot of the claim holds."""

    CLAIM = "claim"
    BUCKET = "bucket"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast chunks came from one side so far.

    :param moved: Bytes.
    :param rate: Bytes a second that all streams together would reach.
    """

    moved: int = 0
    rate: float = 0.0


PROBE = 64 * 1024 * 1024
"""Bytes of one side after which its rate is taken for known."""
FAST = 100_000_000
"""Bytes a second at which a claim is never worth asking the network instead."""
_GAIN = 1.5
_WORTH = 10


def take_from(claim: Pace, bucket: Pace, asked: int, left: int) -> From:
    """Decide where the next chunks come from that the claim holds: bytes of the bucket cost money and load others.

    :param asked: Bytes that come from the bucket anyway, or for a probe, whether they came yet or not.
    :param left: Bytes that the claim holds and that are not taken yet.

    | the claim's rate | the bucket's rate | left | answer |
    |---|---|---|---|
    | not known yet, or fast | any | any | claim |
    | slow | not known, nothing asked for that tells | under 10 probes | claim |
    | slow | not known, nothing asked for that tells | 10 probes or more | probe: ask the bucket for some |
    | slow | not known yet, but soon | any | claim |
    | slow | less than 1.5 times the claim's | any | claim |
    | slow | at least 1.5 times the claim's | any | bucket |
    """
    if claim.moved < PROBE or claim.rate >= FAST:
        return From.CLAIM
    if bucket.moved >= PROBE:
        return From.BUCKET if bucket.rate >= _GAIN * claim.rate else From.CLAIM
    return From.PROBE if asked < PROBE and left >= _WORTH * PROBE else From.CLAIM
