"""What a path inside a model may be, the same for the writer and for every reader."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LONGEST_PART = 255
LONGEST_PATH = 800
RESERVED = ".modelberth"

_PLAIN = re.compile(r"[a-z0-9._/-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def refusal(path: str, longest: int = LONGEST_PATH) -> str | None:
    """Say why *path* is not accepted, or None when it is.

    | path | answer |
    |---|---|
    | not encodable as UTF-8 (lone surrogates: how Python shows foreign bytes) | not UTF-8 |
    | empty, over *longest* bytes | empty, too long |
    | NUL, control characters, line separators | control character |
    | backslash | backslash |
    | a part that is empty (absolute path, ``//``, final ``/``), ``.`` or ``..`` | such a part |
    | a part over 255 bytes | part too long |
    | a part ``.modelberth`` in any spelling | reserved |
    | anything else | None |
    """
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not path:
        return "is empty"
    if size > longest:
        return f"has {size} bytes; at most {longest} are accepted"
    if _CONTROL.search(path):
        return "holds a control character"
    if "\\" in path:
        return "holds a backslash"
    return next(filter(None, map(_part_refusal, path.split("/"))), None)


def _part_refusal(part: str) -> str | None:
    if part in ("", ".", ".."):
        return f"has the part {part!r}"
    if len(part.encode()) > LONGEST_PART:
        return f"has a part of over {LONGEST_PART} bytes"
    if folded(part) == RESERVED:
        return f"has the reserved part {RESERVED!r}"
    return None


def folded(path: str) -> str:
    """Return what *path* is to a file system that ignores case and Unicode normalisation."""
    if _PLAIN.fullmatch(path):
        return path
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def parents(path: str) -> Iterator[str]:
    """Yield the directories above *path*, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def clashes(files: Iterable[str], empty_dirs: Iterable[str] = ()) -> list[str]:
    """Return one sentence for each pair of *files* and *empty_dirs* that cannot lie in one tree.

    | pair | answer |
    |---|---|
    | the same path twice | twice |
    | a file or empty directory that another path lies under | also the parent |
    | names, of files or directories, equal but for case or normalisation | differ only by |
    """
    leaves: set[str] = set()
    problems = []
    for path in (*files, *empty_dirs):
        if path in leaves:
            problems.append(f"Path {path!r} is there twice.")
        leaves.add(path)
    above = {parent for path in leaves for parent in parents(path)}
    problems += [f"Path {path!r} is also the parent of another." for path in sorted(leaves & above)]
    return problems + _same_but_for_spelling(leaves | above)


def _same_but_for_spelling(paths: set[str]) -> list[str]:
    problems = []
    spelt: dict[str, str] = {}
    for path in sorted(paths):
        other = spelt.setdefault(folded(path), path)
        if other != path:
            problems.append(f"Paths {other!r} and {path!r} differ only by case or Unicode normalisation.")
    return problems
