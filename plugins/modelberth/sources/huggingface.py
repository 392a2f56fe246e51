"""A model repository of the Hugging Face Hub, or of a server that speaks its language, at one commit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted
from modelberth.core.manifest import MOST_FILES
from modelberth.sources.protocol import SourceVersion
from modelberth.sources.web import Web, host_of, lent, refused, web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import Response

HUB = "https://huggingface.co"
_ALWAYS_LEFT_OUT = (".gitattributes",)
_GATED, _NO_REPOSITORY, _NO_REVISION, _DISABLED = "GatedRepo", "RepoNotFound", "RevisionNotFound", "DisabledRepo"


@dataclass(frozen=True)
class HubRepository:
    """A repository; its version is the paths and digests of its files: of large ones the SHA-256 that the Hub knows.

    :param revision: A branch, tag or commit, followed until a release is proposed, and pinned from then on.
    :param include: Patterns of which a path must match one; empty for all.
    :param exclude: Patterns of which a path must match none.
    """

    repository: str
    revision: str = "main"
    connection: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @cached_property
    def _web(self) -> Web:
        return web(self.connection)

    @cached_property
    def _hub(self) -> str:
        return host_of(self.connection, os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")

    @property
    def _api(self) -> str:
        return f"{self._hub}/api/models/{self.repository}"

    def versions(self) -> Mapping[str, str]:
        """Return the branches and tags, and their commits.

        :raises Failure: The repository cannot be had.
        """
        said = self._json(f"{self._api}/refs", "refs")
        return {
            one["name"]: one["targetCommit"]
            for kind in ("branches", "tags")
            for one in said.get(kind) or []
            if isinstance(one, dict) and {"name", "targetCommit"} <= one.keys()
        }

    def resolve(self, version: str = "") -> SourceVersion:
        """Return the files of one commit.

        :raises Failure: There is no such repository or revision, or it is not for who is asking.
        """
        wanted = version or self.revision
        about = self._json(f"{self._api}/revision/{quote(wanted, safe='')}", wanted)
        commit = str(about.get("sha", ""))
        files = [file for file in self._files(commit) if self._is_wanted(file.path)]
        if not files:
            text = f"Repository {self.repository!r} has no file at {wanted!r} that include and exclude leave."
            raise Failure(ExitCode.NOT_FOUND, text)
        if about.get("gated"):
            self._require_access(files[0])
        return SourceVersion.listed(FetchList.of(files), commit, where="")

    def credentials(self) -> Mapping[str, str]:
        """Return the connection's token."""
        return lent(self.connection)

    def _is_wanted(self, path: str) -> bool:
        included = not self.include or any(fnmatchcase(path, one) for one in self.include)
        return included and path not in _ALWAYS_LEFT_OUT and not any(fnmatchcase(path, one) for one in self.exclude)

    def _files(self, commit: str) -> Iterator[Wanted]:
        """Yield all files of a commit; the Hub tells them in pages."""
        url, count = f"{self._api}/tree/{commit}?recursive=true", 0
        while url:
            page, answer = self._page(url, commit)
            for item in page if isinstance(page, list) else []:
                if item.get("type") == "file":
                    count += 1
                    yield self._wanted(commit, item)
            url = answer.links.get("next", {}).get("url", "") if count <= MOST_FILES else ""
            if url and not url.startswith(f"{self._hub}/"):
                text = f"The list of {self.repository!r} goes on at another server than {self._hub}: not followed."
                raise Failure(ExitCode.REFUSED, text)

    def _wanted(self, commit: str, item: dict[str, Any]) -> Wanted:
        """Return one file; what is small lies in git itself, whose name of it is the ETag."""
        path, large = str(item.get("path")), item.get("lfs") or {}
        url = f"{self._hub}/{self.repository}/resolve/{commit}/{quote(path)}"
        size: Any = large.get("size", item.get("size"))
        return Wanted(path, url, size, str(large.get("oid", "")), "" if large else str(item.get("oid", "")))

    def _require_access(self, file: Wanted) -> None:
        """Ask for a file of a gated repository, whose list anybody may read."""
        asked = {"Range": "bytes=0-0"}
        with self._web.ask(file.url, f"File {file.path!r}", headers=asked, follow=False) as answer:
            if answer.status_code in (401, 403):
                raise self._refused(answer, file.path)

    def _json(self, url: str, wanted: str) -> dict[str, Any]:
        found, _ = self._page(url, wanted)
        return found if isinstance(found, dict) else {}

    def _page(self, url: str, wanted: str) -> tuple[Any, Response]:
        what = f"Repository {self.repository!r}"
        with self._web.ask(url, what) as answer:
            if answer.status_code != 200:
                raise self._refused(answer, wanted)
            return self._web.parsed(answer, what), answer

    def _refused(self, answer: Response, wanted: str) -> Failure:
        """Return what the Hub means.

        | it says | code |
        |---|---|
        | GatedRepo | denied: somebody must accept the terms |
        | DisabledRepo | denied |
        | RepoNotFound, 401 without a word | denied without a token, which may be all that is missing; else not found |
        | RevisionNotFound | not found |
        | anything else | as of any web server |
        """
        said, what = answer.headers.get("X-Error-Code", ""), f"Repository {self.repository!r}"
        if said == _GATED:
            hint = f"accept its terms at {self._hub}/{self.repository} with the account of the connection's token"
            return Failure(
                ExitCode.DENIED, f"{what} is gated: {hint}, and give the source a connection with that token."
            )
        if said == _DISABLED:
            return Failure(ExitCode.DENIED, f"{what} was disabled by {self._hub}.")
        if said == _NO_REVISION:
            return Failure(ExitCode.NOT_FOUND, f"{what} has no revision {wanted!r}{self._choices()}.")
        if said == _NO_REPOSITORY or (answer.status_code == 401 and not said):
            if self.connection:
                hint = f"or the token of connection {self.connection!r} may not see it"
                return Failure(ExitCode.NOT_FOUND, f"{what} is not at {self._hub}, {hint}. Correct the source.")
            hint = "give the source a connection with a token that may read it, or correct its name"
            return Failure(ExitCode.DENIED, f"{what} is private or not at {self._hub}: {hint}.")
        return refused(answer, what)

    def _choices(self) -> str:
        try:
            known = ", ".join(list(self.versions())[:20])
        except Failure:
            return ""
        return f"; there are: {known}" if known else ""
