"""An artifact of an OCI registry: a model as ModelPack lays it out, or files as ORAS does.

| a layer's media type and annotations | becomes |
|---|---|
| ``application/vnd.cncf.model.<part>.v1.raw`` with ``org.cncf.model.filepath`` | that file |
| ``application/vnd.cncf.model.<part>.v1.tar``, ``...tar+gzip`` | what is in it |
| any with ``org.opencontainers.image.title``, without ``io.deis.oras.content.unpack`` | that file |
| the same with ``io.deis.oras.content.unpack: "true"`` | what is in it |
| ``application/vnd.cncf.model.dataset...`` | nothing: it is not the model |
| any other, a container image's for example | refused |
"""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Archive, FetchList, Wanted
from modelberth.sources.connections import connection as connection_of
from modelberth.sources.http import MOST_UNPACKED
from modelberth.sources.protocol import SourceVersion
from modelberth.sources.web import Web, lent, refused, web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
)
_MODEL = re.compile(r"application/vnd\.cncf\.model\.(?P<part>[a-z.]+)\.v1\.(?P<form>raw|tar|tar\+gzip)")
_DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})")
_CHALLENGE = re.compile(r'(realm|service|scope)="([^"\\]*)"')
_TITLE, _FILEPATH = "org.opencontainers.image.title", "org.cncf.model.filepath"
_UNPACK = "io.deis.oras.content.unpack"
_LARGEST_MANIFEST = 4 * 1024 * 1024
_AT_ONCE = 8
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
"""Registries that are asked by http, as all of their clients do."""


