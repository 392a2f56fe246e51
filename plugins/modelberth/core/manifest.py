"""The manifest: a model's files, their sizes and the digests of their chunks. Its own digest is the revision.

::

    {"schema": 1, "chunk_digest": "blake3", "chunk_size": 8388608,
     "files": [{"path": "model.safetensors", "size": 90868376, "head": 11224, "chunks": ["<64 hex>", ...]},
               {"path": "run.sh", "size": 120, "executable": true, "chunks": ["<64 hex>"]}],
     "empty_dirs": ["1"]}

in canonical JSON. ``head``, ``executable`` and ``empty_dirs`` are absent when not needed. The model's name, times
and origin are not in it: the same bytes are the same revision wherever they came from.
A manifest read from a bucket or a claim is hostile input: it is bounded before it is parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import canonical, paths
from modelberth.core.chunks import CHUNK_SIZE, Span, chunk_span, count_chunks
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.refusing import quoted, refuse_any, size_problems

if TYPE_CHECKING:
    from collections.abc import Collection

CHUNK_DIGESTS = ("blake3", "sha256")
MOST_FILES = 200_000
MOST_CHUNKS = 500_000
"""Nearly 4 TiB. All three bound what a hostile manifest can cost before anything is known of it."""

_HEX = re.compile(r"[0-9a-f]{64}")
_KEYS = {"schema", "chunk_digest", "chunk_size", "files"}
_ENTRY_KEYS = {"path", "size", "chunks"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    :param path: POSIX and relative.
    :param size: Bytes.
    :param chunks: The digest of each chunk, 32 bytes each.
    :param head: Where tensor data starts (safetensors, GGUF), 0 elsewhere.
    """

    path: str
    size: int
    chunks: tuple[bytes, ...]
    head: int = 0
    executable: bool = False

    def span(self, index: int) -> Span:
        """Return where chunk *index* lies."""
        return chunk_span(index, self.size, self.head)

    def document(self) -> dict[str, Any]:
        """Return the entry as it stands in the manifest."""
        document: dict[str, Any] = {"path": self.path, "size": self.size}
        document["chunks"] = [chunk.hex() for chunk in self.chunks]
        if self.head:
            document["head"] = self.head
        if self.executable:
            document["executable"] = True
        return document


@dataclass(frozen=True)
class Manifest:
    """A model's files, sorted by path, and the directories that hold nothing."""

    files: tuple[Entry, ...]
    empty_dirs: tuple[str, ...] = ()
    chunk_digest: str = "blake3"

    @classmethod
    def of(cls, files: list[Entry], empty_dirs: list[str], chunk_digest: str = "blake3") -> Manifest:
        """Return the manifest of *files* and *empty_dirs* in any order.

        :raises Failure: A reader would refuse it.
        """
        ordered = tuple(sorted(files, key=lambda entry: entry.path.encode(errors="surrogateescape")))
        manifest = cls(ordered, tuple(sorted(empty_dirs, key=lambda path: path.encode())), chunk_digest)
        refuse_any("manifest", [*_path_problems(manifest), *_bound_problems(manifest)])
        return manifest

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Return the manifest that *data* is, to the byte.

        :raises Failure: *data* is anything but one canonical, consistent manifest; all that is wrong is named.
        """
        refuse_any("manifest", _size_problems(data))
        try:
            document = canonical.load(data)
        except ValueError as error:
            raise Failure(ExitCode.REFUSED, f"The manifest was refused: {error}") from error
        refuse_any("manifest", _document_problems(document))
        manifest = cls(
            tuple(map(_entry, document["files"])), tuple(document.get("empty_dirs", ())), document["chunk_digest"]
        )
        refuse_any("manifest", [*_path_problems(manifest), *_bound_problems(manifest), *_order_problems(manifest)])
        return manifest

    def dump(self) -> bytes:
        """Return the canonical form, which ``parse`` reads back."""
        document: dict[str, Any] = {"schema": 1, "chunk_digest": self.chunk_digest, "chunk_size": CHUNK_SIZE}
        document["files"] = [entry.document() for entry in self.files]
        if self.empty_dirs:
            document["empty_dirs"] = list(self.empty_dirs)
        return canonical.dump(document)

    @cached_property
    def digest(self) -> Digest:
        """The digest of the canonical form: the model's identity."""
        return Digest.of(self.dump())

    @cached_property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(entry.size for entry in self.files)


