"""One file of a model behind a network: read in ranges where the server knows them, pinned to what was seen first."""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol

from modelberth.core.chunks import Span
from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.heads import head_of
from modelberth.engine.http import Answer
from modelberth.engine.transport import final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from modelberth.engine.http import Get
    from modelberth.engine.transport import Fill, Sink, Transport

_AT_ONCE = 256 * 1024
"""Bytes that a reader of a head asks for: a safetensors' first 8, or a GGUF's whole vocabulary."""

_LONGEST_HEAD = {".gguf": 64 * 1024 * 1024}
"""What is read of a file for its head where no range can be asked for; a safetensors says it in the first bytes."""


class Origin(Protocol):
    """Where a file's bytes come from."""

    def get(self, *, anew: bool) -> Get:
        """Return a request for them, which fails when they are others than those seen first.

        :param anew: Whether the last one failed.
        """


class RemoteFile:
    """One file.

    :param ranges: Whether a part of it can be asked for.
    """

    def __init__(
        self,
        path: str,
        size: int,
        origin: Origin,
        transport: Transport,
        *,
        sha256: str = "",
        executable: bool = False,
        ranges: bool = True,
    ) -> None:
        self.path = path
        self.size = size
        self.sha256 = sha256
        self.executable = executable
        self.in_order = not ranges
        self.cheap = False
        self._origin = origin
        self._transport = transport

    def head(self) -> int:
        """Return where tensor data starts, 0 when that is unknown or not inside it."""
        return head_of(self, PurePosixPath(self.path).suffix, self.size)

    def open(self, _mode: str = "rb", /) -> BinaryIO:
        """Return a stream of its first bytes, for who looks for the head."""
        if self.in_order:
            most = min(self.size, _LONGEST_HEAD.get(PurePosixPath(self.path).suffix.lower(), _AT_ONCE))
            return io.BytesIO(self._first(most))
        return io.BufferedReader(_Ranges(self), _AT_ONCE)

    def _first(self, count: int) -> bytes:
        """Return the file's first *count* bytes, perhaps some more, by a request that asks for no range.

        :raises Failure: It could not be read, or changed since it was looked at.
        """
        for anew in (False, True):
            get, (status, headers, data) = self._asked(count, anew=anew)
            if status in (200, 206):
                if get.check:
                    get.check(headers)
                return data
        answer = Answer(status, headers)
        raise self._translated(final(answer, 2, get.what), answer) from answer

    def _asked(self, count: int, *, anew: bool) -> tuple[Get, tuple[int, Mapping[str, str], bytes]]:
        get = self._origin.get(anew=anew)
        return get, self._transport.small(lambda: get, count)

    def bring(self, spans: Sequence[Span], sink: Sink) -> None:
        """Let *sink* receive each of *spans*, which are neighbours, in order.

        :raises Failure: It could not be read, or changed since it was looked at.
        """
        tries = 0

        def sign() -> Get:
            nonlocal tries
            tries += 1
            return self._origin.get(anew=tries > 1)

        try:
            if self.in_order:
                self._from_start(sign, spans, sink)
            else:
                self._transport.bring(sign, spans, sink)
        except Failure as failure:
            raise self._translated(failure, failure.__cause__) from failure

    def _from_start(self, sign: Callable[[], Get], spans: Sequence[Span], sink: Sink) -> None:
        """Read all in one go. After a broken connection everything comes again: what was taken is passed over."""
        done = 0

        def take(_number: int, fill: Fill) -> None:
            nonlocal done
            for number, span in enumerate(spans):
                if number < done:
                    fill(memoryview(bytearray(span.length)), lambda _piece: None)
                else:
                    sink(number, fill)
                    done += 1

        self._transport.bring(sign, [Span(0, self.size)], take)

    def _translated(self, failure: Failure, cause: BaseException | None) -> Failure:
        """Say what an answer means of a source, which was there when it was looked at.

        | answer | is |
        |---|---|
        | 404, 410, 412, 416 | changed |
        | any other, or none | what it was |
        """
        if not isinstance(cause, Answer) or cause.status not in (404, 410, 412, 416):
            return failure
        what = {412: "was replaced", 416: "became shorter, or answers with other bytes than it was asked for"}
        return changed(self.path, f"it {what.get(cause.status, 'vanished')} (HTTP status {cause.status})")

    def refuse_changed(self) -> None:
        """Do nothing: each request was for what was seen first."""


class _Ranges(io.RawIOBase):
    """A file's bytes from its first on, each piece a request of its own."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self._file.size - self._position))]
        if view:
            span = Span(self._position, len(view))
            self._file.bring([span], lambda _number, fill: fill(view, lambda _piece: None))
            self._position = span.end
        return len(view)


def changed(path: str, why: str) -> Failure:
    """Return the failure that says so."""
    return Failure(
        ExitCode.CHANGED,
        f"File {path!r} of the source changed while it was read: {why}. Nothing was published: find out what the "
        "source holds now and start again.",
    )
