"""What storage a volume is, so that two claims on the same one are seen to be: pure functions on JSON.

A claim leads to a PersistentVolume, and two of these may have one handle, one NFS path or one directory of a node.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

_NO_STORAGE = frozenset(
    (
        *("accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy"),
        *("storageClassName", "volumeAttributesClassName", "volumeMode", "name", "persistentVolumeClaim"),
    )
)
"""Keys of a PersistentVolume's or a pod's volume that are about other things than where the bytes are."""

_CIRCUMSTANCES = ("readOnly", "fsType", "secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "type")
EFS = "efs.csi.aws.com"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the bytes of a volume are.

    :param kind: ``nfs``, ``path`` (a directory of a node), a CSI driver's name, ...
    :param handle: A server, or the driver's own name for the volume.
    :param path: The directory there; empty where the handle says all.
    """

    kind: str
    handle: str
    path: str = ""

    def __str__(self) -> str:
        return ":".join(part for part in (self.kind, self.handle, self.path) if part)

    @property
    def reaches_other_clusters(self) -> bool:
        """Whether pods of another cluster may have it too."""
        return self.kind != "path"

    def shares(self, other: Storage) -> bool:
        """Return whether a file of one can be a file of the other.

        | kind | handle | path | answer |
        |---|---|---|---|
        | another | any | any | no |
        | the same | the same | the same, or one above the other | yes |
        | nfs | another | the same | yes: one server may have two names |
        | the same | another | any | no |
        """
        if self.kind != other.kind:
            return False
        if self.handle != other.handle:
            return self.kind == "nfs" and self.path == other.path
        return _above(self.path, other.path) or _above(other.path, self.path)


def _above(path: str, below: str) -> bool:
    return not path or f"{below.rstrip('/')}/".startswith(f"{path.rstrip('/')}/")


def storage(volume: Document) -> Storage | None:
    """Return what the spec of a PersistentVolume, or a volume of a pod, leads to; None for one that is no storage."""
    kinds = [key for key in volume if key not in _NO_STORAGE and isinstance(volume[key], dict)]
    if not kinds:
        return None
    kind, source = kinds[0], volume[kinds[0]]
    if kind == "nfs":
        return _nfs(source.get("server", ""), source.get("path", ""))
    if kind in ("hostPath", "local"):
        return Storage("path", "", posixpath.normpath(source.get("path", "/")))
    if kind == "csi":
        return _csi(source)
    about = {key: value for key, value in source.items() if key not in _CIRCUMSTANCES}
    return Storage(kind, json.dumps(about, sort_keys=True))


def _csi(source: Document) -> Storage:
    """Return what a CSI volume is: its driver's handle, but for two drivers that give one directory many."""
    driver, handle = source.get("driver", ""), source.get("volumeHandle", "")
    attributes = source.get("volumeAttributes") or {}
    if "server" in attributes and "share" in attributes:
        below = attributes.get("subDir") or attributes.get("subdir") or ""
        return _nfs(attributes["server"], posixpath.join(attributes["share"], below.lstrip("/")))
    if driver == EFS:
        return Storage(driver, handle.partition(":")[0])  # access points of one file system may lie in each other
    return Storage(driver, handle)


def _nfs(server: str, path: str) -> Storage:
    return Storage("nfs", server.lower().rstrip("."), posixpath.normpath("/" + path.strip("/")))


@dataclass(frozen=True)
class Claims:
    """The claims, by namespace and name, that lead to the storage that is asked about.

    :param partly: Those of them whose root is another directory than that of the claim that was asked about.
    """

    storage: Storage
    whole: frozenset[tuple[str, str]]
    partly: frozenset[tuple[str, str]] = frozenset()

    @property
    def namespaces(self) -> list[str]:
        """Where they are."""
        return sorted({namespace for namespace, _ in self.whole | self.partly})

    def has(self, namespace: str, volume: Document) -> bool | None:
        """Return whether a pod's *volume* is this storage as a whole (True), in part (None) or not at all (False)."""
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            return None if (namespace, claim) in self.partly else (namespace, claim) in self.whole
        found = storage(volume)
        if found is None or not found.shares(self.storage):
            return False
        return True if found.path == self.storage.path else None
