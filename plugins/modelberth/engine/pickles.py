"""What a pickle imports when it is loaded; it is followed, not loaded, in little memory however large it is.

A pickle is a program for a machine with a stack and a memo, and importing is all that it can do to what is outside
that machine. So only the strings are followed, which imports are named by. Where this machine gives up an unpickler
does as well, or it is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from modelberth.engine.opcodes import NO_TEXT, OPCODES, STRINGS, BrokenError, Opcode, TooLargeError, opcodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNKNOWN = "unknown"
"""For a name that is made while loading: picklescan's own word, and dangerous to it."""

_MOST_ON_STACK = 200_000
_MOST_NAMES = 100_000
_MOST_IMPORTS = 1_000
"""Of names of 150 bytes these are some 50 MiB: verify's pod has 256."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """What was found.

    :param imports: Module and name of each import, in order.
    :param whole: How many pickles came to their end; several may follow each other.
    :param too_large: There is more than is followed.
    """

    imports: list[tuple[str, str]]
    whole: int
    too_large: bool


def follow(stream: BinaryIO, size: int) -> Pickled:
    """Return what the pickles do that follow each other in *stream*, up to where an unpickler ends.

    :param size: Where *stream* ends.
    """
    whole, imports = 0, {}  # type: int, dict[tuple[str, str], None]
    program = opcodes(stream, size)
    try:
        while True:
            _Machine(imports).run(program)
            whole += 1
    except BrokenError:
        return Pickled(list(imports), whole, too_large=False)
    except TooLargeError:
        return Pickled(list(imports), whole, too_large=True)


@dataclass(slots=True)
class _Machine:
    """An unpickler of which only strings are known: None is on the stack for what may be any."""

    imports: dict[tuple[str, str], None]
    stack: list[str | None] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, str] = field(default_factory=dict)
    puts: int = 0
    memoized: int = 0

    def run(self, program: Iterator[tuple[Opcode, Any]]) -> None:
        """Follow one pickle to its end."""
        for opcode, value in program:
            if action := _ACTIONS.get(opcode.name):
                action(self, value)
            else:
                self._take(opcode)
                self.stack += (value,) if opcode.name in STRINGS else opcode.leaves
            if opcode.name == "STOP":
                return
            if len(self.stack) + len(self.marks) > _MOST_ON_STACK:
                raise TooLargeError

    def _take(self, opcode: Opcode) -> None:
        if opcode.to_mark:
            if not self.marks:
                raise BrokenError
            del self.stack[self.marks.pop() :]
        if opcode.takes or opcode.changes:
            self._need(opcode.takes + opcode.changes)
            del self.stack[len(self.stack) - opcode.takes :]

    def _need(self, count: int) -> None:
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise BrokenError

    def pop(self, _: object) -> None:
        """POP, which takes a mark where one is on top."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._need(1)
            self.stack.pop()

    def duplicate(self, _: object) -> None:
        """DUP."""
        self._need(1)
        self.stack.append(self.stack[-1])

    def get(self, key: int) -> None:
        """GET: what was put there, if that is sure."""
        if not self.puts and not self.memoized:
            raise BrokenError
        self.stack.append(None if self.puts and self.memoized else self.memo.get(key))

    def put(self, key: int) -> None:
        """PUT."""
        self.puts += 1
        self._keep(key)

    def memoize(self, _: object) -> None:
        """MEMOIZE: the number follows from how many are there, which is not known if there are others (:meth:`get`)."""
        self._keep(self.memoized)
        self.memoized += 1

    def _keep(self, key: int) -> None:
        self._need(1)
        value = self.stack[-1]
        if value is None or value is NO_TEXT or len(self.memo) >= _MOST_NAMES:
            self.memo.pop(key, None)
        else:
            self.memo[key] = value

    def mark(self, _: object) -> None:
        """MARK."""
        self.marks.append(len(self.stack))

    def bring(self, names: tuple[str, str]) -> None:
        """GLOBAL."""
        self._imported(*names)
        self.stack.append(None)

    def make(self, names: tuple[str, str]) -> None:
        """INST: an import, and a call with all down to the last mark, which is looked for after that."""
        self._imported(*names)
        self._take(OPCODES[b"i"])
        self.stack.append(None)

    def bring_from_stack(self, _: object) -> None:
        """STACK_GLOBAL."""
        self._need(2)
        name, module = self.stack.pop(), self.stack.pop()
        if module is NO_TEXT or name is NO_TEXT:
            raise BrokenError
        self.bring((module or UNKNOWN, name or UNKNOWN))

    def _imported(self, module: str, name: str) -> None:
        self.imports[module, name] = None
        if len(self.imports) > _MOST_IMPORTS:
            raise TooLargeError


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "DUP": _Machine.duplicate,
    "MEMOIZE": _Machine.memoize,
    "GLOBAL": _Machine.bring,
    "INST": _Machine.make,
    "STACK_GLOBAL": _Machine.bring_from_stack,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
}
