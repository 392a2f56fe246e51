"""REFRESH: a look at all sources; PARSE: the catalog to Dags; and what each further model costs."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import many
from contest import Contender, measured, tell
from data import MIB
from table import Line, seconds

from bench import Bench, Figure

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = Path(__file__).parents[1]
COUNTS = (100, 300, 1000)
ROUNDS = 3


def look(bench: Bench) -> list[Line]:
    """Measure looks at models of which nothing is new, on real servers: every source is asked and every ledger read."""
    with many.places(bench.disk / "places") as (puts, env):
        sources = many.put(puts, bench.count(COUNTS[-1]))
        took = {}
        for count in map(bench.count, COUNTS):
            catalog = many.written(bench.disk / f"catalog-{count}", dict(list(sources.items())[:count]))
            run = _program(bench, env, catalog)
            if count == bench.count(COUNTS[0]):
                tell("ledgers of the last three releases of each model")
            measured(run("seed.py"))
            took[count] = _median(bench, run("look.py"), {"proposed": 0, "problems": []})
    return _lines("REFRESH", "a look at 1,000 models", took, 15)


def parse(bench: Bench) -> list[Line]:
    """Measure what the Dag processor does with as many models, each with a service; what is imported is not counted."""
    source = {"type": "directory", "path": "nowhere"}
    one = many.written(bench.disk / "catalog-one", {"model": source})
    took = {}
    for count in map(bench.count, COUNTS):
        named = {f"model-{number:04}": source for number in range(count)}
        run = _program(bench, {}, many.written(bench.disk / f"catalog-{count}", named))
        took[count] = _median(bench, run("parse.py", one), {"dags": count, "errors": {}})
    return _lines("PARSE", "parse of 1,000 models and 1,000 services", took, 5)


def _program(bench: Bench, env: Mapping[str, str], catalog: Path):
    """Return what makes a contender of one of this folder's programs."""
    more = {"MODELBERTH_CATALOG": str(catalog), "AIRFLOW_HOME": str(bench.disk / "airflow"),
            "PYTHONPATH": str(many.PROJECT / "plugins"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}  # fmt: skip
    return lambda name, *words: Contender(name, (sys.executable, HOME / name, *map(str, words)), more | dict(env))


def _median(bench: Bench, contender: Contender, expected: Mapping[str, object]) -> float:
    """Return the seconds that the program says it took.

    :raises RuntimeError: It found something else than is *expected*.
    """
    results = [measured(contender).result for _ in range(min(bench.rounds, ROUNDS))]
    for found in results:
        if wrong := {key: found[key] for key, value in expected.items() if found[key] != value}:
            raise RuntimeError(f"{contender.name} should have found {expected}, but found {str(wrong)[:500]}.")
    tell(f"{contender.name}: {', '.join(seconds(found['seconds']) for found in results)}")
    return median(found["seconds"] for found in results)


def _lines(figure: str, what: str, took: Mapping[int, float], goal: float) -> list[Line]:
    """Return the goal's line and the slope's; the slope of what is not linear grows."""
    (few, short), (some, middle), (most, longest) = took.items()
    slopes = [1000 * (middle - short) / (some - few), 1000 * (longest - middle) / (most - some)]
    others = ", ".join(f"{count}: {seconds(value)}" for count, value in took.items())
    sloping = f"{slopes[0]:.1f} ms up to {some}, {slopes[1]:.1f} ms up to {most}"
    return [
        Line(figure, what, seconds(longest), "", longest, goal, unit=" s"),
        Line(figure, f"each further model ({others})", sloping, "", slopes[1], None, unit=" ms"),
    ]


LOOK = Figure("REFRESH", "a look at the sources of 1,000 models", look, shared=0, disk=512 * MIB)
PARSE = Figure("PARSE", "the Dag files of 1,000 models", parse, shared=0, disk=64 * MIB)
