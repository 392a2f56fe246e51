"""A directory that every worker sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.scan import Scan, scan
from modelberth.sources.protocol import SourceVersion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Directory:
    """A model as a directory; its version is the digest of where it is and its listing: path, size, mtime, mode.

    That is not a proof of equal bytes, which only reading gives, but it differs whenever somebody writes, and when
    the directory is a link that leads elsewhere now: copies of files with equal times are usual.
    """

    path: Path

    def versions(self) -> Mapping[str, str]:
        """Return none: a directory holds what it holds."""
        return {}

    def resolve(self, version: str = "") -> SourceVersion:  # noqa: ARG002 - there is one
        """Return the digest of the listing; no file is opened.

        :raises Failure: The directory is missing, empty, not readable, or holds what is refused.
        """
        try:
            found = scan(self.path)
        except OSError as error:
            raise Failure(ExitCode.UNREACHABLE, f"Directory {str(self.path)!r} cannot be listed: {error}.") from error
        size = sum(file.size for file in found.files)
        return SourceVersion(Digest.of(_listing(self.path, found)), len(found.files), size, self.path)

    def credentials(self) -> Mapping[str, str]:
        """Return none: workers read it."""
        return {}


def _listing(path: Path, found: Scan) -> bytes:
    files = [[file.path, file.size, file.identity[3], file.executable] for file in found.files]
    where = str(path.resolve())
    return canonical.dump({"where": where, "files": files, "empty_dirs": sorted(found.empty_dirs)})
