"""A YAML document as its values, and the line of each: what a file says, before anybody asks whether that is right.

Whatever the bytes are, they are a document or one error. PyYAML by itself would raise what its conversions raise, walk
aliases of aliases for ever, let a repeated key win silently, and end the process where brackets are nested deep enough.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import yaml

Loc = tuple[int | str, ...]
"""Where in a file: keys and list indexes from the top."""

DEEPEST = 50
"""How deep values may be nested, or merged."""

LARGEST = 1 << 19
"""How many bytes a document may have, and how many values and characters, what an alias repeats counted each time."""

_LONGEST = 100
"""How many characters a number may have: the time to convert it grows with their square."""

_YAML = "tag:yaml.org,2002:"
_IMPLICIT = {f"{_YAML}{name}" for name in ("null", "bool", "int", "float", "merge")}
"""What is meant without quotes. No date: a branch that is called 2024-02-01 is a text like any other."""

_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_CONVERT = {
    f"{_YAML}null": _CONSTRUCTOR.construct_yaml_null,
    f"{_YAML}bool": _CONSTRUCTOR.construct_yaml_bool,
    f"{_YAML}int": _CONSTRUCTOR.construct_yaml_int,
    f"{_YAML}float": _CONSTRUCTOR.construct_yaml_float,
}

_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, ten times as fast, where PyYAML was built with it: all files are read at every parse of the Dags."""


class _Loader(_Fastest):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag in _IMPLICIT]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class UnreadableError(ValueError):
    """The file is not a YAML document of texts, numbers, lists and mappings.

    :param line: Where in the file, from 1, when that is known.
    """

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def dotted(loc: Loc) -> str:
    """Return *loc* as people write it: ``bindings[0].model``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")


def parse(data: bytes) -> tuple[Any, dict[Loc, int]]:
    """Return the one document in *data*, and the line of every key and item in it.

    :raises UnreadableError: There is none, or more than one, or something in it is no value that a file may have.
    """
    try:
        _bound(data)
        node = yaml.compose(data, _Loader)
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, error.position) + 1
        raise UnreadableError(f"cannot be read as YAML: {error.reason}: save it as text in UTF-8", line) from error
    except yaml.MarkedYAMLError as error:
        raise _malformed(data, error) from error
    walk = _Walk()
    return None if node is None else walk.value(node, ()), walk.lines


def _bound(data: bytes) -> None:
    """Refuse what the composer, which calls itself for each level, would not survive."""
    depth = 0
    for event in yaml.parse(data, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise _too_deep(event)


def _malformed(data: bytes, error: yaml.MarkedYAMLError) -> UnreadableError:
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    here = b"".join(data.splitlines()[mark.line : mark.line + 1]) if mark else b""
    hint = ": indent with spaces, not with tabs" if b"\t" in here else ""
    return UnreadableError(f"cannot be read as YAML: {said}{hint}", mark.line + 1 if mark else None)


def _line(part: yaml.Node | yaml.Event) -> int:
    return int(part.start_mark.line) + 1


def _too_deep(part: yaml.Node | yaml.Event) -> UnreadableError:
    return UnreadableError(
        f"values are nested more than {DEEPEST} deep: no key needs that, and an alias may not contain itself",
        _line(part),
    )


class _Walk:
    """Turns nodes into values, and notes their *lines*; counts, since few aliases may repeat very much."""

    def __init__(self) -> None:
        self.lines: dict[Loc, int] = {}
        self._left = LARGEST

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        """Return what *node*, which is at *loc*, stands for."""
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_YAML}map":
            pairs = self._pairs(node, loc)
            return {name: self._noted(key, value, (*loc, name)) for name, (key, value) in pairs.items()}
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_YAML}seq":
            self._count(node, len(loc))
            return [self._noted(value, value, (*loc, index)) for index, value in enumerate(node.value)]
        self._count(node, len(loc))
        return _scalar(node)

    def _noted(self, at: yaml.Node, node: yaml.Node, loc: Loc) -> Any:
        self.lines[loc] = _line(at)
        return self.value(node, loc)

    def _pairs(self, node: yaml.Node, loc: Loc, merges: int = 0) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the keys and values of a mapping: its own, then those that it merges, the first of a name."""
        if not isinstance(node, yaml.MappingNode):
            raise UnreadableError("<< merges a mapping, or a list of them, and this is none", _line(node))
        self._count(node, len(loc) + merges)
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            self._count(key, len(loc) + merges)
            if (name := _key(key)) in own:
                raise UnreadableError(f"the key {dotted((*loc, name))!r} is repeated", _line(key))
            own[name] = (key, value)
        for part in _merged(own):
            for name, pair in self._pairs(part, loc, merges + 1).items():
                own.setdefault(name, pair)
        return own

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._left -= 1 + len(node.value)
        if depth > DEEPEST:
            raise _too_deep(node)
        if self._left < 0:
            text = f"holds more than {LARGEST} values and characters, those that aliases repeat among them"
            raise UnreadableError(text, _line(node))


def _key(node: yaml.Node) -> str:
    if node.tag not in (f"{_YAML}str", f"{_YAML}merge") or not isinstance(node, yaml.ScalarNode):
        said = repr(node.value) if isinstance(node, yaml.ScalarNode) else f"a {node.id}"
        raise UnreadableError(f"a key is a text, and {said} is none: put it in quotes", _line(node))
    return str(node.value)


def _merged(pairs: dict[str, tuple[yaml.Node, yaml.Node]]) -> list[yaml.Node]:
    """Take the mappings that a mapping merges out of its *pairs*, and return them."""
    if "<<" not in pairs:
        return []
    _, value = pairs.pop("<<")
    return value.value if isinstance(value, yaml.SequenceNode) else [value]


def _scalar(node: yaml.Node) -> Any:
    """Return the text, number, truth or nothing that *node* is."""
    kind = node.tag.removeprefix(_YAML)
    if not isinstance(node, yaml.ScalarNode) or (kind != "str" and node.tag not in _CONVERT):
        raise UnreadableError(f"{kind} has no place here: write a text, a number, a list or a mapping", _line(node))
    try:
        return node.value if kind == "str" else _converted(node)
    except (ValueError, LookupError, ArithmeticError) as error:
        got = repr(node.value[:_LONGEST])
        raise UnreadableError(f"{got} is no {kind} that can be used: in quotes it is a text", _line(node)) from error


def _converted(node: yaml.ScalarNode) -> bool | float | None:
    """Return what PyYAML takes *node* for; it converts without a look whether the text is fit."""
    if len(node.value) > _LONGEST:
        raise ValueError("too long")
    value: bool | float | None = _CONVERT[node.tag](node)
    if (isinstance(value, int) and value.bit_length() > 63) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("too large for JSON")
    return value
