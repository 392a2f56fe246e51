"""Frozen dataclasses as JSON and back: exactly their fields, exactly their types, nothing more and nothing less.

A field called ``from_`` is ``from`` in JSON; a class with ``parse`` (a structured string) is its string; a tuple is a
list, which is empty only where the field's default is.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_Kind = TypeVar("_Kind")


def dump(value: Any) -> Any:
    """Return *value* in plain JSON types."""
    if hasattr(value, "parse"):
        return str(value)
    if is_dataclass(value):
        return {_key(field.name): dump(getattr(value, field.name)) for field in fields(value)}
    return [dump(one) for one in value] if isinstance(value, tuple) else value


def load(kind: type[_Kind], document: object, where: str) -> _Kind:
    """Return the *kind* that *document* holds.

    :param where: What *document* is, for the error.
    :raises ValueError: A key is missing or unknown, or a value is of another type.
    """
    if not isinstance(document, dict):
        raise ValueError(f"{where} is {document!r}; expected an object.")
    hints = get_type_hints(kind)
    keys = {_key(name): name for name in hints}
    if odd := document.keys() ^ keys.keys():
        raise ValueError(f"{where} has missing or unknown keys: {', '.join(sorted(map(str, odd)))}.")
    values = {name: _value(hints[name], document[key], f"{where}.{key}") for key, name in keys.items()}
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if value == () and defaults[name] != ():
            raise ValueError(f"{where}.{_key(name)} is []; expected at least one.")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return *value* as *hint* wants it.

    hint         | value               | is
    -------------+---------------------+--------------------
    X or None    | null                | None
    X or None    | else                | as for X
    Any          | any                 | itself
    tuple of X   | list                | a tuple, each as X
    has parse    | string              | parsed
    dataclass    | object              | loaded
    dict         | object              | itself
    str, int     | of that very type   | itself: true is no int
    any          | else                | ValueError
    """
    if get_origin(hint) is UnionType:
        [inner] = [one for one in get_args(hint) if one is not NoneType]
        return None if value is None else _value(inner, value, where)
    if hint is Any:
        return value
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_value(get_args(hint)[0], one, where) for one in value)
    if hasattr(hint, "parse") and isinstance(value, str):
        return hint.parse(value)
    if is_dataclass(hint) and isinstance(value, dict):
        return load(hint, value, where)  # type: ignore[arg-type]
    if type(value) is (get_origin(hint) or hint):
        return value
    raise ValueError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}.")


def _key(name: str) -> str:
    return name.removesuffix("_")
