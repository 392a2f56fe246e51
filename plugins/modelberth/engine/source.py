"""What a model is read from, a directory or a fetch list, and what reading has in common for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelberth.core import layout
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import FetchList
from modelberth.core.refusing import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from modelberth.core.chunks import Span
    from modelberth.engine.stopping import Stop
    from modelberth.engine.stores import Reader
    from modelberth.engine.transport import Sink


class File(Protocol):
    """One file of a model, wherever it is."""

    @property
    def path(self) -> str:
        """Its path in the manifest."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def executable(self) -> bool:
        """Whether it is a program."""

    @property
    def sha256(self) -> str:
        """The SHA-256 that it must have, 64 hex digits; empty when none was named."""

    @property
    def in_order(self) -> bool:
        """Whether it can only be read from its first byte to its last, in one go."""

    @property
    def cheap(self) -> bool:
        """Whether reading it a second time costs next to nothing: it is on a disk, not behind a network."""

    def head(self) -> int:
        """Return where tensor data starts, 0 when that is unknown or not inside it."""

    def bring(self, spans: Sequence[Span], sink: Sink) -> None:
        """Let *sink* receive each of *spans*, which are neighbours, in order.

        :raises Failure: It could not be read, or changed meanwhile.
        """

    def refuse_changed(self) -> None:
        """Refuse it when it is known not to be what it was.

        :raises Failure: It changed.
        """


class Source(Protocol):
    """A model's files, as they were when they were looked at."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def files(self) -> Sequence[File]:
        """Its files, sorted by path."""

    @property
    def empty_dirs(self) -> Sequence[str]:
        """Its directories that hold nothing."""

    def refuse_changed(self) -> None:
        """Refuse it when a file came, went or changed since.

        :raises Failure: One did.
        """


def open_source(path: Path, follow_links: Path | None, stop: Stop) -> Source:
    """Return the model that is in a directory, or that a fetch list names.

    :raises Failure: There is none, or something in it is refused; all of it is named.
    """
    if path.is_file():
        from modelberth.engine.fetch import FetchedSource

        if follow_links:
            raise Failure(ExitCode.REFUSED, "--follow-links is for a directory: a fetch list has no links.")
        with path.open("rb") as stream:
            return FetchedSource(str(path), FetchList.parse(stream.read(LARGEST + 1)), stop)
    from modelberth.engine.scan import Directory

    return Directory(path, follow_links)


def open_listed(store: Reader, model: str, digest: Digest, stop: Stop) -> Source:
    """Return the model that the fetch list of that digest names, which lies in the bucket beside the model.

    :raises Failure: It is not there, has other bytes, or something in it is refused.
    """
    from modelberth.engine.fetch import FetchedSource

    key = store.url.key(layout.fetch_list_key(model, digest))
    data = store.read(key, LARGEST)
    if data is None:
        raise Failure(ExitCode.NOT_FOUND, f"No fetch list {key!r} in {str(store.url)!r}: resolve the source again.")
    if Digest.of(data) != digest:
        raise Failure(
            ExitCode.MISMATCH,
            f"Fetch list {key!r} in {str(store.url)!r} was exchanged: expected {digest}, got {Digest.of(data)}. "
            "Nothing was fetched: find out who else writes there, and start a new release.",
        )
    return FetchedSource(key, FetchList.parse(data), stop)
