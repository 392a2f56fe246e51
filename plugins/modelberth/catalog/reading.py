"""One catalog file to one object, or to everything that is wrong with it, each with its line.

include/models/minilm.yaml line 6: bucket.url: expected s3://bucket/prefix or ...; got 'ftp://modelberth'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

Loc = tuple[int | str, ...]
"""Where in a file: keys and list indexes from the top."""

_Kind = TypeVar("_Kind", bound=BaseModel)


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, ten times as fast, where PyYAML was built with it: all files are read at every parse of the Dags."""

_SECRET = re.compile(r"://[^/@\s]+@")
"""A user and password in an address: they have no place here, and none in what is said of them."""


class _UnreadableError(ValueError):
    """The file is not a YAML mapping of our kind at all."""


def read(
    path: Path, kind: type[_Kind], check: Callable[[_Kind], list[tuple[Loc, str]]]
) -> tuple[_Kind | None, list[str]]:
    """Return the *kind* that is in the file at *path*, or None and its problems, each a whole line.

    :param check: What can only be known from other files; asked about what is valid by itself.
    """
    lines: dict[Loc, int] = {}
    thing = None
    try:
        document = _mapping(path, lines)
        thing = kind.model_validate({**document, "name": path.stem})
        problems = check(thing)
    except _UnreadableError as error:
        problems = [((), str(error))]
    except ValidationError as error:
        problems = [_problem(kind, one) for one in error.errors()]
    file = "/".join(path.parts[-3:])
    return (None if problems else thing), [_said(file, lines, loc, text) for loc, text in problems]


def _mapping(path: Path, lines: dict[Loc, int]) -> dict[str, Any]:
    """Return the mapping in *path*, and in *lines* where each key of it is.

    :raises _UnreadableError: It cannot be read, is not one YAML mapping, repeats a key, or names itself.
    """
    if path.suffix == ".yml":
        raise _UnreadableError(_misnamed(path))
    try:
        node, document = _parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _UnreadableError(f"cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise _UnreadableError(f"expected a mapping of keys to values, got {type(document).__name__}")
    _note_lines(node, (), lines)
    if "name" in document:
        raise _UnreadableError("the key 'name' has no place here: the file's name is the name")
    return document


def _misnamed(path: Path) -> str:
    if path.with_suffix(".yaml").exists():
        return f"not read: {path.stem}.yaml is there as well: keep one file of a name"
    return f"not read: rename it to {path.stem}.yaml"


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the one YAML document in *text* as nodes, which know their lines, and as values."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node | None, loc: Loc, lines: dict[Loc, int]) -> None:
    """Note the line of all that is below *node*; YAML itself would let a repeated key win silently."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*loc, key.value)
            if below in lines:
                raise _UnreadableError(f"line {key.start_mark.line + 1}: the key {_dotted(below)!r} is repeated")
            lines[below] = key.start_mark.line + 1
            _note_lines(value, below, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*loc, index)] = value.start_mark.line + 1
            _note_lines(value, (*loc, index), lines)


def _problem(kind: type[BaseModel], error: ErrorDetails) -> tuple[Loc, str]:
    """Return where something is wrong, and what. Of a choice by ``type``, pydantic also names the type on the way."""
    loc = _in_file(kind, error["loc"])
    if error["type"] == "union_tag_not_found":
        return loc, f"the key 'type' is missing; expected one of: {_types(kind, error)}"
    if error["type"] == "union_tag_invalid":
        return (*loc, "type"), f"expected one of: {_types(kind, error)}; got {error['ctx']['tag']!r}"
    return loc, _sentence(kind, error)


def _types(kind: type[BaseModel], error: ErrorDetails) -> str:
    return ", ".join(_type_of(part) for part in _choices(kind, error["loc"]))


def _sentence(kind: type[BaseModel], error: ErrorDetails) -> str:
    """Return what is wrong with one value, what would be right, and what it is."""
    *above, key = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        return f"unknown key {str(key)!r}; expected one of: {', '.join(_keys(kind, above))}"
    if error["type"] == "missing":
        return f"the key {str(key)!r} is missing"
    text = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    if error["type"] in ("model_type", "model_attributes_type"):
        text = f"expected a mapping with the keys {', '.join(_keys(kind, list(error['loc'])))}"
    return text if isinstance(error["input"], dict) else f"{text}; got {_SECRET.sub('://***@', repr(error['input']))}"


def _keys(kind: type[BaseModel], above: list[int | str]) -> list[str]:
    """Return the keys that the part at *above* may have; a file's own name is not one of them."""
    found = dict.fromkeys(key for part in _choices(kind, above) for key in part.model_fields)
    return [key for key in found if above or key != "name"]


def _choices(kind: type[BaseModel], loc: Sequence[int | str]) -> list[type[BaseModel]]:
    """Return what the part at *loc* may be: several where its ``type`` chooses, and is not named on the way."""
    parts = [kind]
    for step in loc:
        if isinstance(step, str):
            fields = [part.model_fields[step] for part in parts if step in part.model_fields]
            parts = _named(parts, step) or [found for field in fields for found in _parts(field.annotation)]
    return parts


def _in_file(kind: type[BaseModel], loc: Loc) -> Loc:
    """Return *loc* without the types that choose a part: a file has no such key."""
    return tuple(step for index, step in enumerate(loc) if not _named(_choices(kind, loc[:index]), step))


def _named(choices: list[type[BaseModel]], step: int | str) -> list[type[BaseModel]]:
    """Return which of several parts *step* chooses."""
    return [part for part in choices if _type_of(part) == step] if len(choices) > 1 else []


def _type_of(part: type[BaseModel]) -> str:
    """Return the one value that a part's ``type`` may have; empty when it has no such key."""
    return str(get_args(part.model_fields["type"].annotation)[0]) if "type" in part.model_fields else ""


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _said(file: str, lines: dict[Loc, int], loc: Loc, text: str) -> str:
    """Return one problem as a line; what is missing has the line of the part that should hold it."""
    near = next((lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in lines), None)
    where = f"{file} line {near}" if near else file
    return f"{where}: {_dotted(loc)}: {text}" if loc else f"{where}: {text}"


def _dotted(loc: Loc) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc).lstrip(".")
