"""What is known about who uses what of a claim: clusters, releases that have not ended, rollbacks that may come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modelberth.core.prune import Seen, Unknown, decide, last_live
from modelberth.kubernetes import usage
from modelberth.kubernetes.client import Cluster
from modelberth.kubernetes.named import named
from modelberth.receipts import EvidenceForgedError, StoreError, StoreUnreachableError
from modelberth.receipts.damage import damage_record
from modelberth.receipts.lived import lived
from modelberth.receipts.pending import pending

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modelberth.catalog import Catalog, Model, Service
    from modelberth.core.prune import Decision, Lying, Use
    from modelberth.core.revision import Snapshot
    from modelberth.kubernetes.volumes import Storage

_UNREADABLE = (EvidenceForgedError, StoreError, StoreUnreachableError, ValueError)


@dataclass(frozen=True)
class Pruning:
    """One claim and all that may have a say in what goes from it.

    :param services: Those of the catalog that are on the claim.
    """

    catalog: Catalog
    cluster: Cluster
    services: tuple[Service, ...]
    storage: Storage

    def decisions(self, lying: Sequence[Lying], seen: Seen) -> list[Decision]:
        """Return what becomes of each snapshot."""
        return decisions(self.catalog, lying, seen)

    def seen(self, lying: Sequence[Lying]) -> Seen:
        """Look who uses what: everywhere, anew."""
        models = {one.model for one in lying}
        looks = [usage.look(cluster, self.storage, models) for cluster in self._clusters()]
        ours = [self._of(name, lying) for name in sorted(models | self._bound())]
        return usage.together([*looks, *ours, named(self.catalog.services.values())])

    def damaged(self, lying: Sequence[Lying]) -> frozenset[tuple[str, Snapshot]]:
        """Return which of *lying* a release found damaged, with their models.

        :raises EvidenceForgedError: A record is not ours.
        """
        known = [one for one in lying if one.model in self.catalog.models]
        records = {one.model: damage_record(self.catalog.models[one.model], self.services[0]) for one in known}
        return frozenset((one.model, one.snapshot) for one in known if records[one.model].problem(one.snapshot))

    def _bound(self) -> set[str]:
        return {binding.model for service in self.services for binding in service.bindings}

    def _clusters(self) -> Iterator[Cluster]:
        """Yield every cluster that may have the storage: a network's may be mounted in each that the catalog knows."""
        yield self.cluster
        others = {one.connection for one in self.catalog.services.values()} - {self.cluster.connection}
        if self.storage.reaches_other_clusters:
            yield from map(Cluster, sorted(others))

    def _of(self, name: str, lying: Sequence[Lying]) -> Seen:
        """Return what the releases of a model use, and what a rollback may want; doubts where that cannot be read."""
        model = self.catalog.models.get(name)
        if model is None:
            why = self._no_file(name)
            return Seen(unknown=(Unknown(why, name),))
        try:
            return Seen((*pending(model), *self._last_live(model, lying)))
        except _UNREADABLE as error:
            return Seen(unknown=(Unknown(f"What model {name!r} still needs cannot be read: {error}"),))

    def _no_file(self, name: str) -> str:
        if name in self.catalog.problems:
            return f"The file of model {name!r} is broken, so nobody knows what it needs: correct it."
        return (
            f"Model {name!r} has no file in the catalog, so nobody knows what it needs: give it one, or remove its "
            "snapshots by hand (modelberth prune)."
        )

    def _last_live(self, model: Model, lying: Sequence[Lying]) -> list[Use]:
        found = {
            (service.name, model.name): [one.snapshot for one in reversed(lived(model, service))]
            for service in self.catalog.services_of(model.name)
        }
        return last_live(found, lying, {model.name: model.retention.keep_live})


def decisions(catalog: Catalog, lying: Sequence[Lying], seen: Seen) -> list[Decision]:
    """Return what becomes of each of *lying*, each with its model's grace."""
    now, found = datetime.now(UTC), []
    for one in lying:
        model = catalog.models.get(one.model)
        found.append(decide(one, seen, timedelta(seconds=model.retention.grace if model else 0), now))
    return found


def seen_of_model(catalog: Catalog, name: str, lying: Sequence[Lying]) -> Seen:
    """Look who uses what of a model, on every claim that it may be served from.

    :raises ClusterRefusedError: One of them cannot be looked at.
    """
    claims = {(one.connection, one.namespace, one.claim) for one in catalog.services_of(name)}
    if not claims:
        return usage.together([Seen(tuple(pending(catalog.model(name)))), named(catalog.services.values())])
    return usage.together([pruning(catalog, *claim).seen(lying) for claim in sorted(claims)])


def pruning(catalog: Catalog, connection: str, namespace: str, claim: str) -> Pruning:
    """Return what is to be asked about a claim of the catalog's.

    :raises ClusterRefusedError: There is no such claim, or its volume may not be looked at.
    """
    place = (connection, namespace, claim)
    services = [one for one in catalog.services.values() if (one.connection, one.namespace, one.claim) == place]
    cluster = Cluster(connection)
    return Pruning(catalog, cluster, tuple(services), usage.storage_of(cluster, namespace, claim))
