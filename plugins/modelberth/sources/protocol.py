"""What a source is to the rest of Modelberth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from modelberth.core.digest import Digest


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """The immutable name of what a source held, and how much that was.

    :param name: Equal only as long as the source holds the same; nothing else may be read from it.
    """

    name: Digest
    files: int
    bytes: int


class Source(Protocol):
    """A place where one model comes from."""

    def version(self) -> SourceVersion:
        """Return what the source holds now, without reading the model's bytes.

        :raises Failure: It cannot be reached, holds no model, or holds what is refused; all problems at once.
        """
        ...

    def resolve(self) -> str:
        """Return where the engine reads: the first argument of ``modelberth upload``."""
        ...
