"""What a pod template can use of a claim, judged from what it says: pure functions on JSON.

That an object names a snapshot is found in its text, whatever the key. Here the opposite is judged: whether a container
that has the claim says enough for *it names nothing* to mean *it uses nothing*.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core.mentions import mentions
from modelberth.core.prune import Unknown

if TYPE_CHECKING:
    from collections.abc import Collection

    from modelberth.kubernetes.volumes import Claims

Document = dict[str, Any]

Config = Mapping[str, Mapping[str, str]]
"""What the ConfigMaps of a namespace say, by their names."""

_CREDENTIAL = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD|PASS|USER|USERNAME|LOGIN|CREDENTIALS?|DSN|ID)$")
"""Names of variables that a Secret gives and that are no path."""

_EXPANSION = re.compile(r"\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True, slots=True)
class Mounted:
    """Where a container has the claim.

    :param below: Which directory of the claim that is; empty: its root.
    :param whole: The volume's root is the claim's own, so that paths can be told.
    """

    path: str
    below: str
    whole: bool


def pod_specs(document: Any) -> Iterator[Document]:
    """Yield every pod's spec in an object: its own, its template's, that of a revision it remembers."""
    if isinstance(document, list):
        for one in document:
            yield from pod_specs(one)
    elif isinstance(document, dict):
        if isinstance(document.get("containers"), list):
            yield document
        else:
            for one in document.values():
                yield from pod_specs(one)


def doubts(
    spec: Document, who: str, namespace: str, claims: Claims, models: Collection[str], config: Config | None
) -> Iterator[Unknown]:
    """Yield why it cannot be known what the pods of *spec* use of the claim.

    For each container that has the claim:

    | it names | a variable of it cannot be read | answer |
    |---|---|---|
    | anything | yes | it may use anything |
    | the claim's root | no | it may use anything |
    | a model's directory, or in it no snapshot | no | it may use anything of that model |
    | a snapshot, or another path on the claim | no | known |
    | no path on the claim | no | it may use anything: its image decides, or a Secret as a whole |

    A variable that a Secret gives cannot be read, unless its name says that it is a credential.

    :param models: Those that have a directory on the claim.
    :param config: The ConfigMaps of the namespace; None: they cannot be read.
    """
    volumes = {volume["name"]: claims.has(namespace, volume) for volume in spec.get("volumes") or []}
    kinds = ("initContainers", "containers", "ephemeralContainers")
    for container in (one for kind in kinds for one in spec.get(kind) or []):
        mounted = list(_mounted(container, volumes, namespace, claims))
        if mounted:
            name = f"Container {container.get('name')!r} of {who}"
            yield from _container_doubts(container, name, mounted, models, config)


def _mounted(container: Document, volumes: dict[str, bool | None], namespace: str, claims: Claims) -> Iterator[Mounted]:
    values = _values(container, None)
    for mount in container.get("volumeMounts") or []:
        has = volumes.get(mount["name"], _from_template(mount["name"], namespace, claims))
        if has is not False:
            below = _expanded(mount.get("subPathExpr") or mount.get("subPath") or "", values)
            yield Mounted(posixpath.normpath(mount["mountPath"]), below.strip("/"), has is True)


def _from_template(volume: str, namespace: str, claims: Claims) -> bool:
    """Return whether a mount without a volume, as StatefulSets have, is of a claim that Kubernetes made for it."""
    return any(where == namespace and claim.startswith(f"{volume}-") for where, claim in claims.whole)


def _container_doubts(
    container: Document, name: str, mounted: list[Mounted], models: Collection[str], config: Config | None
) -> Iterator[Unknown]:
    unreadable = list(_unreadable(container, config))
    if unreadable:
        yield Unknown(
            f"{name} has the claim, and what its {', '.join(unreadable)} names cannot be read: give it a plain value."
        )
        return
    words = _words(container, config)
    named = bool(mentions("\n".join(words)))
    paths = list(_paths(words, mounted)) if all(one.whole for one in mounted) else []
    for path in paths:
        top, _, rest = path.partition("/")
        if not top:
            yield Unknown(f"{name} uses the claim's root, so it may use any snapshot on it.")
        elif top in models and not mentions(rest):
            yield Unknown(f"{name} uses {path!r} on the claim, so it may use any snapshot of model {top!r}.", top)
    if not named and not paths:
        yield Unknown(
            f"{name} has the claim and names nothing on it, so it may use any snapshot: give the path in a variable or "
            "an argument, or remove the volume."
        )


def _unreadable(container: Document, config: Config | None) -> Iterator[str]:
    """Yield the variables whose values cannot be read, and may be paths."""
    for entry in container.get("env") or []:
        source = entry.get("valueFrom") or {}
        secret = "secretKeyRef" in source and not _CREDENTIAL.search(entry["name"].upper())
        if secret or ("configMapKeyRef" in source and config is None):
            yield f"variable {entry['name']}"


def _values(container: Document, config: Config | None) -> dict[str, str]:
    """Return the container's variables, as far as they can be read."""
    values: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        name = (source.get("configMapRef") or {}).get("name", "")
        values |= {source.get("prefix", "") + key: text for key, text in (config or {}).get(name, {}).items()}
    for entry in container.get("env") or []:
        reference = (entry.get("valueFrom") or {}).get("configMapKeyRef") or {}
        text = (config or {}).get(reference.get("name", ""), {}).get(reference.get("key", ""))
        values[entry["name"]] = str(entry.get("value", text or ""))
    return values


def _words(container: Document, config: Config | None) -> list[str]:
    """Return all that a container is told: values, command and arguments, variables put in."""
    values = _values(container, config)
    words = (*values.values(), *(container.get("command") or []), *(container.get("args") or []))
    return [_expanded(str(word), values) for word in words]


def _expanded(text: str, values: dict[str, str]) -> str:
    """Return *text* with the variables in it that Kubernetes would put there."""
    for _ in range(len(values) + 1):
        text, count = _EXPANSION.subn(lambda found: values.get(found[1], found[0]), text)
        if not count:
            break
    return text


def _paths(words: list[str], mounted: list[Mounted]) -> Iterator[str]:
    """Yield each path on the claim that *words* name, and each that is mounted, relative to the claim's root."""
    for one in mounted:
        if one.below:
            yield one.below
        at = re.compile(rf"(?<![\w./-]){re.escape(one.path.rstrip('/'))}(?P<rest>/[^\s\"'`,;:|&<>)]*)?(?![\w.-])")
        for word in words:
            for found in at.finditer(word):
                yield posixpath.normpath(posixpath.join("/", one.below, (found["rest"] or "").strip("/"))).strip("/")
