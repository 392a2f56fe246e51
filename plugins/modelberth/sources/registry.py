"""Registries: what names the models and versions that a service uses, whichever kind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelberth.catalog.registry import DriveRegistry, GcsRegistry, MlflowRegistry, S3Registry
from modelberth.catalog.sources import MlflowSource
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import gcs, s3
from modelberth.sources.drive import DriveFiles
from modelberth.sources.registry_folders import DriveFolders, PrefixFolders
from modelberth.sources.registry_mlflow import MlflowTags

if TYPE_CHECKING:
    from modelberth.catalog import Catalog, Service
    from modelberth.catalog.registry import AnyRegistry
    from modelberth.core.registry import Named


class Registry(Protocol):
    """A place that names models and versions for one service."""

    def entries(self) -> list[Named]:
        """Return all that it names, without reading the models' bytes.

        :raises Failure: It cannot be asked.
        """
        ...


def registry_of(catalog: Catalog, service: Service, registry: AnyRegistry) -> Registry:
    """Return one of the registries of *service*."""
    lending = registry.model_dump(include={"secret", "identity"}, exclude_defaults=True)
    source = {"type": registry.type, "connection": registry.connection, **lending}
    match registry:
        case MlflowRegistry():
            if registry.artifacts:
                source["artifacts"] = registry.artifacts
            tags = registry.tags or {"service": service.name}
            return MlflowTags(registry.connection, tags, source, _known(catalog, registry.connection))
        case S3Registry():
            return PrefixFolders(
                f"{registry.url}/{service.name}", lambda url: s3.objects(url, registry.connection), source
            )
        case GcsRegistry():
            return PrefixFolders(
                f"{registry.url}/{service.name}", lambda url: gcs.objects(url, registry.connection), source
            )
        case DriveRegistry():
            root = DriveFiles(registry.item, registry.connection, registry.resource_key or "")
            return DriveFolders(root, service.name, source)


def entries(catalog: Catalog, service: Service, registry: AnyRegistry) -> list[Named]:
    """Return what a registry names for *service*.

    :raises Failure: It cannot be asked, or names nothing, which is taken for a mistake: what was named before would
        look as if nobody wanted it.
    """
    if found := registry_of(catalog, service, registry).entries():
        return found
    where = getattr(registry, "url", None) or f"connection {registry.connection!r}"
    text = f"The {registry.type} registry ({where}) names nothing for service {service.name!r}"
    raise Failure(ExitCode.NOT_FOUND, f"{text}: tag or put something there, or take it out of the service's 'stage'.")


def _known(catalog: Catalog, connection: str) -> dict[str, str]:
    """Return what the catalog calls the registered models of a tracking server, by the registry's names."""
    return {
        model.source.model: model.name
        for model in catalog.models.values()
        if isinstance(model.source, MlflowSource) and model.source.connection == connection
    }
