"""Questions to many places, all at once: one that is down or hangs holds up no other."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from modelberth.core.fair import hangs, next_place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_T = TypeVar("_T")


class UnansweredError(Exception):
    """A place did not answer in time, or was not asked because it left others without an answer."""


@dataclass(frozen=True, slots=True)
class Question(Generic[_T]):
    """What is asked, and of whom."""

    place: str
    ask: Callable[[], _T]


def ask_all(questions: Sequence[Question[_T]], at_once: int, within: float) -> list[_T | Exception]:
    """Return what each question was answered with, or what it raised.

    :param at_once: How many are under way at the same time.
    :param within: Seconds; what is unanswered then is left behind, with the thread that waits for it.
    """
    asking = _Asking(questions)
    for _ in range(min(at_once, len(questions))):
        Thread(target=asking.work, daemon=True).start()
    return asking.ended(within)


class _Asking(Generic[_T]):
    def __init__(self, questions: Sequence[Question[_T]]) -> None:
        self._questions, self._answers = questions, dict[int, _T | Exception]()
        self._waiting: dict[str, deque[int]] = {}
        for number, question in enumerate(questions):
            self._waiting.setdefault(question.place, deque()).append(number)
        self._asked: Counter[str] = Counter()
        self._last_answer: dict[str, float] = {}
        self._changed = Condition()

    def work(self) -> None:
        """Ask one question after the other, until none waits."""
        while (number := self._take()) is not None:
            began = time.monotonic()
            try:
                answer: _T | Exception = self._questions[number].ask()
            except Exception as error:
                answer = error
            self._note(number, answer, began)

    def ended(self, within: float) -> list[_T | Exception]:
        """Wait for the answers, and return them in the questions' order."""
        late = UnansweredError(f"no answer within {within:.0f} s")
        with self._changed:
            self._changed.wait_for(lambda: len(self._answers) == len(self._questions), within)
            self._waiting.clear()
            return [self._answers.get(number, late) for number in range(len(self._questions))]

    def _take(self) -> int | None:
        with self._changed:
            place = next_place({place: len(numbers) for place, numbers in self._waiting.items()}, self._asked)
            if place is None:
                return None
            self._asked[place] += 1
            return self._waiting[place].popleft()

    def _note(self, number: int, answer: _T | Exception, began: float) -> None:
        now, place = time.monotonic(), self._questions[number].place
        with self._changed:
            self._answers[number] = answer
            self._asked[place] -= 1
            if not isinstance(answer, Exception):
                self._last_answer[place] = now
            elif hangs(began, now, self._last_answer.get(place)):
                self._give_up(place, answer)
            self._changed.notify_all()

    def _give_up(self, place: str, answer: Exception) -> None:
        left = self._waiting.pop(place, ())
        self._answers.update({number: UnansweredError(f"not asked, since {place} hangs: {answer}") for number in left})