@dataclass(frozen=True)
class OciArtifact:
    """An artifact; its version is the paths and digests of its files.

    :param reference: ``registry/name:tag`` or ``registry/name@sha256:...``.
    :param limit: Bytes that its files may have together, those in its archives included.
    """

    reference: str
    connection: str | None = None
    limit: int | None = None

    @cached_property
    def _web(self) -> Web:
        return web(self.connection)

    @property
    def _registry(self) -> str:
        return self.reference.partition("/")[0]

    @property
    def _repository(self) -> str:
        return re.split(r"[@:]", self.reference.partition("/")[2])[0]

    @property
    def _wanted(self) -> str:
        """The tag or digest."""
        rest = self.reference.partition("/")[2].removeprefix(self._repository)
        return rest[1:] or "latest"

    @property
    def _url(self) -> str:
        plain = self._registry.rpartition(":")[0] in _LOCAL or self._registry in _LOCAL
        if self.connection:
            plain = plain or connection_of(self.connection).schema == "http"
        return f"{'http' if plain else 'https'}://{self._registry}/v2/{self._repository}"

    def versions(self) -> Mapping[str, str]:
        """Return the tags, and the digest of the manifest that each names.

        :raises Failure: The repository cannot be had.
        """
        tags = self._tags()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(tags, pool.map(lambda tag: self._manifest(tag)[1], tags), strict=True))

    def resolve(self, version: str = "") -> SourceVersion:
        """Return the files of the artifact.

        :raises Failure: There is none, it is not for who is asking, or it is no model.
        """
        manifest, digest = self._manifest(version or self._wanted)
        layers = manifest.get("layers") or manifest.get("blobs") or []
        if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
            raise self._no_model("its manifest has no layers")
        files: list[Wanted] = []
        packed: list[Wanted] = []
        problems = []
        for layer in layers:
            try:
                found = self._layer(layer)
            except ValueError as error:
                problems.append(str(error))
                continue
            if found:
                (packed if found[1] else files).append(found[0])
        if problems or not files + packed:
            raise self._no_model("; ".join(problems[:5]) or "it has no layers of a model")
        return SourceVersion.listed(self._held(files, packed), digest)

    def credentials(self) -> Mapping[str, str]:
        """Return the connection's user and password, for which the registry gives the pod tokens."""
        return lent(self.connection)

    def _held(self, files: list[Wanted], packed: list[Wanted]) -> FetchList:
        """Return the list of *files* and of archives, with one bound for all that they unpack to and the files."""
        most = sum(file.size for file in files) + MOST_UNPACKED * sum(file.size for file in packed)
        return FetchList.of(files, (), [Archive(file, "tar", self.limit or most) for file in packed])

    def _layer(self, layer: Mapping[str, Any]) -> tuple[Wanted, bool] | None:
        """Return a file and whether it is an archive; nothing for what is not the model.

        :raises ValueError: It is something else.
        """
        kind, notes = str(layer.get("mediaType")), layer.get("annotations") or {}
        digest, size = _DIGEST.fullmatch(str(layer.get("digest"))), layer.get("size")
        if not digest or type(size) is not int:
            raise ValueError(f"layer {str(layer.get('digest'))[:80]!r} has no sha256 digest, or no size")
        model, title = _MODEL.fullmatch(kind), str(notes.get(_TITLE, ""))
        if model and model["part"].startswith("dataset"):
            return None
        path = str(notes.get(_FILEPATH) or title)
        packed = notes.get(_UNPACK) == "true" or (model is not None and model["form"] != "raw")
        if kind.endswith("zstd") or not (model or title) or not (path or packed):
            raise ValueError(f"layer {digest[0][:19]} of type {kind!r} is none of ModelPack or ORAS")
        named = path if path and not packed else f"layer-{digest['hex'][:12]}"
        return Wanted(named, f"{self._url}/blobs/{digest[0]}", size, digest["hex"]), packed

    def _no_model(self, why: str) -> Failure:
        text = f"Artifact {self.reference!r} is no model that can be read: {why}."
        return Failure(ExitCode.REFUSED, f"{text} Expected layers as ModelPack or ORAS make them, not an image's.")

    def _manifest(self, wanted: str) -> tuple[dict[str, Any], str]:
        """Return a manifest and its digest, by which it is asked for again.

        :raises Failure: There is none, or not the one that was asked for.
        """
        url = f"{self._url}/manifests/{wanted}"
        with self._asked(url, {"Accept": ", ".join(_MANIFESTS)}) as answer:
            if answer.status_code != 200:
                raise self._refused(answer, wanted)
            data = self._web.body(answer, self._what)
        if len(data) > _LARGEST_MANIFEST:
            raise self._no_model(f"its manifest has over {_LARGEST_MANIFEST} bytes")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if wanted.startswith("sha256:") and wanted != digest:
            text = f"Artifact {self.reference!r}: the registry answered for {wanted} with a manifest that has {digest}."
            raise Failure(ExitCode.MISMATCH, f"{text} Nothing was taken from it.")
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._no_model("its manifest is no JSON") from error
        if not isinstance(manifest, dict):
            raise self._no_model("its manifest is no object")
        return self._of_index(manifest, digest)

    def _of_index(self, manifest: dict[str, Any], digest: str) -> tuple[dict[str, Any], str]:
        """Return the one manifest that an index has, or what is none."""
        inner = manifest.get("manifests")
        if inner is None:
            return manifest, digest
        if not isinstance(inner, list) or len(inner) != 1 or not _DIGEST.fullmatch(str(inner[0].get("digest"))):
            raise self._no_model("it is an index of several: name one of them by its digest")
        return self._manifest(inner[0]["digest"])

    def _tags(self) -> list[str]:
        url, found = f"{self._url}/tags/list?n=1000", []
        while url:
            with self._asked(url, {}) as answer:
                if answer.status_code != 200:
                    raise self._refused(answer, "")
                found += [str(tag) for tag in self._web.parsed(answer, self._what).get("tags") or []]
                more = answer.links.get("next", {}).get("url", "")
            url = urljoin(url, more) if more and len(found) < 100_000 else ""
            if url and urlsplit(url).netloc != urlsplit(self._url).netloc:
                raise self._no_model("its list of tags goes on at another server: not followed")
        return sorted(found)

    @property
    def _what(self) -> str:
        return f"Artifact {self.reference!r}"

    def _asked(self, url: str, headers: dict[str, str]) -> Response:
        """Ask; a second time with the token that the first answer demands."""
        answer = self._web.ask(url, self._what, headers=headers)
        said = answer.headers.get("WWW-Authenticate", "")
        named = dict(_CHALLENGE.findall(said))
        if answer.status_code != 401 or not said.lower().startswith("bearer ") or "realm" not in named:
            return answer
        answer.close()
        realm = named.pop("realm")
        if urlsplit(realm).scheme != "https" and urlsplit(url).scheme == "https":
            text = f"{self._what}: the registry sends for a token to {realm!r}, which is not https: not followed."
            raise Failure(ExitCode.REFUSED, text)
        found = self._web.json(f"{realm}?{urlencode(named)}", f"A token for artifact {self.reference!r}")
        token = found.get("token") or found.get("access_token")
        return self._web.ask(url, self._what, headers=headers | {"Authorization": f"Bearer {token}"})

    def _refused(self, answer: Response, wanted: str) -> Failure:
        """Return what the registry means.

        | it says | code |
        |---|---|
        | MANIFEST_UNKNOWN | not found: no such tag or digest |
        | NAME_UNKNOWN | not found: no such repository |
        | 401, 403 | denied |
        | anything else | as of any web server |
        """
        where = f"{self._registry}/{self._repository}"
        codes = self._codes(answer)
        if "MANIFEST_UNKNOWN" in codes:
            return Failure(
                ExitCode.NOT_FOUND, f"Repository {where!r} has no {wanted!r}, or not any more{self._known()}."
            )
        if "NAME_UNKNOWN" in codes:
            return Failure(ExitCode.NOT_FOUND, f"Repository {where!r} is not there: correct the source.")
        hint = "Give the source a connection with a user and password that may pull it." * (not self.connection)
        return refused(answer, self._what, hint)

    def _codes(self, answer: Response) -> set[str]:
        try:
            said = self._web.parsed(answer, self._what)
            return {str(one.get("code")) for one in said.get("errors", [])}
        except (Failure, AttributeError, TypeError):
            return set()

    def _known(self) -> str:
        try:
            known = ", ".join(self._tags()[-20:])
        except Failure:
            return ""
        return f"; there are: {known}" if known else ""
