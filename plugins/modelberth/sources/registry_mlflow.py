"""What the tags of an MLflow registry name: tagged versions, and what tagged models say of theirs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.registry import Named, chosen, has_tags
from modelberth.sources.mlflow import RegisteredModel
from modelberth.sources.web import Web, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PAGE = {"registered-models": 100, "model-versions": 1000}


@dataclass(frozen=True)
class MlflowTags:
    """What a tracking server's registry names.

    :param connection: Of the tracking server.
    :param tags: What a model or a version must have to be named; a value may be one of several that a tag lists.
    :param source: What the sources of all that is named have in common.
    :param names: What the catalog calls registered models, by the registry's names.
    """

    connection: str
    tags: Mapping[str, str]
    source: Mapping[str, Any]
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _web(self) -> Web:
        return Web(self.connection)

    def entries(self) -> list[Named]:
        """Return every version that is named; a model that names none it has is a problem of its own.

        :raises Failure: The server does not answer, or not this.
        """
        models = {str(one["name"]): _tags(one) for one in self._search("registered-models", "registered_models")}
        tagged: dict[str, list[str]] = defaultdict(list)
        for one in self._search("model-versions", "model_versions"):
            tagged[str(one["name"])].append(str(one["version"]))
        return [
            named
            for model in sorted({*models, *tagged})
            for named in self._of(model, models.get(model, {}), sorted(tagged[model], key=int))
        ]

    def _of(self, model: str, tags: Mapping[str, str], tagged: list[str]) -> Iterator[Named]:
        name = self.names.get(model, model)
        try:
            known = RegisteredModel(model, self.connection).versions() if has_tags(tags, self.tags) else {}
        except Failure as failure:
            yield Named(name, "", problem=str(failure))
            return
        versions = chosen(tags, self.tags, tagged, known)
        if not versions:
            text = f"Model {model!r} is tagged, but has no version that is ready: register one, or remove the tag."
            yield Named(name, "", problem=text)
        for version in versions:
            choice = {"version": int(version)} if version.isdecimal() else {"alias": version}
            yield Named(name, version, {**self.source, "model": model, **choice})

    def _search(self, what: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield the models, or versions, that have the tags."""
        # LIKE, since a tag may list several values; what fits by accident is left out below.
        wanted = " AND ".join(
            "tags.`{}` LIKE '%{}%'".format(key, value.replace("'", "''")) for key, value in self.tags.items()
        )
        more: dict[str, str] = {}
        while True:
            asked = {"filter": wanted, "max_results": _PAGE[what], **more}
            page = self._web.json(f"{self._server}/api/2.0/mlflow/{what}/search", "The registry", **asked)
            yield from (one for one in page.get(key, []) if has_tags(_tags(one), self.tags))
            if not page.get("next_page_token"):
                return
            more = {"page_token": page["next_page_token"]}

    @cached_property
    def _server(self) -> str:
        if found := host_of(self.connection, ""):
            return found
        text = f"Connection {self.connection!r} names no tracking server: give it a host, such as https://mlflow."
        raise Failure(ExitCode.REFUSED, text)


def _tags(about: Mapping[str, Any]) -> dict[str, str]:
    return {str(one.get("key")): str(one.get("value", "")) for one in about.get("tags", [])}
