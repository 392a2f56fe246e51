"""The catalog: what is served (``models/``) and where (``services/``), one thing a file, its name the file's stem.

    include/models/minilm.yaml          source, bucket, receipts, limits
    include/services/embedder.yaml      connection, namespace, claim, workload, bindings, confirm, approvers

A file that does not validate never raises here: one bad file must not take the others with it. It is missing from
``models`` or ``services``, and ``problems`` says everything that is wrong with it. A service that binds a model
which has no file is itself at fault and disabled; one that binds a model whose file is broken stays good for its
other models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelberth.catalog.confirm import Confirm, Smoke
from modelberth.catalog.model import Model, Store
from modelberth.catalog.pieces import PROJECT
from modelberth.catalog.reading import read
from modelberth.catalog.service import Binding, Service, Target, Workload
from modelberth.catalog.sources import (
    DirectorySource,
    DriveSource,
    GcsSource,
    HttpSource,
    HuggingFaceSource,
    MlflowSource,
    OciSource,
    RemoteSource,
    S3Source,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from modelberth.catalog.document import Loc

__all__ = [
    "PROJECT",
    "Binding",
    "Catalog",
    "CatalogError",
    "Confirm",
    "DirectorySource",
    "DriveSource",
    "GcsSource",
    "HttpSource",
    "HuggingFaceSource",
    "MlflowSource",
    "Model",
    "OciSource",
    "RemoteSource",
    "S3Source",
    "Service",
    "Smoke",
    "Store",
    "Target",
    "Workload",
    "load",
]

_Named = TypeVar("_Named", Model, Service)


class CatalogError(LookupError):
    """The catalog has no such model or service, or its file is broken."""


@dataclass(frozen=True)
class Catalog:
    """All good files by name, in file-name order, and all problems of the others by stem."""

    root: Path
    models: dict[str, Model] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def model(self, name: str) -> Model:
        """Return the model called *name*.

        :raises CatalogError: There is no such file, or it has problems.
        """
        return self._one(self.models, "models", name)

    def service(self, name: str) -> Service:
        """Return the service called *name*.

        :raises CatalogError: There is no such file, or it has problems.
        """
        return self._one(self.services, "services", name)

    def services_of(self, model: str) -> list[Service]:
        """Return the services that bind *model*, in file-name order."""
        return list(self._binding.get(model, {}).values())

    @cached_property
    def _binding(self) -> dict[str, dict[str, Service]]:
        """The services that bind a model: asked of each of many models, at every parse of the Dags."""
        found: dict[str, dict[str, Service]] = {}
        for service in self.services.values():
            for binding in service.bindings:
                found.setdefault(binding.model, {})[service.name] = service
        return found

    def targets(self, model: str) -> list[Target]:
        """Return the workloads that serve *model*, by service and then in the file's order: a release's order."""
        return [
            Target(service.target_name(workload), service, workload)
            for service in self.services_of(model)
            for workload in service.workloads(model)
        ]

    def target(self, model: str, name: str) -> Target:
        """Return the target of *model* called *name*.

        :raises CatalogError: The catalog has no such target.
        """
        found = {target.name: target for target in self.targets(model)}
        if name not in found:
            known = ", ".join(found) or "none"
            raise CatalogError(f"Model {model!r} has no target {name!r} in {self.root / 'services'}; it has: {known}.")
        return found[name]

    def _one(self, things: dict[str, _Named], folder: str, name: str) -> _Named:
        if name in things:
            return things[name]
        said = "\n".join(self.problems.get(name, []))
        known = ", ".join(things) or "none"
        raise CatalogError(f"No usable {folder}/{name}.yaml in {self.root}; usable are: {known}. {said}".rstrip())


def load(root: Path | None = None) -> Catalog:
    """Return the catalog below *root*: by default ``MODELBERTH_CATALOG``, else the project's ``include``."""
    root = root or Path(os.environ.get("MODELBERTH_CATALOG") or PROJECT / "include")
    catalog = Catalog(root)
    models = _files(root / "models")
    for path in models:
        _take(path, catalog.models, catalog.problems, read(path, Model, lambda _: []))
    known = dict.fromkeys(path.stem for path in models)
    owners: dict[str, str] = {}

    def fits(service: Service) -> list[tuple[Loc, str]]:
        return _unknown_models(service, known) + _taken(service, owners)

    for path in _files(root / "services"):
        found = read(path, Service, fits)
        _take(path, catalog.services, catalog.problems, found)
        if service := found[0]:
            owners.update(dict.fromkeys(_targets(service), service.name))
    return catalog


def _files(folder: Path) -> list[Path]:
    """Return the catalog files of *folder*; ``.yml`` too, so that one does not stay unseen without a word."""
    return sorted(path for path in folder.glob("*") if path.suffix in (".yaml", ".yml"))


def _take(
    path: Path, good: dict[str, _Named], bad: dict[str, list[str]], found: tuple[_Named | None, list[str]]
) -> None:
    thing, problems = found
    if thing is not None:
        good[path.stem] = thing
    else:
        bad.setdefault(path.stem, []).extend(problems)


def _unknown_models(service: Service, known: Collection[str]) -> list[tuple[Loc, str]]:
    return [
        (("bindings", index, "model"), f"unknown model {binding.model!r}; there are: {', '.join(known) or 'none'}")
        for index, binding in enumerate(service.bindings)
        if binding.model not in known
    ]


def _taken(service: Service, owners: Mapping[str, str]) -> list[tuple[Loc, str]]:
    """Return which names of *service*'s targets are those of another service's, whose receipts they would share.

    :param owners: The services that are known, by the names of their targets.
    """
    taken = [name for name in _targets(service) if name in owners]
    return [(("bindings",), f"target {name!r} is one of service {owners[name]!r} too") for name in taken]


def _targets(service: Service) -> list[str]:
    return [service.target_name(one) for one in service.workloads()]
