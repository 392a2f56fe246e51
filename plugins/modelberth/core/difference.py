"""How two revisions differ, file by file: what a person wants to know before switching from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core.plan import Difference

if TYPE_CHECKING:
    from modelberth.core.manifest import Entry, Manifest
    from modelberth.core.revision import Revision


def difference(live: Revision | None, before: Manifest | None, after: Manifest) -> Difference:
    """Return how *after* differs from *before*, the manifest of *live*; ``bytes`` are those of added and changed files.

    in before | in after | entry   | counts as
    ----------+----------+---------+----------
    no        | yes      | -       | added
    yes       | yes      | another | changed
    yes       | yes      | same    | nothing
    yes       | no       | -       | removed
    """
    old, new = _by_path(before), _by_path(after)
    added = [new[path] for path in new.keys() - old.keys()]
    changed = [new[path] for path in new.keys() & old.keys() if new[path] != old[path]]
    return Difference(
        live=str(live) if live else None,
        added=len(added),
        changed=len(changed),
        removed=len(old.keys() - new.keys()),
        bytes=sum(entry.size for entry in added + changed),
    )


def _by_path(manifest: Manifest | None) -> dict[str, Entry]:
    return {entry.path: entry for entry in manifest.files} if manifest else {}
