"""Where a fetch list's files come from: web servers and buckets, each asked once before its bytes are taken.

A redirect is followed by asking, and asked for again whenever a request failed, since what it leads to expires. The
Authorization goes to the server that the list names, and to no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Place
from modelberth.engine.authorization import NAME, server
from modelberth.engine.http import Get
from modelberth.engine.remote import changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelberth.core.fetchlist import Wanted
    from modelberth.engine.authorization import Authorization
    from modelberth.engine.stores import Reader
    from modelberth.engine.transport import Transport

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_ELSEWHERE = (301, 307, 400)
"""What AWS answers for a bucket of another region; its answer to a listing says of which."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer says of the file that it is about; empty where it does not say."""

    size: int
    etag: str
    modified: str
    version: str

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str]) -> Seen:
        """Return what an answer says.

        :raises ValueError: It does not say how long the file is.
        """
        size = headers.get("content-length", "") if status == 200 else _after_slash(headers)
        version = headers.get("x-goog-generation") or headers.get("x-amz-version-id", "")
        return cls(int(size), headers.get("etag", ""), headers.get("last-modified", ""), version)

    def differs(self, headers: Mapping[str, str]) -> str:
        """Say in what another answer differs: it is about another file then; empty when in nothing.

        | both have | they differ when |
        |---|---|
        | an ETag | these do |
        | no ETag, but Last-Modified | these do |
        | a range of a whole | the whole has another size |
        | none of it | never: the size that is expected of each answer is all there is |
        """
        etag, modified = headers.get("etag", ""), headers.get("last-modified", "")
        total = _after_slash(headers)
        if total.isdigit() and int(total) != self.size:
            return f"it has {total} bytes now, and had {self.size}"
        if self.etag and etag:
            return f"its ETag is {etag} now, and was {self.etag}" if etag != self.etag else ""
        if self.modified and modified and modified != self.modified:
            return f"it was last modified at {modified}, and before that at {self.modified}"
        return ""


def _after_slash(headers: Mapping[str, str]) -> str:
    """Return the size of the whole that a range is of."""
    return headers.get("content-range", "").rpartition("/")[2]


