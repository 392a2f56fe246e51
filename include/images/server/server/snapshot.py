"""The snapshot that MODEL_PATH names: where it is, which revision it is, and whether it is whole.

    <mount>/<model>/<64 hex>.<n>/      written once, published by one rename, never changed
        READY.json                     names the revision: without it the directory is not a snapshot
        manifest.json                  lists the files; its sha256 is the <64 hex>
        files/...                      the model: what MODEL_PATH names

Its bytes were verified before they were approved, so files are compared by size only: that finds a lost or wrong file.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHOWN_PROBLEMS = 5
_AGAIN = "Run the release again: it stages a new copy."
_MODEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SNAPSHOT = re.compile(r"([0-9a-f]{64})\.[1-9][0-9]{0,5}")


class NotServableError(Exception):
    """There is no model to serve; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One copy of a revision on a claim."""

    path: Path
    model: str
    name: str

    @classmethod
    def parse(cls, model_path: str) -> Snapshot:
        """Return the snapshot that *model_path* names.

        :raises NotServableError: It is empty or has another form.
        """
        path = Path(model_path)
        model, name, files = ("", "", "", *path.parts)[-3:]
        if not (path.is_absolute() and _MODEL.fullmatch(model) and _SNAPSHOT.fullmatch(name) and files == "files"):
            raise NotServableError(
                f"MODEL_PATH is {model_path!r}; expected '<mount>/<model>/<64 hex>.<n>/files'. "
                "Bind it to a snapshot: run the model's release."
            )
        return cls(path, model, name)

    @property
    def digest(self) -> str:
        """The manifest's sha256, 64 hex digits, as the directory's name claims it."""
        return self.name.partition(".")[0]

    @property
    def revision(self) -> str:
        """``<model>@sha256:<64 hex>``; true once :meth:`verify` returned."""
        return f"{self.model}@sha256:{self.digest}"

    def verify(self) -> None:
        """Prove that the manifest is the one the name claims and that every file is there in its size.

        :raises NotServableError: With all problems, the first five in full.
        """
        ready = json.loads(self._read("READY.json")).get("revision")
        if ready != self.revision:
            raise NotServableError(
                f"'{self.path.parent}' is not a snapshot of {self.revision}: its READY.json says {ready!r}. {_AGAIN}"
            )
        files = self._manifest()["files"]
        problems = [problem for entry in files if (problem := _problem(self.path, entry["path"], entry["size"]))]
        if problems:
            shown = "; ".join(problems[:_SHOWN_PROBLEMS])
            raise NotServableError(
                f"Snapshot '{self.path.parent}' is damaged, {len(problems)} of {len(files)} files: {shown}. {_AGAIN}"
            )

    def _manifest(self) -> dict[str, Any]:
        data = self._read("manifest.json")
        found = hashlib.sha256(data).hexdigest()
        if found != self.digest:
            raise NotServableError(
                f"The manifest in '{self.path.parent}' is of another revision: "
                f"expected sha256:{self.digest}, got sha256:{found}. {_AGAIN}"
            )
        manifest: dict[str, Any] = json.loads(data)
        if manifest.get("schema") != 1:
            raise NotServableError(
                f"The manifest in '{self.path.parent}' has schema {manifest.get('schema')!r}; this server reads 1."
            )
        return manifest

    def _read(self, name: str) -> bytes:
        path = self.path.parent / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise NotServableError(f"'{path}' cannot be read: {error.strerror}. {_AGAIN}") from error


def _problem(files: Path, name: str, size: int) -> str | None:
    try:
        found = (files / name).lstat()
    except OSError as error:
        return f"'{name}' cannot be read ({error.strerror})"
    if not stat.S_ISREG(found.st_mode):
        return f"'{name}' is not a regular file"
    if found.st_size != size:
        return f"'{name}' has {found.st_size} bytes, expected {size}"
    return None
