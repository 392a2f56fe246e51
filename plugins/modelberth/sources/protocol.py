"""What a source is to the rest of Modelberth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from modelberth.core import canonical
from modelberth.core.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelberth.core.fetchlist import FetchList, Wanted


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """What a source held when it was looked at.

    :param name: Immutable: equal only as long as the source holds the same; nothing else may be read from it.
    :param held: Where it is to be had: a directory, or what a pod fetches.
    :param label: What the source itself calls it, such as ``3`` or a commit; resolving that finds the same again,
        wherever an alias has moved to. Empty where a source has no versions.
    """

    name: Digest
    files: int
    bytes: int
    held: Path | FetchList
    label: str = ""

    @classmethod
    def listed(cls, held: FetchList, label: str = "", where: str | None = None) -> SourceVersion:
        """Return the version that a list of files is: paths, sizes, and what pins their bytes.

        A SHA-256 does, wherever they are had. What a server says of a file, an ETag for example, only tells it from
        what was at the same URL before: two URLs with equal ETags may have different bytes.

        :param where: What stands for the URLs where these are made anew each time; empty where what the server says
            is made of the bytes alone, as git's names are. None for the URLs, without their queries.
        """
        packed = [(item.file, f"{item.format}:{item.into}") for item in held.archives]
        every = [(file, "") for file in held.files] + packed
        files = [[file.path, file.size, file.executable, _pin(file, where), how] for file, how in every]
        name = Digest.of(canonical.dump({"files": files, "empty_dirs": list(held.empty_dirs)}))
        return cls(name, len(every), sum(file.size for file, _ in every), held, label)


def _pin(file: Wanted, where: str | None) -> str | list[str]:
    """Return what changes when the bytes of *file* do.

    | it has | *where* | answer |
    |---|---|---|
    | a SHA-256 | any | that |
    | a version, ETag or time | None | its URL, and what it has |
    | the same | text | the text, and what it has |
    | the same | empty | what it has |
    | nothing | any | its URL |
    """
    if file.sha256:
        return file.sha256
    said = file.version or file.etag or file.modified
    place = _without_query(file.url) if where is None or not said else where
    return [place, said] if place else said


def _without_query(url: str) -> str:
    """Return *url* without what may be a signature that expires; in a bucket's key a ``?`` is a letter."""
    return url.partition("?")[0] if url.startswith("http") else url


class Source(Protocol):
    """A place where one model comes from."""

    def versions(self) -> Mapping[str, str]:
        """Return what can be asked for by name (versions, aliases, tags), and the label of what each names now.

        :raises Failure: They cannot be had.
        """
        ...

    def resolve(self, version: str = "") -> SourceVersion:
        """Return what the source holds, without reading the model's bytes.

        :param version: A name or label; empty for what the catalog asks for.
        :raises Failure: It cannot be reached, holds no model, or holds what is refused; all problems at once.
        """
        ...

    def credentials(self) -> Mapping[str, str]:
        """Return what a pod needs to fetch it, as its environment; empty where that needs nothing.

        :raises Failure: The connection has nothing that can be given to a pod.
        """
        ...
