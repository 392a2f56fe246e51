"""How two revisions differ."""

from __future__ import annotations

import pytest

from modelberth.core.difference import difference
from modelberth.core.digest import Digest
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision

LIVE = Revision("minilm", Digest("1f" * 32))


def entry(path: str, content: int = 1, **changes) -> Entry:
    return Entry(path, 10, (bytes([content]) * 32,), **changes)


def of(*entries: Entry) -> Manifest:
    return Manifest.of(list(entries), [])


@pytest.mark.parametrize(
    ("before", "after", "added", "changed", "removed", "size"),
    [
        (of(entry("a")), of(entry("a")), 0, 0, 0, 0),
        (of(entry("a")), of(entry("a", 2)), 0, 1, 0, 10),
        (of(entry("a")), of(entry("a", executable=True)), 0, 1, 0, 10),
        (of(entry("a")), of(entry("a"), entry("b")), 1, 0, 0, 10),
        (of(entry("a"), entry("b")), of(entry("a")), 0, 0, 1, 0),
        (of(entry("a")), of(entry("b")), 1, 0, 1, 10),
    ],
)
def test_files_are_added_changed_or_removed(before, after, added, changed, removed, size):
    found = difference(LIVE, before, after)
    assert (found.added, found.changed, found.removed, found.bytes) == (added, changed, removed, size)
    assert found.live == str(LIVE)


def test_where_nothing_is_live_everything_is_new():
    found = difference(None, None, of(entry("a"), entry("b")))
    assert (found.live, found.added, found.bytes) == (None, 2, 20)
