"""The keys below ``confirm``: how a service's pods are asked what they serve, and what answers count."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from modelberth.catalog.pieces import ObjectName, Part, Text

HttpPath = Annotated[str, Text(r"/[!-~]*", "a path that begins with '/', such as /modelz")]


class Smoke(Part):
    """One request whose answer shows that the model works: POST with a body, GET without one.

    What *json_path* leads to in the answer must be something; *equals*, if that is given, within *tolerance* of it.
    """

    path: HttpPath
    body: dict[str, JsonValue] | list[JsonValue] | None = None
    status: Annotated[int, Field(ge=100, le=599)] = 200
    json_path: Annotated[str, Text(r"\w+(\.\w+)*", "keys and indexes joined by '.', such as data.0")] | None = None
    equals: JsonValue = None
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _expectation_is_possible(self) -> Self:
        if self.equals is not None and self.json_path is None:
            raise ValueError("equals needs json_path as well: it says what is compared")
        if self.tolerance is not None and not _are_numbers(self.equals):
            raise ValueError("tolerance needs equals as well, a number or a list of numbers")
        return self


def _are_numbers(value: Any) -> bool:
    """Return whether *value* is a number, or a list of such, however deep."""
    if isinstance(value, list):
        return bool(value) and all(_are_numbers(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


class Probe(Part):
    """Pods that answer only to a key, or over HTTPS: a pod of ours that has the Secret asks them."""

    secret: ObjectName
    scheme: Literal["http", "https"] = "http"


def _one_or_more(value: Any) -> Any:
    """Return *value* as a list: one of it needs no dash."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


REPORTS = {"vllm": "/v1/models", "triton": "/v2/repository/index"}
"""Where servers of a style report, unless ``report`` says something else."""

LARGEST_ORDER = 64 * 1024
"""Bytes: what a probe pod is to ask is one word of its command line, of which Linux takes 128 KiB."""


class Confirm(Part):
    """How much a pod must show before it counts: ``declared``, ``reported`` (asks it), ``behaved`` (uses it as well).

    Each level needs what the one before needs: an answer to a smoke request does not say which revision gave it.
    """

    level: Literal["declared", "reported", "behaved"]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    report: HttpPath | None = None
    style: Literal["path", "vllm", "triton"] = "path"
    """How the report names what is served: its path or revision, or as vLLM's or Triton's does, which have their own
    address for it."""
    smoke: Annotated[list[Smoke], BeforeValidator(_one_or_more, json_schema_input_type=Smoke | list[Smoke] | None)] = (
        Field(default_factory=list)
    )
    probe: Probe | None = None

    @model_validator(mode="before")
    @classmethod
    def _report_of_its_style(cls, given: Any) -> Any:
        known = REPORTS.get(str(given.get("style"))) if isinstance(given, dict) else None
        return {"report": known} | given if known else given

    @model_validator(mode="after")
    def _level_is_possible(self) -> Self:
        needs = {"declared": (), "reported": ("port", "report"), "behaved": ("port", "report", "smoke")}[self.level]
        missing = [key for key in needs if not getattr(self, key)]
        if missing:
            raise ValueError(f"level {self.level!r} needs {' and '.join(missing)} as well")
        if self.probe and self.level == "declared":
            raise ValueError("probe needs level 'reported' or 'behaved': 'declared' asks the pods nothing")
        if self.probe and len(json.dumps([one.body for one in self.smoke])) > LARGEST_ORDER:
            raise ValueError(f"smoke bodies of more than {LARGEST_ORDER} bytes are too large for a probe pod")
        return self
