"""The whole catalog, looked at as releases would: what would stop each of its models, before anybody starts one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import load
from modelberth.operators.resolve import look
from modelberth.operators.staging import look as look_staged
from modelberth.operators.staging import named_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.sdk import Context

    from modelberth.catalog import Catalog, Service

AT_ONCE = 8
"""Models; each asks its source, its buckets and its clusters at the same time."""

NO_RELEASE = "19700101t000000z-0000000000"
"""The release under whose name the receipts are asked: there is none like it."""

WELL = "well"


@dataclass(frozen=True, slots=True)
class Row:
    """What one model's part of the world is like.

    :param what: ``catalog``, ``source``, ``bucket``, ``receipts``, ``registry``, or the name of a service.
    :param problem: A whole sentence; empty when it is well.
    """

    name: str
    what: str
    problem: str = ""


def survey(catalog: Catalog, names: Iterable[str] = ()) -> list[Row]:
    """Return one row a problem, and one for each thing that has none; nothing is changed.

    :param names: Models, services with a registry, and files of the catalog; all when empty.
    """
    staged = [name for name, service in catalog.services.items() if service.stage]
    wanted = list(names) or sorted({*catalog.models, *catalog.problems, *staged})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [row for rows in pool.map(lambda name: _rows(catalog, name), wanted) for row in rows]


def _rows(catalog: Catalog, name: str) -> list[Row]:
    broken = [Row(name, "catalog", problem) for problem in catalog.problems.get(name, ())]
    if name in catalog.services and catalog.services[name].stage:
        broken += _registry(catalog, catalog.services[name])
    if name not in catalog.models:
        return broken or [Row(name, "catalog", f"There is no models/{name}.yaml in {catalog.root}.")]
    _, findings = look(catalog, catalog.model(name), NO_RELEASE)
    said = {what: [one.text for one in some] for what, some in findings.items() if what != "with"}
    return broken + [Row(name, what, problem) for what, some in said.items() for problem in some or [""]]


def _registry(catalog: Catalog, service: Service) -> list[Row]:
    """Return what is wrong with the registries of *service*, and with what each of them names."""
    found, problems = named_by(catalog, service)
    seen = look_staged(catalog, service, found, ())
    said = [*problems, *(f"{one.named}: {one.line.why}" for one in seen if one.line.why)]
    return [Row(service.name, "registry", problem) for problem in said or [""]]


def table(rows: Sequence[Row]) -> str:
    """Return *rows* as a person reads them: aligned, what is well in one word."""
    head = Row("MODEL", "WHAT", "")
    wide = [max(len(getattr(row, key)) for row in (head, *rows)) for key in ("name", "what")]
    lines = [f"{row.name:{wide[0]}}  {row.what:{wide[1]}}  {row.problem or WELL}" for row in rows]
    return "\n".join([f"{head.name:{wide[0]}}  {head.what:{wide[1]}}  STATE", *lines])


class SurveyCatalogOperator(BaseOperator):
    """
    Look at all that the catalog names: sources, buckets, receipts, connections, claims, rights, workloads.

    The table is in the log; the task fails when something would stop a release.
    """

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """Look, and say how many problems there are."""
        rows = survey(load())
        for line in table(rows).splitlines():
            self.log.info("%s", line)
        problems = [row for row in rows if row.problem]
        if problems:
            said = "\n- ".join(f"{row.name}, {row.what}: {row.problem}" for row in problems)
            raise AirflowFailException(f"{len(problems)} to put right:\n- {said}")
        return {"models": len({row.name for row in rows})}