def refuse_excess(sizes: Collection[int]) -> None:
    """Refuse files of *sizes* bytes that no manifest may name, before anything is read of them.

    :raises Failure: There are none or too many, or they have too many chunks.
    """
    refuse_any("manifest", _count_problems(len(sizes), sum(map(count_chunks, sizes))))


def _size_problems(data: bytes) -> list[str]:
    return size_problems(data, {b"{": MOST_FILES + 1, b"[": MOST_FILES + 2, b",": 5 * MOST_FILES + MOST_CHUNKS})


def _document_problems(document: Any) -> list[str]:
    if not isinstance(document, dict) or not _KEYS <= document.keys() <= _KEYS | {"empty_dirs"}:
        return [f"It must be an object with the keys {sorted(_KEYS)} and, where needed, 'empty_dirs'."]
    problems = []
    if document["schema"] != 1 or type(document["schema"]) is not int:
        problems.append(f"Its schema is {quoted(document['schema'])}; this program knows 1.")
    if document["chunk_digest"] not in CHUNK_DIGESTS:
        problems.append(f"Its chunk_digest is {quoted(document['chunk_digest'])}; accepted are {list(CHUNK_DIGESTS)}.")
    if document["chunk_size"] != CHUNK_SIZE or type(document["chunk_size"]) is not int:
        problems.append(f"Its chunk_size is {quoted(document['chunk_size'])}; accepted is {CHUNK_SIZE}.")
    dirs = document.get("empty_dirs", ["one"])
    if not isinstance(dirs, list) or not dirs or not all(isinstance(path, str) for path in dirs):
        problems.append("Its empty_dirs is not a list of one path or more.")
    if not isinstance(document["files"], list):
        return [*problems, "Its files is not a list."]
    return problems + [text for item in document["files"] if (text := _entry_problem(item))]


def _entry_problem(item: Any) -> str | None:
    if not isinstance(item, dict) or not _ENTRY_KEYS <= item.keys() <= _ENTRY_KEYS | {"head", "executable"}:
        return f"A file is {quoted(item)}; expected an object with {sorted(_ENTRY_KEYS)}, 'head', 'executable'."
    path, size, head, chunks = item["path"], item["size"], item.get("head"), item["chunks"]
    if not isinstance(path, str):
        return f"A path is {quoted(path)}; expected text."
    if type(size) is not int or not 0 <= size <= MOST_CHUNKS * CHUNK_SIZE:
        return f"The size of {path!r} is {quoted(size)}; expected bytes."
    if head is not None and (type(head) is not int or not 0 < head < size):
        return f"The head of {path!r} is {quoted(head)}; expected more than 0 and less than its size, {size}."
    if item.get("executable", True) is not True:
        return f"'executable' of {path!r} is {quoted(item['executable'])}; it is true or absent."
    if not isinstance(chunks, list) or not all(isinstance(chunk, str) and _HEX.fullmatch(chunk) for chunk in chunks):
        return f"The chunks of {path!r} are not a list of 64 lower-case hex digits each."
    if len(chunks) != count_chunks(size, head or 0):
        return f"File {path!r} of {size} bytes has {len(chunks)} chunks; expected {count_chunks(size, head or 0)}."
    return None


def _entry(item: dict[str, Any]) -> Entry:
    chunks = tuple(map(bytes.fromhex, item["chunks"]))
    return Entry(item["path"], item["size"], chunks, item.get("head", 0), "executable" in item)


def _path_problems(manifest: Manifest) -> list[str]:
    names = [entry.path for entry in manifest.files]
    problems = [f"Path {path!r} {why}." for path in (*names, *manifest.empty_dirs) if (why := paths.refusal(path))]
    return problems or paths.clashes(names, manifest.empty_dirs)


def _bound_problems(manifest: Manifest) -> list[str]:
    return _count_problems(len(manifest.files), sum(len(entry.chunks) for entry in manifest.files))


def _count_problems(files: int, chunks: int) -> list[str]:
    problems = [] if files <= MOST_FILES else [f"It has {files} files; at most {MOST_FILES} are accepted."]
    if not files:
        problems.append("It has no file.")
    if chunks > MOST_CHUNKS:
        problems.append(f"It has {chunks} chunks; at most {MOST_CHUNKS} are accepted.")
    return problems


def _order_problems(manifest: Manifest) -> list[str]:
    names = [entry.path for entry in manifest.files]
    problems = [] if names == sorted(names) else ["Its files are not sorted by path."]
    if list(manifest.empty_dirs) != sorted(manifest.empty_dirs):
        problems.append("Its empty_dirs are not sorted.")
    return problems
