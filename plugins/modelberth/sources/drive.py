"""A folder or a file of Google Drive, with the account of a connection."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList, Wanted
from modelberth.core.manifest import MOST_FILES
from modelberth.sources import gcs
from modelberth.sources.connections import connection as connection_of
from modelberth.sources.protocol import SourceVersion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCOPE = "https://www.googleapis.com/auth/drive.readonly"
GOOGLE = "https://www.googleapis.com"
_FOLDER, _NATIVE = "application/vnd.google-apps.folder", "application/vnd.google-apps."
_FIELDS = "id,name,mimeType,size,sha256Checksum,resourceKey,capabilities(canDownload)"
_KEYS = "X-Goog-Drive-Resource-Keys"
_DEEPEST = 50
_BUSY = ("rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "backendError", "quotaExceeded")
"""Reasons with which Drive answers 403 and means that it may be asked later."""


@dataclass(frozen=True)
class DriveFiles:
    """A folder, or one file; the version is the paths and the SHA-256 that Drive knows of each.

    :param item: The id in the address of a folder or file.
    :param resource_key: What older shared links need beside the id.
    """

    item: str
    connection: str
    resource_key: str = ""

    def versions(self) -> Mapping[str, str]:
        """Return none: a folder holds what it holds."""
        return {}

    def resolve(self, version: str = "") -> SourceVersion:  # noqa: ARG002 - there is one
        """Return what the folder holds.

        :raises Failure: It is not there for this account, or holds what has no bytes.
        """
        about = self._got(self.item, self.resource_key)
        if about.get("mimeType") != _FOLDER:
            return SourceVersion.listed(FetchList.of([self._wanted(about, about["name"])]))
        files: list[Wanted] = []
        problems: list[str] = []
        for path, one in self._below(self.item, self.resource_key):
            try:
                files.append(self._wanted(one, path))
            except Failure as failure:
                problems += failure.problems
        if problems:
            raise Failure(ExitCode.REFUSED, *problems[:20])
        if not files:
            raise Failure(ExitCode.NOT_FOUND, f"Drive folder {self.item!r} holds no file: bring the model there.")
        return SourceVersion.listed(FetchList.of(files))

    def credentials(self) -> Mapping[str, str]:
        """Return the connection's key, and what a token of it is for."""
        lent = gcs.credentials(self.connection)
        return {**lent, "MODELBERTH_FETCH_GOOGLE_SCOPE": SCOPE} if lent else {}

    @property
    def _endpoint(self) -> str:
        """Another address of the API, such as that of a private network, is the connection's host."""
        return (connection_of(self.connection).host or GOOGLE).rstrip("/")

    @cached_property
    def _files(self) -> Any:
        from airflow.providers.google.suite.hooks.drive import GoogleDriveHook

        endpoint = f"{self._endpoint}/drive/v3/"

        class Hook(GoogleDriveHook):
            """Reads, where the API is; a connection's own scope is that of clouds, which is none of Drive's."""

            @property
            def scopes(self) -> tuple[str, ...]:
                return (SCOPE,)

            def get_client_options(self, api_endpoint_override: str | None = None) -> Any:
                return super().get_client_options(api_endpoint_override or endpoint)

        return Hook(gcp_conn_id=self.connection).get_conn().files()

    def folders(self) -> list[tuple[str, DriveFiles]]:
        """Return the folders directly in this one, with their names; of one name there may be several.

        :raises Failure: It is not there for this account.
        """
        found = self._children(self.item, self.resource_key)
        return [
            (str(one["name"]), DriveFiles(one["id"], self.connection, str(one.get("resourceKey", ""))))
            for one in found
            if one.get("mimeType") == _FOLDER
        ]

    def _got(self, item: str, key: str) -> dict[str, Any]:
        with self._telling(item):
            found: dict[str, Any] = self._asked(
                self._files.get(fileId=item, fields=_FIELDS, supportsAllDrives=True), item, key
            )
        return found

    def _below(self, folder: str, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield all files below a folder with their paths; a folder may hold two of a name: refused later."""
        left, count = [("", folder, key, 0)], 0
        while left:
            above, folder, key, depth = left.pop()
            for one in self._children(folder, key):
                count += 1
                path = f"{above}{one['name']}"
                if count > MOST_FILES or depth > _DEEPEST:
                    text = f"Drive folder {self.item!r} has over {MOST_FILES} files, or is deeper than {_DEEPEST}."
                    raise Failure(ExitCode.REFUSED, text)
                if "/" in one["name"]:
                    text = f"Drive has a file called {one['name']!r}: a name with a '/' is no name of a file."
                    raise Failure(ExitCode.REFUSED, text)
                if one.get("mimeType") == _FOLDER:
                    left.append((f"{path}/", one["id"], one.get("resourceKey", ""), depth + 1))
                else:
                    yield path, one

    def _children(self, folder: str, key: str) -> Iterator[dict[str, Any]]:
        token = None
        while True:
            with self._telling(folder):
                asked = self._files.list(
                    q=f"'{folder}' in parents and trashed = false",
                    fields=f"nextPageToken,files({_FIELDS})",
                    pageSize=1000,
                    pageToken=token,
                    supportsAllDrives=True,
                    includeItemsFromAllDrives=True,
                )
                page = self._asked(asked, folder, key)
            yield from page.get("files", [])
            token = page.get("nextPageToken")
            if not token:
                return

    @staticmethod
    def _asked(request: Any, item: str, key: str) -> Any:
        if key:
            request.headers[_KEYS] = f"{item}/{key}"
        return request.execute(num_retries=2)

    def _wanted(self, about: Mapping[str, Any], path: str) -> Wanted:
        kind, digest = str(about.get("mimeType", "")), str(about.get("sha256Checksum", ""))
        if kind.startswith(_NATIVE):
            what = kind.removeprefix(_NATIVE)
            text = f"{path!r} in Drive is of Google's own kind {what!r} and has no bytes: export it, or take it out."
            raise Failure(ExitCode.REFUSED, text)
        if about.get("capabilities", {}).get("canDownload") is False:
            raise Failure(ExitCode.DENIED, f"{path!r} in Drive may not be downloaded: its owner turned that off.")
        if not digest:
            raise Failure(ExitCode.UNSUPPORTED, f"Drive knows no SHA-256 of {path!r}: upload it there again.")
        url = f"{self._endpoint}/drive/v3/files/{quote(about['id'])}?alt=media&supportsAllDrives=true"
        key = str(about.get("resourceKey") or (self.resource_key if about["id"] == self.item else ""))
        headers = {_KEYS: f"{about['id']}/{key}"} if key else {}
        return Wanted(path, url, int(about.get("size", 0)), digest, headers=headers)

    @contextmanager
    def _telling(self, item: str) -> Iterator[None]:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from googleapiclient.errors import HttpError  # type: ignore[import-untyped]

        where = f"{item!r} in Drive (connection {self.connection!r})"
        try:
            yield
        except HttpError as error:
            raise self._refused(where, error) from error
        except (TransportError, OSError) as error:
            text = f"Drive could not be asked for {where}: {type(error).__name__}."
            raise Failure(ExitCode.UNREACHABLE, text) from error
        except GoogleAuthError as error:
            text = f"Google gave no token for {where}: {type(error).__name__}. Check the key of the connection."
            raise Failure(ExitCode.DENIED, text) from error

    def _refused(self, where: str, error: Any) -> Failure:
        """Return what Drive means.

        | it says | code |
        |---|---|
        | 404 | not found, or not shared with this account, which Drive does not tell apart |
        | 403 with a reason of limits, 429, 5xx | unreachable |
        | 401, any other 403 | denied |
        """
        status = int(error.resp.status)
        reasons = {str(one.get("reason")) for one in error.error_details or () if isinstance(one, dict)}
        if status == 404:
            hint = "is not there, or not shared with the connection's account; an older link needs its resource_key too"
            return Failure(ExitCode.NOT_FOUND, f"{where} {hint}.")
        if status >= 500 or status == 429 or reasons & set(_BUSY):
            why = ", ".join(sorted(reasons)) or str(status)
            return Failure(ExitCode.UNREACHABLE, f"Drive limits or fails requests for {where}: {why}.")
        why = ", ".join(sorted(reasons)) or str(status)
        return Failure(ExitCode.DENIED, f"Drive denies {where}: {why}. Share it with the connection's account.")
