"""JSON Schemas of the catalog's files, so that an editor completes keys and marks what is wrong while it is typed.

    include/schemas/model.schema.json      for include/models/*.yaml
    include/schemas/service.schema.json    for include/services/*.yaml

What only several keys or files say together, an editor does not know: ``python -m modelberth check`` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelberth.catalog.model import Model
from modelberth.catalog.pieces import PROJECT
from modelberth.catalog.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.catalog.pieces import Part

FOLDER = PROJECT / "include/schemas"

_KINDS: dict[str, type[Part]] = {"model": Model, "service": Service}


def schemas() -> dict[Path, str]:
    """Return the content of each schema's file, by its path."""
    return {FOLDER / f"{name}.schema.json": _text(name, kind) for name, kind in _KINDS.items()}


def outdated() -> list[Path]:
    """Return the files that are missing or not what the catalog's classes say."""
    return [path for path, text in schemas().items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def write() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for path, text in schemas().items():
        path.write_text(text, encoding="utf-8")


def _text(name: str, kind: type[Part]) -> str:
    schema = _without_titles(kind.model_json_schema())
    del schema["properties"]["name"]  # the file's name is the name
    schema["required"].remove("name")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Modelberth: a {name}"}
    return json.dumps(head | schema, indent=2) + "\n"


def _without_titles(part: Any) -> Any:
    """Return *part* without the titles that only repeat a key's name."""
    if isinstance(part, dict):
        return {
            key: _without_titles(value) for key, value in part.items() if key != "title" or not isinstance(value, str)
        }
    return [_without_titles(one) for one in part] if isinstance(part, list) else part
