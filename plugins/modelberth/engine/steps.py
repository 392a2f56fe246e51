"""What the two kinds of ``modelberth prune`` have in common: steps, each for all that it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from modelberth.engine.report import Result
    from modelberth.engine.stopping import Stop

_Named = TypeVar("_Named")


class Steps:
    """What was done so far, by step, and what could not be.

    :param names: The steps; what a step was to be done with and is not there is ``absent``.
    """

    def __init__(self, names: Sequence[str], stop: Stop) -> None:
        self._stop = stop
        self._done: dict[str, list[str]] = {name: [] for name in (*names, "absent")}
        self._problems: list[Failure] = []

    def each(self, name: str, asked: Iterable[_Named], step: Callable[[_Named], bool]) -> None:
        """Do *step* with each; what cannot be done with one hides nothing that can be with another.

        :param step: Says whether there was anything to do it with.
        """
        for one in asked:
            self._stop.check()
            try:
                self._done[name if step(one) else "absent"].append(str(one))
            except Failure as failure:
                if failure.code is ExitCode.INTERRUPTED:
                    raise
                self._problems.append(failure)

    def result(self, freed: int) -> Result:
        """Return what was done.

        :param freed: Bytes.
        :raises Failure: All that could not be done; ``facts`` is what was.
        """
        result: Result = {**self._done, "bytes_freed": freed}
        if self._problems:
            worst = min(self._problems, key=lambda failure: not failure.code.worth_retrying)
            failure = Failure(worst.code, *(problem for one in self._problems for problem in one.problems))
            failure.facts = result
            raise failure
        return result


def refuse_repeats(kind: str, asked: Sequence[object]) -> None:
    """Refuse an order that names something twice: one step must not depend on what another has just done.

    :param kind: What is named, such as ``Snapshot``.
    :raises Failure: One is.
    """
    if twice := sorted({str(one) for one in asked if asked.count(one) > 1}):
        sentences = (f"{kind} {one} is named more than once: say one thing that is to be done." for one in twice)
        raise Failure(ExitCode.REFUSED, *sentences)


def since_of(text: str) -> tuple[str, str]:
    """Return a name and the time that was given with it: ``<name>=<time>``; empty when none was."""
    name, _, since = text.partition("=")
    return name, since
