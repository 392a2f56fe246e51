"""Files of a web server: those that the catalog lists, those that a checksums file lists, or an archive."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Archive, FetchList, Wanted
from modelberth.sources import checksums
from modelberth.sources.protocol import SourceVersion
from modelberth.sources.web import Web, lent, refused, web

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_ONCE = 8

ARCHIVES = {".zip": "zip", ".tar": "tar", ".tgz": "tar", ".tar.gz": "tar", ".tar.bz2": "tar", ".tar.xz": "tar"}
"""By how the name ends."""

MOST_UNPACKED = 10
"""Times its size that an archive may unpack to where the model has no size_limit: weights hardly compress."""


@dataclass(frozen=True)
class HttpFiles:
    """A model below *url*; its version is the digest of each file, else its URL and ETag or time.

    :param files: Their paths; empty for all that *checksums* lists.
    :param archive: The path of one that holds all files, instead of *files*.
    :param limit: Bytes that the archive may unpack to.
    """

    url: str
    connection: str | None = None
    files: tuple[str, ...] = ()
    checksums: str = ""
    archive: str = ""
    limit: int | None = None

    @cached_property
    def _web(self) -> Web:
        return web(self.connection)

    def versions(self) -> Mapping[str, str]:
        """Return none: a web server has what it has."""
        return {}

    def resolve(self, version: str = "") -> SourceVersion:  # noqa: ARG002 - there is one
        """Return what the server says of each file.

        :raises Failure: Some cannot be had, or are not pinned by anything.
        """
        digests = self._digests()
        names = [self.archive] if self.archive else list(self.files or digests)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            looked = list(pool.map(lambda name: self._look(name, digests), names))
        failures = [one for one in looked if isinstance(one, Failure)]
        if failures:
            worst = min(failures, key=lambda failure: failure.code.worth_retrying)
            raise Failure(worst.code, *(text for failure in failures for text in failure.problems))
        found = [one for one in looked if isinstance(one, Wanted)]
        return SourceVersion.listed(self._packed(found[0]) if self.archive else FetchList.of(found))

    def credentials(self) -> Mapping[str, str]:
        """Return the connection's user and password, or its token."""
        return lent(self.connection)

    def _digests(self) -> dict[str, str]:
        if not self.checksums:
            return {}
        what = f"Checksums file {self.checksums!r}"
        return checksums.parse(self._web.read(self._at(self.checksums), what), what)

    def _packed(self, file: Wanted) -> FetchList:
        kind = next(kind for end, kind in ARCHIVES.items() if file.path.lower().endswith(end))
        return FetchList.of((), (), [Archive(file, kind, self.limit or MOST_UNPACKED * file.size)])

    def _at(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{quote(path, safe='/~@!$&()*+,;=:')}"

    def _look(self, path: str, digests: Mapping[str, str]) -> Wanted | Failure:
        try:
            return self._looked(path, digests)
        except Failure as failure:
            return failure

    def _looked(self, path: str, digests: Mapping[str, str]) -> Wanted:
        """Ask for a first byte: not every server answers HEAD as it answers GET."""
        what, url = f"File {path!r}", self._at(path)
        if self.checksums and path not in digests:
            raise Failure(ExitCode.REFUSED, f"{what} is not in checksums file {self.checksums!r}: add it there.")
        asked = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        with self._web.ask(url, what, headers=asked) as answer:
            if answer.status_code not in (200, 206, 416):
                raise refused(answer, what)
            whole = answer.status_code == 200
            said = answer.headers
            size = said.get("Content-Length", "") if whole else said.get("Content-Range", "").rpartition("/")[2]
            if said.get("Content-Type", "").startswith("text/html") and not _is_page(path):
                raise Failure(ExitCode.REFUSED, f"{what} at {url!r} is a web page: is the URL that of the file itself?")
        if not size.isdecimal():
            raise Failure(ExitCode.UNSUPPORTED, f"The server does not say how long file {path!r} at {url!r} is.")
        etag, modified = said.get("ETag", ""), said.get("Last-Modified", "")
        digest = digests.get(path, "")
        if not (etag or modified or digest):
            raise Failure(
                ExitCode.UNSUPPORTED,
                f"Nothing tells one version of file {path!r} at {url!r} from another: the server gives neither an ETag "
                "nor Last-Modified. Give the source a checksums file.",
            )
        return Wanted(path, url, int(size), digest, etag, modified="" if etag else modified)


def _is_page(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in (".html", ".htm")
