"""What a snapshot's content could do to who loads it: asked for by ``modelberth verify --content``, decided by Airflow.

code      a pickle that imports what is dangerous or unknown, or hides in an archive (loading.py); a program or library
headers   a safetensors, GGUF or ONNX file that a loader cannot use, or that leads it out of the model
licence   no LICENSE file, and no ``license:`` at the head of README.md

Nothing is loaded. What lies in a file that nobody can read is a problem, not a reason to pass.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from modelberth.engine import filesystem, loading
from modelberth.engine.headers import header_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from io import BufferedReader
    from pathlib import Path

    from modelberth.core.manifest import Manifest
    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

_SHOWN = 10

_PROGRAMS = {".py", ".pyc", ".so", ".dll", ".dylib", ".exe", ".sh", ".jar", ".class"}
_LICENCE = re.compile(r"(licen[cs]e|copying|unlicense)([._-].*)?", re.IGNORECASE)
_FRONT_MATTER = re.compile(rb"\A---\n(.*\n)*?license(_name)?:[ \t]*\S+.*\n(.*\n)*?---")
_LONGEST_FRONT = 64 * 1024


def inspect(files: Path, manifest: Manifest, checks: Collection[str], stop: Stop) -> Result:
    """Return how many problems each of *checks* has found, and the first of them.

    :param files: The snapshot's files, which are known to be what *manifest* names.
    """
    found: list[tuple[str, str]] = []
    doing = {"code": _code, "headers": _headers, "licence": _licence}
    for check in checks:
        for problem in doing[check](files, manifest):
            found.append((check, problem))
            stop.check()
    counts = {check: sum(one == check for one, _ in found) for check in checks}
    return {"content": counts, "findings": [f"{check}: {problem}" for check, problem in found[:_SHOWN]]}


def _code(files: Path, manifest: Manifest) -> Iterator[str]:
    for entry in manifest.files:
        if entry.executable or PurePosixPath(entry.path).suffix.lower() in _PROGRAMS:
            yield f"File {entry.path!r} is a program."
        elif entry.size:
            with _opened(files / entry.path) as stream:
                if problem := loading.problem(stream, entry.path, entry.size):
                    yield f"File {entry.path!r} {problem}."


def _headers(files: Path, manifest: Manifest) -> Iterator[str]:
    there = {entry.path for entry in manifest.files}
    for entry in manifest.files:
        with _opened(files / entry.path) as stream:
            if problem := header_problem(stream, entry.path, entry.size, there):
                yield f"File {entry.path!r}: {problem}."


def _licence(files: Path, manifest: Manifest) -> Iterator[str]:
    paths = [entry.path for entry in manifest.files]
    if any(_LICENCE.fullmatch(path) for path in paths):
        return
    for path in paths:
        if path.lower() == "readme.md":
            with _opened(files / path) as stream:
                if _FRONT_MATTER.match(stream.read(_LONGEST_FRONT).replace(b"\r\n", b"\n")):
                    return
    yield "The model has no LICENSE file, and README.md names no license at its head."


def _opened(path: Path) -> BufferedReader:
    return os.fdopen(filesystem.open_regular(path), "rb")
