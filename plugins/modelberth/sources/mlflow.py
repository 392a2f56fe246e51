"""A registered model of an MLflow tracking server: one version, found by its number, an alias or tags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted
from modelberth.core.manifest import MOST_FILES
from modelberth.sources import gcs, s3
from modelberth.sources.connections import connection
from modelberth.sources.objects import below
from modelberth.sources.protocol import SourceVersion
from modelberth.sources.web import Web, host_of, lent, refused, web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import Response

_PROXIED, _OF_A_RUN = "mlflow-artifacts:", "runs:"
_DEEPEST = 50
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What the server calls a model, version or alias that it does not have; the latter of an alias."""


@dataclass(frozen=True)
class RegisteredModel:
    """A version of *model*; the source version is its number and the listing of its artifacts.

    :param connection: Of the tracking server: its host; user and password, or a token.
    :param artifacts: The connection of the store that the artifacts are in; None where the server hands them out.
    :param version: A number, as are *alias* and *tags* one way to choose; without any, the newest that is ready.
    """

    model: str
    connection: str
    artifacts: str | None = None
    version: str = ""
    alias: str = ""
    tags: tuple[tuple[str, str], ...] = ()

    @cached_property
    def _web(self) -> Web:
        return web(self.connection)

    @cached_property
    def _server(self) -> str:
        if found := host_of(self.connection, ""):
            return found
        text = f"Connection {self.connection!r} names no tracking server: give it a host, such as https://mlflow."
        raise Failure(ExitCode.REFUSED, text)

    def versions(self) -> Mapping[str, str]:
        """Return the numbers, and the aliases with the number that each leads to.

        :raises Failure: The server or the model cannot be had.
        """
        about = self._ask("registered-models/get", name=self.model).get("registered_model", {})
        aliases = {one["alias"]: str(one["version"]) for one in about.get("aliases", [])}
        return {str(one["version"]): str(one["version"]) for one in self._ready()} | aliases

    def resolve(self, version: str = "") -> SourceVersion:
        """Return the artifacts of one version.

        :raises Failure: There is none, it is not ready, or its artifacts cannot be had.
        """
        number = self._number(version)
        about = self._version("model-versions/get", number, version=number)
        if about.get("status", "READY") != "READY":
            text = f"Version {number} of model {self.model!r} is not ready: {about.get('status')}."
            raise Failure(ExitCode.UNREACHABLE, f"{text} {about.get('status_message', '')}".strip())
        where = self._ask("model-versions/get-download-uri", name=self.model, version=number).get("artifact_uri", "")
        held = self._listed(str(where), number)
        found = SourceVersion.listed(held, number)
        # The registry never gives a number twice; of artifacts that the server hands out only URL and size are known.
        pinned = {"of": str(found.name), "version": number, "run": about.get("run_id", "")}
        name = Digest.of(canonical.dump(pinned))
        return SourceVersion(name, found.files, found.bytes, held, number)

    def credentials(self) -> Mapping[str, str]:
        """Return what the artifacts are read with: of their store, or of the server where it hands them out."""
        if not self.artifacts:
            return lent(self.connection)
        lend = s3.credentials if _is_aws(self.artifacts) else gcs.credentials
        return lend(self.artifacts)

    def _number(self, version: str) -> str:
        """Return the number that is asked for; an alias or tags are asked for anew each time."""
        wanted = version or self.version
        if wanted.isdecimal():
            return wanted
        if wanted or self.alias:
            alias = wanted or self.alias
            about = self._version("registered-models/alias", alias, alias=alias)
            return str(about.get("version", ""))
        fitting = [one for one in self._ready() if self._has_tags(one)]
        if fitting:
            return str(max(int(one["version"]) for one in fitting))
        tags = ", ".join(f"{key}={value}" for key, value in self.tags)
        with_tags = f" with the tags {tags}" if tags else ""
        text = f"Model {self.model!r} at {self._server} has no version{with_tags} that is ready{self._choices()}."
        raise Failure(ExitCode.NOT_FOUND, text)

    def _has_tags(self, about: Mapping[str, Any]) -> bool:
        theirs = {one.get("key"): one.get("value") for one in about.get("tags", [])}
        return all(theirs.get(key) == value for key, value in self.tags)

    def _ready(self) -> Iterator[dict[str, Any]]:
        wanted = "name='{}'".format(self.model.replace("'", "''"))
        more: dict[str, str] = {}
        while True:
            page = self._ask("model-versions/search", filter=wanted, max_results=1000, **more)
            for one in page.get("model_versions", []):
                if one.get("status", "READY") == "READY" and one.get("name", self.model) == self.model:
                    yield one
            if not page.get("next_page_token"):
                return
            more = {"page_token": page["next_page_token"]}

    def _version(self, path: str, wanted: str, **params: str) -> dict[str, Any]:
        with self._web.ask(self._url(path), self._what, {"name": self.model, **params}) as answer:
            if answer.status_code == 200:
                found: dict[str, Any] = self._web.parsed(answer, self._what).get("model_version", {})
                return found
            if self._said(answer) in _MISSING:
                kind = "version" if wanted.isdecimal() else "alias"
                text = f"{self._what} at {self._server} has no {kind} {wanted!r}, or not any more{self._choices()}."
                raise Failure(ExitCode.NOT_FOUND, text)
            raise refused(answer, self._what)

    def _ask(self, path: str, **params: Any) -> dict[str, Any]:
        with self._web.ask(self._url(path), self._what, params) as answer:
            if answer.status_code != 200:
                if self._said(answer) in _MISSING:
                    raise Failure(ExitCode.NOT_FOUND, f"{self._what} is not at {self._server}: correct the source.")
                raise refused(answer, self._what)
            found = self._web.parsed(answer, self._what)
            return found if isinstance(found, dict) else {}

    @property
    def _what(self) -> str:
        return f"Model {self.model!r}"

    def _url(self, path: str) -> str:
        return f"{self._server}/api/2.0/mlflow/{path}"

    def _said(self, answer: Response) -> str:
        try:
            return str(self._web.parsed(answer, self._what).get("error_code", ""))
        except (Failure, AttributeError):
            return ""

    def _choices(self) -> str:
        try:
            known = ", ".join(list(self.versions())[-20:])
        except Failure:
            return ""
        return f"; there are: {known}" if known else ""

    def _listed(self, where: str, number: str) -> FetchList:
        """Return what lies where the registry says that the artifacts are."""
        if where.startswith(_OF_A_RUN):
            run, _, path = where.removeprefix(_OF_A_RUN).lstrip("/").partition("/")
            root = self._ask("runs/get", run_id=run).get("run", {}).get("info", {}).get("artifact_uri", "")
            where = f"{root.rstrip('/')}/{path}".rstrip("/")
        if where.startswith(_PROXIED):
            return FetchList.of(self._proxied(where))
        if not where.startswith(("s3://", "gs://")):
            raise Failure(
                ExitCode.UNSUPPORTED,
                f"The artifacts of version {number} of model {self.model!r} are at {where.partition('?')[0]!r}: "
                "expected s3://, gs://, or what the tracking server hands out (mlflow-artifacts:).",
            )
        if not self.artifacts:
            scheme = where.partition("://")[0]
            text = (
                f"The artifacts of model {self.model!r} are in {scheme}://: name the connection that may read them as"
            )
            raise Failure(ExitCode.REFUSED, f"{text} the source's 'artifacts'.")
        where, look = where.rstrip("/"), s3.objects if where.startswith("s3://") else gcs.objects
        return below(where, look(where, self.artifacts))

    def _proxied(self, where: str) -> Iterator[Wanted]:
        """Yield what the server hands out below *where*: ``mlflow-artifacts:/1/<run>/artifacts/model``."""
        root = _without_host(where) if "://" in where else where.removeprefix(_PROXIED).lstrip("/")
        files = f"{self._server}/api/2.0/mlflow-artifacts/artifacts"
        left, count = [("", 0)], 0
        while left:
            folder, depth = left.pop()
            at = f"{root}/{folder}".rstrip("/")
            for item in self._web.json(files, f"The artifacts of {self._what}", path=at).get("files", []):
                path = f"{folder}/{item['path']}".lstrip("/")
                count += 1
                if count > MOST_FILES or depth > _DEEPEST:
                    text = (
                        f"The artifacts of {self._what} are over {MOST_FILES}, or deeper than {_DEEPEST} directories."
                    )
                    raise Failure(ExitCode.REFUSED, text)
                if item.get("is_dir"):
                    left.append((path, depth + 1))
                else:
                    yield Wanted(path, f"{files}/{quote(f'{root}/{path}')}", int(item.get("file_size", 0)))


def _without_host(where: str) -> str:
    """Return the path of ``mlflow-artifacts://host/path``."""
    return where.partition("://")[2].partition("/")[2]


def _is_aws(name: str) -> bool:
    return connection(name).conn_type == "aws"
