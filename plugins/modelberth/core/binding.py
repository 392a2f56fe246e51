"""A binding as a plan has it, and what a value that is live by now is to it: nothing foreign is ever overwritten."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Live(StrEnum):
    """What a live value is to a plan."""

    FROM = "from"
    TO = "to"
    SAME = "same"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Binding:
    """One container's variable: the value that was live when the plan was made, and the value to come."""

    model: str
    container: str
    variable: str
    from_: str | None
    to: str

    def judge(self, live: str | None) -> Live:
        """Return what the value *live* is to this binding.

        live    | from == to | is
        --------+------------+--------
        to      | no         | TO
        from    | no         | FROM
        from    | yes        | SAME: nothing to do and nothing to put back
        another | any        | FOREIGN
        """
        if live not in (self.from_, self.to):
            return Live.FOREIGN
        if self.from_ == self.to:
            return Live.SAME
        return Live.TO if live == self.to else Live.FROM

    def __str__(self) -> str:
        return f"{self.container}/{self.variable}"
