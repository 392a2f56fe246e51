"""One catalog file to one object, or to everything that is wrong with it, each with its line.

include/models/minilm.yaml line 6: bucket.url: expected s3://bucket/prefix or ...; got 'ftp://modelberth'
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from modelberth.catalog.document import LARGEST, UnreadableError, dotted, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from modelberth.catalog.document import Loc

_Kind = TypeVar("_Kind", bound=BaseModel)

_SECRET = re.compile(r"://[^/@\s]+@")
"""A user and password in an address: they have no place here, and none in what is said of them."""

_SHOWN = 200
"""How many characters of a wrong value are shown."""


def read(
    path: Path, kind: type[_Kind], check: Callable[[_Kind], list[tuple[Loc, str]]]
) -> tuple[_Kind | None, list[str]]:
    """Return the *kind* that is in the file at *path*, or None and its problems, each a whole line.

    :param check: What can only be known from other files; asked about what is valid by itself.
    """
    thing, said = _read(path, kind, check)
    return thing, [line.encode(errors="replace").decode() for line in said]  # a file's name may be any bytes


def _read(
    path: Path, kind: type[_Kind], check: Callable[[_Kind], list[tuple[Loc, str]]]
) -> tuple[_Kind | None, list[str]]:
    file = "/".join(path.parts[-3:])
    lines: dict[Loc, int] = {}
    try:
        document, lines = _mapping(path)
        thing = kind.model_validate({**document, "name": path.stem})
        problems = check(thing)
    except UnreadableError as error:
        return None, [f"{_at(file, error.line)}: {error}"]
    except ValidationError as error:
        return None, [_said(file, lines, *_problem(kind, one)) for one in error.errors()]
    return (None if problems else thing), [_said(file, lines, loc, text) for loc, text in problems]


def _mapping(path: Path) -> tuple[dict[str, Any], dict[Loc, int]]:
    """Return the mapping in *path*, and where each key of it is.

    :raises UnreadableError: It cannot be read, is not one YAML mapping, repeats a key, or names itself.
    """
    if path.suffix == ".yml":
        raise UnreadableError(_misnamed(path))
    document, lines = parse(_bytes(path))
    if not isinstance(document, dict):
        got = "nothing" if document is None else type(document).__name__
        raise UnreadableError(f"expected a mapping of keys to values, got {got}")
    if "name" in document:
        raise UnreadableError("the key 'name' has no place here: the file's name is the name", lines[("name",)])
    return document, lines


def _bytes(path: Path) -> bytes:
    """Return what is in the file at *path*; a pipe would keep whoever opens it waiting."""
    try:
        if not path.is_file():
            raise UnreadableError("expected a file, and this is none: take it away")
        if path.stat().st_size > LARGEST:
            raise UnreadableError(f"is larger than {LARGEST} bytes: is it a catalog file?")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}: Airflow's own user must be able to") from error


def _misnamed(path: Path) -> str:
    if path.with_suffix(".yaml").exists():
        return f"not read: {path.stem}.yaml is there as well: keep one file of a name"
    return f"not read: rename it to {path.stem}.yaml"


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
    return text if isinstance(error["input"], dict) else f"{text}; got {_shown(error['input'])}"


def _shown(value: Any) -> str:
    text = _SECRET.sub("://***@", repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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


def _said(file: str, lines: Mapping[Loc, int], loc: Loc, text: str) -> str:
    """Return one problem as a line; what is missing has the line of the part that should hold it."""
    near = next((lines[loc[:end]] for end in range(len(loc), 0, -1) if loc[:end] in lines), None)
    return f"{_at(file, near)}: {dotted(loc)}: {text}" if loc else f"{_at(file, near)}: {text}"


def _at(file: str, line: int | None) -> str:
    return f"{file} line {line}" if line else file
