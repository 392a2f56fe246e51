"""How a run ends: one line of JSON on stdout, and the same in the container's termination message."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine.telling import listening, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger("modelberth")

Result = dict[str, Any]

LONGEST_MESSAGE = 3500
"""Bytes; kubelet keeps the last 4,096 of a termination message, which would cut the JSON's beginning off."""

_MOST_LOGGED = 1000


def ended(command: str, work: Callable[[], Result], *, as_json: bool = False) -> int:
    """Do *work* and print its result, or what it failed with, as the last line of stdout.

    :param as_json: Whether all that is said is lines of JSON on stdout, each with the key ``event``.
    """
    with listening(as_json=as_json):
        result, code, outcome = _concluded(command, work)
    result = {"command": command, "outcome": outcome, "exit_code": int(code)} | result
    event = {"event": "result"} if as_json else {}
    say(sys.stdout, json.dumps(event | result, ensure_ascii=False) + "\n")
    _leave_message(result)
    return code


def _concluded(command: str, work: Callable[[], Result]) -> tuple[Result, int, str]:
    try:
        return work(), ExitCode.OK, ExitCode.OK.outcome
    except Failure as failure:
        _log(failure.problems)
        return failure.facts | _failed(*failure.problems), failure.code, failure.code.outcome
    except Exception as error:
        # A fault of this program: whoever reads results must be told too, not only whoever reads logs.
        log.exception("The command %s met a fault of this program:", command)
        return _failed(f"A fault of this program: {type(error).__name__}: {error}"), 1, "fault"


def _log(problems: Sequence[str]) -> None:
    for problem in problems[:_MOST_LOGGED]:
        log.error(problem)
    if (more := len(problems) - _MOST_LOGGED) > 0:
        log.error("And %d problems more.", more)


def _failed(*problems: str) -> Result:
    return {"problems": list(problems[:5]), "problem_count": len(problems)}


def _leave_message(result: Result) -> None:
    """Write *result* where kubelet looks for a container's termination message, when there is such a place."""
    path = Path(os.environ.get("MODELBERTH_TERMINATION_LOG", "/dev/termination-log"))
    if path.is_file() and os.access(path, os.W_OK):
        with suppress(OSError):  # a full disk of the node says nothing about the work
            path.write_bytes(shortened(result))


def shortened(result: Result) -> bytes:
    """Return *result* as JSON of at most 3,500 bytes.

    What is too long is cut: texts get shorter, and of lists only texts are kept; ``truncated`` says so.
    """
    data = json.dumps(result, ensure_ascii=False).encode(errors="replace")
    longest = 800
    while len(data) > LONGEST_MESSAGE:
        longest //= 2
        cut = {name: _cut(value, longest) for name, value in result.items()} | {"truncated": True}
        data = json.dumps(cut, ensure_ascii=False).encode(errors="replace")
    return data


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, list):
        return [text[:longest] for text in value if isinstance(text, str)][:5]
    return value[:longest] if isinstance(value, str) else value
