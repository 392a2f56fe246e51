"""Which snapshots a text names: by ``<64 hex>.<n>`` one copy, by the revision's 64 digits alone any copy of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.digest import Digest

if TYPE_CHECKING:
    from modelberth.core.revision import Snapshot

_NAME = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])(?:\.([1-9][0-9]{0,5})(?![0-9]))?")


@dataclass(frozen=True, order=True, slots=True)
class Mention:
    """One snapshot, or with *copy* 0 every copy of a revision."""

    digest: Digest
    copy: int = 0

    def means(self, snapshot: Snapshot) -> bool:
        """Return whether *snapshot* is meant."""
        return self.digest == snapshot.digest and self.copy in (0, snapshot.copy)


def mentions(text: str) -> frozenset[Mention]:
    """Return what *text* names.

    A revision that is named beside a copy of it, as in a pod template's annotation beside its variable, is that copy.

    | text | answer |
    |---|---|
    | /models/m/<hex>.2/files | copy 2 |
    | m@sha256:<hex> | every copy |
    | /models/m/<hex>.2/files and m@sha256:<hex> | copy 2 |
    | an image's digest | every copy of a revision that nobody has |
    """
    found = {Mention(Digest(name), int(copy or 0)) for name, copy in _NAME.findall(text)}
    precise = {one.digest for one in found if one.copy}
    return frozenset(one for one in found if one.copy or one.digest not in precise)
