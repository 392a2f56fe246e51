"""A look at the whole catalog: one row for what is well, one for each problem."""

import pytest
from airflow.sdk.exceptions import AirflowFailException

from modelberth.catalog import load
from modelberth.operators import survey
from modelberth.operators.resolve import Finding
from modelberth.operators.survey import Row, SurveyCatalogOperator, table


@pytest.fixture
def found(monkeypatch):
    """What a look at model minilm finds."""
    findings = {"source": [], "bucket": [], "with": [], "embedder": []}
    monkeypatch.setattr(survey, "look", lambda catalog, model, release_id: (None, findings))
    return findings


def test_what_is_well_is_said_of_each_part(catalog, found):
    assert survey.survey(load()) == [Row("minilm", part) for part in ("source", "bucket", "embedder")]
    assert SurveyCatalogOperator(task_id="check").execute({}) == {"models": 1}


def test_every_problem_has_its_row_and_the_task_fails_with_all(catalog, found):
    found["bucket"].append(Finding("The bucket is gone."))
    found["embedder"] += [Finding("No claim."), Finding("No right to patch.", passing=True)]
    catalog.write("models/broken.yaml", "bucket: 7")
    with pytest.raises(AirflowFailException) as raised:
        SurveyCatalogOperator(task_id="check").execute({})
    said = str(raised.value)
    for text in (
        "minilm, bucket: The bucket is gone.",
        "embedder: No claim.",
        "No right to patch.",
        "broken, catalog:",
    ):
        assert text in said


def test_only_what_is_named_is_looked_at(catalog, found):
    catalog.write("models/broken.yaml", "bucket: 7")
    assert {row.name for row in survey.survey(load(), ["minilm"])} == {"minilm"}
    (row,) = survey.survey(load(), ["minilmm"])
    assert "There is no models/minilmm.yaml" in row.problem


def test_the_table_is_aligned():
    assert table([Row("a-long-name", "source"), Row("b", "a-service", "It is gone.")]).splitlines() == [
        "MODEL        WHAT       STATE",
        "a-long-name  source     well",
        "b            a-service  It is gone.",
    ]
