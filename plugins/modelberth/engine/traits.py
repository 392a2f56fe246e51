"""What a claim's file system can do: found by trial, and said."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from modelberth.engine import filesystem
from modelberth.engine.reflink import block_of


@dataclass(frozen=True, slots=True)
class Traits:
    """A file system, as far as a sync minds.

    :param kind: Its type as the kernel names it: ``ext4``, ``xfs``, ``fuse.seaweedfs``, ``nfs4``.
    :param block: Bytes of a block where files can share them, else 0.
    :param fallocate: Whether files get their blocks when they are opened, so that a shortage shows at once.
    :param hard_links: Whether files can have several names.
    """

    kind: str
    block: int
    fallocate: bool
    hard_links: bool

    @property
    def lacks(self) -> list[str]:
        """What it does not offer and a sync would use."""
        offers = {"fallocate": self.fallocate, "hard-links": self.hard_links, "reflink": bool(self.block)}
        return [name for name, there in offers.items() if not there]

    def __str__(self) -> str:
        return f"{self.kind or 'of unknown type'}, " + (
            f"without {', '.join(self.lacks)}" if self.lacks else "complete"
        )


def traits_of(directory: Path) -> Traits:
    """Try what the file system can do on files of our own in *directory*, which are gone afterwards.

    :raises OSError: The trial could not be made: no space, no right, no answer.
    """
    with TemporaryDirectory(prefix="trial-", dir=directory) as name:
        trial = Path(name)
        with (trial / "file").open("wb") as file:
            fallocate = filesystem.allocate(file.fileno(), 1)
        return Traits(filesystem.file_system_of(trial), block_of(trial), fallocate, _links(trial / "file"))


def _links(file: Path) -> bool:
    with suppress(OSError):
        file.with_name("link").hardlink_to(file)
        return True
    return False
