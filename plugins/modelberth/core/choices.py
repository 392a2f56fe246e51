"""The engine's decisions: what to do with a file of an upload, and which snapshot a sync returns."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

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


def next_copy(present: Iterable[int]) -> int:
    """Return the number of the copy to publish next to those *present*, whatever state they are in."""
    return max(present, default=0) + 1
