"""How a command of the engine ends: its exit codes, and the one error that carries one."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What the caller decides by: 10-19 may succeed when run again, 20-29 never will.

    2 is argparse's own for a wrong command line; 1, 2, 137 and 143 count as *run again* for the operators.
    """

    OK = 0
    INTERRUPTED = 10  # SIGTERM or SIGINT: what arrived is kept
    INCOMPLETE = 11  # the bucket does not (yet) hold everything that it should
    BUSY = 12  # another writer holds the model's lock
    STALLED = 13  # less than the least progress for too long
    UNREACHABLE = 14  # store or network gives no usable answer
    MISMATCH = 20  # bytes are not those that the manifest names
    REFUSED = 21  # manifest, location, path or argument that is not accepted
    NO_SPACE = 22
    NOT_FOUND = 23
    FOREIGN = 24  # a directory that is not ours: never served, written into or replaced
    DENIED = 25  # credentials missing, wrong or without the right
    UNSUPPORTED = 26  # the file system or the store lacks what correctness rests on
    CHANGED = 27  # the source changed while it was read

    @property
    def outcome(self) -> str:
        """The name in results and logs: ``no-space`` for ``NO_SPACE``."""
        return self.name.lower().replace("_", "-")

    @property
    def worth_retrying(self) -> bool:
        """Whether the same command may succeed later without anybody changing anything."""
        return 10 <= self <= 19


class Failure(Exception):  # noqa: N818 - the noun that messages and callers use
    """Something could not be done.

    :param code: What the program ends with.
    :param problems: All that was found wrong, each a whole sentence or several.

    ``facts`` is what the result says besides.
    """

    def __init__(self, code: ExitCode, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.code = code
        self.problems = problems
        self.facts: dict[str, Any] = {}
