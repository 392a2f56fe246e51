"""What folders name, in a bucket or in Drive: ``<service>/<model>/<version>/``, and in it the model's files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.registry import Named
from modelberth.sources.objects import key_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modelberth.core.fetchlist import Wanted
    from modelberth.sources.drive import DriveFiles


@dataclass(frozen=True)
class PrefixFolders:
    """What lies below *url*; a folder in which no object lies is none.

    :param objects: Lists what lies below a URL, each with its key as path.
    :param source: What the sources of all that is named have in common.
    """

    url: str
    objects: Callable[[str], Iterable[Wanted]]
    source: Mapping[str, Any]

    def entries(self) -> list[Named]:
        """Return every folder of a version; a model with none is a problem of its own.

        :raises Failure: They cannot be listed.
        """
        start = len(key_start(self.url))
        found = [one.path[start:].split("/") for one in self.objects(self.url) if not one.path.endswith("/")]
        versions = {(parts[0], parts[1]) for parts in found if len(parts) > 2}
        without = {parts[0] for parts in found} - {model for model, _ in versions}
        at = f"{self.url}/{{}}".format
        return [
            *(Named(model, version, {**self.source, "url": at(f"{model}/{version}")}) for model, version in versions),
            *(Named(model, "", problem=_no_version(at(model))) for model in without),
        ]


@dataclass(frozen=True)
class DriveFolders:
    """What lies in the folder *service* of the folder *root*."""

    root: DriveFiles
    service: str
    source: Mapping[str, Any]

    def entries(self) -> list[Named]:
        """Return every folder of a version; two of one name are both there.

        :raises Failure: They cannot be listed, or there is no folder of the service.
        """
        found = [folder for name, folder in self.root.folders() if name == self.service]
        if not found:
            text = f"Drive folder {self.root.item!r} has no folder {self.service!r}: make one, with <model>/<version>."
            raise Failure(ExitCode.NOT_FOUND, text)
        return [named for one in found for name, model in one.folders() for named in self._of(name, model)]

    def _of(self, name: str, model: DriveFiles) -> Iterator[Named]:
        versions = model.folders()
        if not versions:
            yield Named(name, "", problem=_no_version(f"Drive folder {self.service}/{name}"))
        for version, folder in versions:
            key = {"resource_key": folder.resource_key} if folder.resource_key else {}
            yield Named(name, version, {**self.source, "item": folder.item, **key})


def _no_version(where: str) -> str:
    return f"{where} has no folder of a version: put the model's files into <model>/<version>/."
