"""A checksums file, as ``sha256sum`` and its kin write it.

1f0c...  model.safetensors
9b2d... *sub/vocab.txt
SHA256 (config.json) = 77b0...
"""

from __future__ import annotations

import re

from modelberth.core.failure import ExitCode, Failure

_GNU = re.compile(r"(?P<hex>[0-9A-Fa-f]{64}) [ *](?P<path>.+)")
_BSD = re.compile(r"SHA256 \((?P<path>.+)\) = (?P<hex>[0-9A-Fa-f]{64})")
_SHOWN = 5


def parse(data: bytes, name: str) -> dict[str, str]:
    """Return the SHA-256 of each path, 64 lower-case hex digits.

    :param name: The file's, for messages.
    :raises Failure: A line is none, or two lines disagree.
    """
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        said = _GNU.fullmatch(line) or _BSD.fullmatch(line)
        if not said:
            problems.append(f"{name} line {number}: expected 64 hex digits, two spaces and a path; got {line[:80]!r}.")
        elif found.setdefault(said["path"].removeprefix("./"), said["hex"].lower()) != said["hex"].lower():
            problems.append(f"{name} line {number}: {said['path']!r} has another digest above.")
    if not found and not problems:
        problems.append(f"{name} names no file.")
    if problems:
        more = [f"{len(problems) - _SHOWN} more."] if len(problems) > _SHOWN else []
        raise Failure(ExitCode.REFUSED, *problems[:_SHOWN], *more)
    return found
