"""A file of Google Drive that anybody with the link may have."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted
from modelberth.sources.protocol import SourceVersion
from modelberth.sources.web import Web, refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response

PUBLIC = "https://drive.usercontent.google.com"


@dataclass(frozen=True)
class PublicDriveFile:
    """A file of Drive that anybody with the link may have; its version is its id, and what Drive says with the bytes.

    For what is too large for its virus scan Drive first answers with a page that asks whether to go on.
    """

    item: str
    resource_key: str = ""

    def versions(self) -> Mapping[str, str]:
        """Return none: it is what it is."""
        return {}

    def resolve(self, version: str = "") -> SourceVersion:  # noqa: ARG002 - there is one
        """Return the file.

        :raises Failure: Drive gives a page instead, or does not tell one version from another.
        """
        asked = {"id": self.item, "export": "download"}
        asked |= {"resourcekey": self.resource_key} if self.resource_key else {}
        file = self._file(f"{PUBLIC}/download?{urlencode(asked)}", confirm=True)
        return SourceVersion.listed(FetchList.of([file]), where=self.item)

    def credentials(self) -> Mapping[str, str]:
        """Return none: anybody may have it."""
        return {}

    def _file(self, url: str, *, confirm: bool) -> Wanted:
        what, web = f"File {self.item!r} of Drive", Web()
        with web.ask(url, what, headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as answer:
            if answer.status_code not in (200, 206):
                raise refused(answer, what, "Share it with anybody who has the link, or give the source a connection.")
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                page = _Page.of(web.body(answer, what))
            else:
                return self._wanted(url, answer)
        target = page.confirmed(url)
        if confirm and target and urlsplit(target).netloc == urlsplit(PUBLIC).netloc:
            return self._file(target, confirm=False)
        raise Failure(
            ExitCode.DENIED,
            f"{what}: Drive answered with a web page ({page.title!r}) instead of the file. Share it with anybody who "
            "has the link; or give the source a connection: links that many people use have a quota.",
        )

    def _wanted(self, url: str, answer: Response) -> Wanted:
        said = answer.headers
        whole = answer.status_code == 200
        size = said.get("Content-Length", "") if whole else said.get("Content-Range", "").rpartition("/")[2]
        etag, modified = said.get("ETag", ""), said.get("Last-Modified", "")
        if not size.isdecimal() or not (etag or modified):
            text = (
                f"Drive does not say how long file {self.item!r} is, or when it changed: give the source a connection."
            )
            raise Failure(ExitCode.UNSUPPORTED, text)
        named = said.get("Content-Disposition", "").partition('filename="')[2].partition('"')[0]
        return Wanted(named or self.item, url, int(size), etag=etag, modified="" if etag else modified)


class _Page(HTMLParser):
    """A page of Drive: its title, and the form by which somebody confirms that a file is to come unscanned."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self._action, self._in_title = "", "", False
        self._values: dict[str, str] = {}

    @classmethod
    def of(cls, data: bytes) -> _Page:
        """Return what the page says."""
        page = cls()
        page.feed(data.decode("utf-8", "replace"))
        return page

    def confirmed(self, url: str) -> str:
        """Return where the form leads, empty when there is none."""
        return f"{urljoin(url, self._action)}?{urlencode(self._values)}" if self._action and self._values else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title"
        if tag == "form" and said.get("id") == "download-form":
            self._action = said.get("action", "")
        if tag == "input" and said.get("type") == "hidden" and self._action:
            self._values[said.get("name", "")] = said.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title, self._in_title = data.strip()[:100], False
