"""Which of several places is asked next, and when one is given up: a place that hangs holds up no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 15.0
"""Seconds: a question that failed only after that was not answered, as questions to a server that hangs are not."""


def next_place(waiting: Mapping[str, int], asked: Mapping[str, int]) -> str | None:
    """Return the place that is asked next, None if no question waits.

    :param waiting: How many questions wait for each place. :param asked: How many each has not answered yet.

    questions wait | the place has              | then
    ---------------+----------------------------+-----------------------------------
    for none       | -                          | none
    for some       | the fewest without answer  | it: one that hangs has its share and no more
    for several    | equally few without answer | the one with the most that wait: it takes longest
    """
    some = [place for place, count in waiting.items() if count]
    return min(some, key=lambda place: (asked.get(place, 0), -waiting[place]), default=None)


def hangs(began: float, failed: float, last_answer: float | None) -> bool:
    """Return whether a place hangs that did not answer a question: then the others to it are not worth their wait.

    :param last_answer: When it last answered any; all three on one clock, in seconds.

    failed after   | answered another meanwhile | hangs
    ---------------+----------------------------+---------------------------
    under 15 s     | any                        | no: it says what is wrong
    15 s and more  | yes                        | no: this one question only
    15 s and more  | no                         | yes
    """
    return failed - began >= PATIENCE and (last_answer is None or last_answer < began)
