"""What receipts there are, what each rests on and what its file is called: one table for who writes and who audits."""

from __future__ import annotations

import re
from dataclasses import dataclass

NUMBERS = {
    "resolve": 1,
    "list": 1,
    "upload": 2,
    "signature": 2,
    "sync": 3,
    "verify": 4,
    "plan": 5,
    "preview": 5,
    "approve": 6,
    "check": 7,
    "started": 8,
    "soaking": 8,
    "decided": 8,
    "outcome": 9,
    "record": 10,
}
"""The steps, and where in a release they come."""

SINGLE = frozenset({"plan", "approve", "started", "soaking", "decided", "outcome", "record"})
"""Steps that bind: taken once a release."""

WHOLE = frozenset({"resolve", "upload", "signature", "plan", "approve", "record"})
"""Steps that are about all targets; what an approve has in a target's place is the number of the answer, from 2."""

RESTS_ON: dict[str, tuple[str, ...]] = {
    "resolve": (),
    "list": (),
    "upload": ("resolve",),
    "signature": ("upload",),
    "sync": ("upload",),
    "verify": ("sync",),
    "plan": ("list", "signature", "verify"),
    "preview": ("plan",),
    "approve": ("plan", "preview"),
    "check": ("approve", "verify"),
    "started": ("approve", "check", "outcome"),
    "soaking": ("started",),
    "decided": ("started", "soaking"),
    "outcome": ("decided",),
    "record": ("approve", "outcome", "record"),
}
"""The steps whose receipts a receipt names by digest, of its own release and, where it has one, of its own target.

The record of a model that another release switched with its own names that release's record. A start names the
outcomes of the targets that come before its own, but not in a rollback.
"""

ENVELOPE = frozenset({"schema", "step", "model", "release_id", "target", "attempt", "at", "previous"})
"""The keys that a receipt has whatever its step; what a step says has others."""

_FILE = re.compile(
    r"(?P<number>[0-9]{2})-(?P<step>[a-z]+)(-(?P<target>[a-z0-9-]+))?(\.(?P<attempt>[1-9][0-9]*))?\.json"
)


@dataclass(frozen=True, order=True, slots=True)
class Name:
    """Which receipt of a release: ``04-verify-embedder.2.json`` is the second attempt of a step at a target."""

    step: str
    target: str | None = None
    attempt: int = 1

    @classmethod
    def parse(cls, file: str) -> Name:
        """Return the name that *file* is.

        :raises ValueError: No step of ours writes a file of that name.
        """
        found = _FILE.fullmatch(file)
        if not found or NUMBERS.get(found["step"]) != int(found["number"]):
            raise ValueError(f"Not the name of a receipt: {file!r}.")
        name = cls(found["step"], found["target"], int(found["attempt"] or 1))
        if str(name) != file:
            raise ValueError(f"Not the name of a receipt: {file!r}; it would be {name}.")
        return name

    @property
    def stem(self) -> str:
        """What it is called where the attempt does not matter: ``04-verify-embedder``."""
        return f"{NUMBERS[self.step]:02d}-{self.step}" + (f"-{self.target}" if self.target else "")

    def __str__(self) -> str:
        return self.stem + ("" if self.attempt == 1 else f".{self.attempt}") + ".json"


def elsewhere(model: str, release_id: str, stem: str) -> str:
    """Return how a receipt names one of another release: its place without the attempt."""
    return f"{model}/{release_id}/{stem}"
