"""What registries name, as the last stage runs saw it: wanted, though no workload serves it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelberth.core.mentions import Mention
from modelberth.core.prune import Seen, Unknown, Use
from modelberth.core.revision import Revision, Snapshot
from modelberth.receipts import EvidenceForgedError, StoreError, StoreUnreachableError
from modelberth.receipts.staged import staged_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelberth.catalog import Service


def named(services: Iterable[Service]) -> Seen:
    """Return what the registries of *services* name; where nobody has looked yet, or can know, doubts."""
    seen = [_named_by(service) for service in services if service.stage]
    return Seen(tuple(use for one in seen for use in one.uses), tuple(doubt for one in seen for doubt in one.unknown))


def _named_by(service: Service) -> Seen:
    stage = service.stage
    assert stage  # noqa: S101 - for mypy: the caller has looked
    try:
        rows = staged_record(stage.receipts, service.name, service).named()
        if rows is None:
            why = (
                f"What the registries of service {service.name!r} name is not on record yet: run stage_{service.name}."
            )
            return Seen(unknown=(Unknown(why),))
        return Seen(tuple(Use(f"the registry of service {service.name}", _mention(row)) for row in rows))
    except (EvidenceForgedError, StoreError, StoreUnreachableError, KeyError, ValueError) as error:
        why = f"What the registries of service {service.name!r} name cannot be read: {error}"
        return Seen(unknown=(Unknown(why),))


def _mention(row: dict[str, str]) -> Mention:
    if row.get("snapshot"):
        snapshot = Snapshot.parse(row["snapshot"])
        return Mention(snapshot.digest, snapshot.copy)
    return Mention(Revision.parse(row["revision"]).digest)