class _Origin:
    """What both kinds have in common: the first look."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _first(self, item: Wanted, get: Get) -> tuple[int, Mapping[str, str]]:
        """Ask for a first byte: the answer says everything about the file, and whether ranges are known."""
        more = {"Range": "bytes=0-0"} if item.size else {}
        asked = Get(get.url, get.what, dict(get.headers) | more)
        status, headers, _ = self._transport.small(lambda: asked, 1)
        return status, headers

    def _seen(self, item: Wanted, status: int, headers: Mapping[str, str]) -> Seen:
        """Return what an answer says, if it is about what the list names.

        :raises Failure: It cannot be had, or is other.
        """
        if status not in (200, 206, 416):
            raise _refused(item, status)
        try:
            seen = Seen.of(status, headers)
        except ValueError as error:
            raise Failure(
                ExitCode.UNSUPPORTED, f"The server of {item.shown} does not say how long {item.path!r} is."
            ) from error
        if seen.size != item.size:
            kind = headers.get("content-type", "").partition(";")[0]
            hint = " It is a web page: is the URL that of the file itself?" if kind == "text/html" else ""
            raise Failure(
                ExitCode.CHANGED,
                f"File {item.path!r} at {item.shown} has {seen.size} bytes; the fetch list says {item.size}.{hint} "
                "Make the list anew.",
            )
        return seen


class Bucket(_Origin):
    """An object of a bucket, pinned by its ETag and by its version where there is one."""

    def __init__(self, reader: Reader, place: Place, transport: Transport) -> None:
        super().__init__(transport)
        self._reader = reader
        self._place = place

    def look(self, item: Wanted) -> bool:
        """Look at the object; return that ranges can be had.

        :raises Failure: It is not there, or not the one that the list names.
        """
        status, headers = self._first(item, self._reader.sign(self._place))
        if status in _ELSEWHERE:
            next(iter(self._reader.list(self._place.key)), None)
        seen = self._seen(item, status, headers)
        if item.etag and not _same_tag(item.etag, [seen.etag]):
            raise _other_tag(item, seen.etag)
        place = self._place
        self._place = Place(place.path, place.key, seen.size, "", seen.etag, place.version or seen.version)
        return True

    def get(self, *, anew: bool) -> Get:  # noqa: ARG002 - each is signed anew
        """Return a signed request for the object."""
        return self._reader.sign(self._place)


class Web(_Origin):
    """A file of a web server, pinned by its ETag or time where the server says one."""

    def __init__(self, item: Wanted, transport: Transport, authorization: Authorization) -> None:
        super().__init__(transport)
        self._item = item
        self._target = item.url
        self._seen_first: Seen | None = None
        self._authorization = authorization

    def look(self, item: Wanted) -> bool:
        """Look at the file; return whether ranges can be had.

        :raises Failure: It is not there, or not the one that the list names.
        """
        target, status, headers, tags = self._followed()
        seen = self._seen(item, status, headers)
        if item.etag and not _same_tag(item.etag, [*tags, seen.etag]):
            raise _other_tag(item, seen.etag)
        if item.modified and item.modified != seen.modified:
            raise Failure(
                ExitCode.CHANGED,
                f"File {item.path!r} at {item.shown} was last modified at {seen.modified or 'no known time'}; the "
                f"fetch list says {item.modified}. Make the list anew.",
            )
        self._target, self._seen_first = target, seen
        return status != 200 or not item.size

    def get(self, *, anew: bool) -> Get:
        """Return a request for the file where it is now."""
        if anew:
            self._target = self._followed()[0]
        target, etag = self._target, self._seen_first.etag if self._seen_first else ""
        headers = self._headers(target)
        if etag and not etag.startswith("W/"):  # a weak one never matches
            headers["If-Match"] = etag
        return Get(target, f"file {self._item.path!r} at {self._item.shown}", headers, self._compare)

    def _compare(self, headers: Mapping[str, str]) -> None:
        """Refuse an answer about another file: not every server heeds If-Match."""
        if self._seen_first and (why := self._seen_first.differs(headers)):
            raise changed(self._item.path, why)

    def _followed(self) -> tuple[str, int, Mapping[str, str], list[str]]:
        """Follow redirects; return where they lead, status and headers there, and the ETags told on the way."""
        url = self._item.url
        tags: list[str] = []
        for _ in range(_MOST_REDIRECTS + 1):
            status, headers = self._asked(url)
            if status not in _REDIRECTS:
                return url, status, headers, tags
            tags += [headers.get("etag", ""), headers.get("x-linked-etag", "")]
            url = self._next(url, headers.get("location", ""))
        raise self._astray(f"through over {_MOST_REDIRECTS} redirects")

    def _asked(self, url: str) -> tuple[int, Mapping[str, str]]:
        """Ask once; a second time with the token that the first answer demands."""
        for last in (False, True):
            ours = self._headers(url)
            status, headers = self._first(self._item, Get(url, f"file {self._item.path!r}", ours))
            used, own = ours.get("Authorization", ""), server(url) == server(self._item.url)
            if last or status != 401 or not own or not self._authorization.learn(url, used, headers):
                break
        return status, headers

    def _next(self, url: str, location: str) -> str:
        try:
            found = urljoin(url, location)
            parts = urlsplit(found)
            fine = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
            found.encode("ascii")
        except ValueError:
            fine = False
        if not location or not fine or any(char <= " " for char in found):
            raise self._astray("to no URL of http or https")
        if urlsplit(url).scheme == "https" and parts.scheme == "http":
            raise self._astray("from https to http, where anybody on the way can change the bytes")
        return found.partition("#")[0]

    def _astray(self, why: str) -> Failure:
        return Failure(ExitCode.REFUSED, f"File {self._item.path!r} at {self._item.shown} leads {why}: not followed.")

    def _headers(self, url: str) -> dict[str, str]:
        """Return the headers for a server: only the one of the list gets to know what is meant for it."""
        if server(url) != server(self._item.url):
            return {}
        ours = self._authorization.header(url)
        return dict(self._item.headers) | ({"Authorization": ours} if ours else {})


def _refused(item: Wanted, status: int) -> Failure:
    """Return what a status means of a file that a list names.

    | status | code |
    |---|---|
    | 401, 403 | denied |
    | 404, 410 | not found |
    | any other | refused |
    """
    what = f"File {item.path!r} at {item.shown}"
    if status in (401, 403):
        return Failure(ExitCode.DENIED, f"{what} was denied (HTTP status {status}): check the credentials, or {NAME}.")
    if status in (404, 410):
        return Failure(ExitCode.NOT_FOUND, f"{what} is not there (HTTP status {status}): make the fetch list anew.")
    return Failure(ExitCode.REFUSED, f"{what} was answered with HTTP status {status}: is the URL that of the file?")


def _same_tag(named: str, seen: Sequence[str]) -> bool:
    return _bare(named) in map(_bare, seen)


def _bare(tag: str) -> str:
    return tag.removeprefix("W/").strip('"')


def _other_tag(item: Wanted, etag: str) -> Failure:
    return Failure(
        ExitCode.CHANGED,
        f"File {item.path!r} at {item.shown} has the ETag {etag or 'none'}; the fetch list says {item.etag}. Make the "
        "list anew.",
    )
