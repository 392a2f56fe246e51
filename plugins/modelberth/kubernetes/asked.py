"""What the pods were asked by this process, and when they have to be asked again. The next process asks anew."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelberth.core.observed import Confirmation
from modelberth.kubernetes.confirm import Shown

if TYPE_CHECKING:
    from modelberth.core.observed import Soak

SOAK_PAUSE = 10.0
"""Seconds between two askings of what is being soaked."""


@dataclass
class Asked:
    """The newest asking.

    :param pending: A probe pod is still at it.
    """

    confirmation: Confirmation | None = None
    shown: Shown = field(default_factory=Shown)
    pending: bool = False
    _at: float = 0.0
    _left: float | None = None

    def take(self, shown: Shown | None, soak: Soak | None) -> None:
        """Keep what the pods have *shown*; None: nothing yet."""
        self.pending = shown is None
        if shown is None:
            return
        attempts = self.confirmation.attempts + 1 if self.confirmation else 1
        self.shown, self.confirmation = shown, Confirmation(tuple(shown.problems), attempts)
        self._at, self._left = time.monotonic(), soak.left if soak else None

    def forget_what_is_due(self, soak: Soak | None, *, complete: bool) -> None:
        """Forget what has to be asked again.

        pods complete | soak          | last asking               | forgotten
        --------------+---------------+---------------------------+----------
        no            | none, not on  | any                       | yes
        any           | any           | before the soak was over, | yes: the end of a soak is asked for itself
                      |               | which it is now           |
        any           | on            | well, SOAK_PAUSE ago      | yes
        any           | on            | with problems             | no: they are counted
        else          |               |                           | no
        """
        on, left = (soak.on, soak.left) if soak else (False, None)
        over_since = left is not None and left <= 0 and (self._left is None or self._left > 0)
        well = self.confirmation is not None and not self.confirmation.problems
        if (not complete and not on) or over_since or (on and well and time.monotonic() - self._at >= SOAK_PAUSE):
            self.confirmation = None

    @property
    def found_wanting(self) -> bool:
        """Whether the last asking has shown problems."""
        return self.confirmation is not None and bool(self.confirmation.problems)
