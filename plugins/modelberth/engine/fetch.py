"""What a fetch list names: files at web servers and in buckets, all looked at before the first byte is taken."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from modelberth.core import paths
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import object_of
from modelberth.core.location import Place
from modelberth.engine.archive import Taken, unpack
from modelberth.engine.authorization import Authorization
from modelberth.engine.origins import Bucket, Web
from modelberth.engine.remote import RemoteFile
from modelberth.engine.scan import Directory
from modelberth.engine.stores import open_source_reader
from modelberth.engine.transport import Transport
from modelberth.engine.workers import default_streams, for_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.core.fetchlist import Archive, FetchList, Wanted
    from modelberth.core.layout import BucketUrl
    from modelberth.engine.source import File
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Reader


class FetchedSource:
    """A model that a fetch list names.

    :param name: The list's, for messages.
    """

    def __init__(self, name: str, wanted: FetchList, stop: Stop) -> None:
        self.name = name
        self._transport = Transport(stop)
        self._authorization = Authorization(self._transport)
        self._readers: dict[BucketUrl, Reader] = {}
        self._stop = stop
        self.files: Sequence[File] = self._looked_at(wanted.files)
        self.empty_dirs: Sequence[str] = wanted.empty_dirs
        if wanted.archives:
            self._unpack(wanted.archives)

    def _unpack(self, archives: Sequence[Archive]) -> None:
        """Take the files of archives in, which alone need a disk.

        :raises Failure: One of them is refused, or its files clash with others.
        """
        packed = self._looked_at([archive.file for archive in archives])
        self._scratch = tempfile.TemporaryDirectory(prefix="modelberth-")  # deleted with this object
        scratch = Path(self._scratch.name)
        root = scratch / "files"
        root.mkdir()
        taken = Taken(sum(file.size for file in self.files), len(self.files))
        for archive, file in zip(archives, packed, strict=True):
            unpack(archive, file, taken, scratch, root / archive.into, self._stop)
        found = Directory(root, None)
        self.files = sorted((*self.files, *found.files), key=lambda file: file.path)
        self.empty_dirs = sorted((*self.empty_dirs, *found.empty_dirs))
        if problems := paths.clashes([file.path for file in self.files], self.empty_dirs):
            raise Failure(ExitCode.REFUSED, *(f"{self.name} was refused: {text}" for text in problems[:20]))

    def _looked_at(self, wanted: Sequence[Wanted]) -> list[RemoteFile]:
        """Look at all files; name all that cannot be had.

        :raises Failure: Some cannot.
        """
        for item in wanted:
            if item.url.startswith(("s3:", "gs:")) and (bucket := object_of(item.url)[0]) not in self._readers:
                self._readers[bucket] = open_source_reader(bucket, self._stop)
        found: dict[str, RemoteFile] = {}
        failures: list[Failure] = []

        def look(item: Wanted) -> None:
            try:
                found[item.path] = self._look(item)
            except Failure as failure:
                if failure.code is ExitCode.INTERRUPTED:
                    raise
                failures.append(failure)

        for_each(look, wanted, self._stop, default_streams())
        if failures:
            worst = min(failures, key=lambda failure: failure.code.worth_retrying)
            raise Failure(worst.code, *worst.problems, *(str(other) for other in failures if other is not worst))
        return [found[item.path] for item in wanted]

    def _look(self, item: Wanted) -> RemoteFile:
        origin = self._origin(item)
        ranges = origin.look(item)
        return RemoteFile(
            item.path,
            item.size,
            origin,
            self._transport,
            sha256=item.sha256,
            executable=item.executable,
            ranges=ranges,
        )

    def _origin(self, item: Wanted) -> Web | Bucket:
        if not item.url.startswith(("s3:", "gs:")):
            return Web(item, self._transport, self._authorization)
        bucket, key = object_of(item.url)
        return Bucket(self._readers[bucket], Place(item.path, key, item.size, "", "", item.version), self._transport)

    def refuse_changed(self) -> None:
        """Do nothing: each request was for what was seen first."""
