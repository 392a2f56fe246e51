"""refresh_models: new sources are proposed once, a broken one disturbs no other and is seen."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException
from structlog.testing import capture_logs

from modelberth.catalog import load
from modelberth.operators.refresh import CompareSourcesOperator, ReportProblemsOperator
from modelberth.receipts import ledger as ledger_of
from modelberth.sources.directory import Directory


@pytest.fixture
def paused(monkeypatch):
    """The Dags that are paused; nobody but a running Airflow knows."""
    found = set()
    monkeypatch.setattr("modelberth.operators.refresh.dag_is_paused", found.__contains__)
    return found


@pytest.fixture
def compare(objects, catalog, context, paused):
    """Runs the comparison; returns the runs that it wants."""
    return lambda: CompareSourcesOperator(task_id="compare").execute(context)


def another_model(catalog, tmp_path, name, **more):
    """Add a model with a source of its own."""
    source = tmp_path / name
    source.mkdir()
    (source / "model.bin").write_text(name)
    catalog.write(f"models/{name}.yaml", catalog.model | {"source": {"type": "directory", "path": str(source)}} | more)
    return source


def proposed(name):
    """Do what resolve does when a run was triggered."""
    model = load().model(name)
    version = str(Directory(model.source.directory).resolve().name)
    ledger_of(model).record("proposed", "20260102t030405z-0123456789", source_version=version)


def test_what_is_new_is_wanted_under_a_name_that_its_version_gives(compare, source):
    version = Directory(source).resolve().name
    assert compare() == [
        {
            "trigger_dag_id": "release_minilm",
            "trigger_run_id": f"refresh-{version.short}-1",
            "conf": {"source_version": str(version)},
        }
    ]


def test_a_paused_release_dag_gets_no_runs_and_that_is_said(compare, paused):
    paused.add("release_minilm")
    with capture_logs() as said:
        assert compare() == []
    assert any("Dag release_minilm is paused: resume it" in str(line) for line in said)
    paused.clear()
    assert len(compare()) == 1


def test_a_model_is_not_looked_at_before_its_interval_is_over(compare, catalog, context, source):
    document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    catalog.write("models/minilm.yaml", document | {"refresh": {"every": 365 * 86400}})
    context["prev_start_date_success"] = datetime.now(UTC)
    assert compare() == []
    context["prev_start_date_success"] = None
    assert len(compare()) == 1


def test_twice_at_once_wants_the_same_run(compare):
    assert compare() == compare()


def test_what_was_proposed_is_not_wanted_again(compare):
    proposed("minilm")
    assert compare() == []


def test_a_release_that_failed_without_knowing_its_version_does_not_silence_the_next(compare, monkeypatch):
    first = compare()
    ledger_of(load().model("minilm")).record("failed", "20260102t030405z-0123456789", source_version=None)
    assert compare() == []
    monkeypatch.setattr("modelberth.core.refresh.FIRST_WAIT", timedelta(0))
    assert compare()[0]["trigger_run_id"] == first[0]["trigger_run_id"][:-1] + "2"


def test_a_source_that_moves_on_is_wanted_again(compare, source):
    proposed("minilm")
    (source / "model.onnx").write_bytes(b"more weights")
    assert len(compare()) == 1


def test_a_paused_model_is_left_alone(compare, catalog, tmp_path):
    another_model(catalog, tmp_path, "other", refresh={"paused": True})
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]


def test_a_source_that_is_down_disturbs_no_other_and_is_reported(compare, catalog, tmp_path, context):
    (another_model(catalog, tmp_path, "other") / "model.bin").unlink()
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    (problem,) = context["ti"].xcoms["problems"]
    assert problem.startswith("Model 'other': Directory")


def test_a_forged_ledger_stops_its_model_only(compare, catalog, tmp_path, context, objects):
    another_model(catalog, tmp_path, "other")
    proposed("other")
    (key,) = [key for key in objects if "ledger/other" in key]
    objects[key] = objects[key].replace(b'"proposed"', b'"rejected"')
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert "does not bear the signature" in context["ti"].xcoms["problems"][0]


def test_a_broken_catalog_file_disturbs_no_other(compare, catalog):
    catalog.write("models/broken.yaml", "source: [")
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]


def test_what_could_not_be_compared_fails_the_run():
    with pytest.raises(AirflowException, match="- Model 'a': gone\n- Model 'b': gone"):
        ReportProblemsOperator(task_id="report", problems=["Model 'a': gone", "Model 'b': gone"]).execute({})


@pytest.mark.parametrize("problems", [[], None])
def test_without_problems_the_report_is_good(problems):
    ReportProblemsOperator(task_id="report", problems=problems).execute({})
