"""refresh_models: new sources are proposed once, a broken one disturbs no other and is seen."""

import socket
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from modelberth.catalog import load
from modelberth.core.refresh import decide
from modelberth.operators.refresh import CompareSourcesOperator, ReportProblemsOperator
from modelberth.receipts import StoreUnreachableError, store
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
    """Runs the comparison, for the first time; returns the runs that it wants."""
    last_look(context, None)
    return lambda: CompareSourcesOperator(task_id="compare").execute(context)


def last_look(context, at):
    """Say when the task last succeeded, as Airflow knows it."""
    before = at and SimpleNamespace(start_date=at)
    context["ti"].get_previous_ti = lambda state: before if state == "success" else None


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
    last_look(context, datetime.now(UTC))
    assert compare() == []
    last_look(context, datetime.now(UTC) - timedelta(days=366))
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


def test_a_paused_model_is_left_alone_even_if_its_source_is_down(compare, catalog, tmp_path, context):
    (another_model(catalog, tmp_path, "other", refresh={"paused": True}) / "model.bin").unlink()
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert context["ti"].xcoms["problems"] == []


def test_a_source_that_is_down_disturbs_no_other_and_is_reported(compare, catalog, tmp_path, context):
    (another_model(catalog, tmp_path, "other") / "model.bin").unlink()
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    (problem,) = context["ti"].xcoms["problems"]
    assert problem.startswith("Model 'other': Directory")


def test_sources_at_a_server_that_hangs_cost_one_wait_and_no_other_model(compare, catalog, context, monkeypatch):
    monkeypatch.setattr("modelberth.sources.web.TIMEOUTS", (0.3, 0.3))
    monkeypatch.setattr("modelberth.core.fair.PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for number in range(100):
            source = {"type": "http", "url": url, "files": [f"{number}.bin"]}
            catalog.write(f"models/hangs-{number}.yaml", catalog.model | {"source": source})
        began = time.monotonic()
        assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert time.monotonic() - began < 20, "one after the other, 100 of them take 4 minutes"
    problems = context["ti"].xcoms["problems"]
    assert len(problems) == 100
    assert sum("does not answer (ReadTimeout)" in one for one in problems) == 100
    assert (
        sum(f"not asked, since {url.removeprefix('http://')} or s3://receipts hangs" in one for one in problems)
        >= 100 - 32
    )


def test_a_forged_ledger_stops_its_model_only(compare, catalog, tmp_path, context, objects):
    another_model(catalog, tmp_path, "other")
    proposed("other")
    (key,) = [key for key in objects if "ledger/other" in key]
    objects[key] = objects[key].replace(b'"proposed"', b'"rejected"')
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert "does not bear the signature" in context["ti"].xcoms["problems"][0]


def test_a_ledger_that_is_down_stops_the_models_in_it_only(compare, catalog, tmp_path, context, monkeypatch, objects):
    another_model(catalog, tmp_path, "other", receipts={"url": "s3://elsewhere", "connection": "modelberth_receipts"})
    there = store._S3Store.keys

    def keys(self, prefix):
        if self._at == "elsewhere/":
            raise StoreUnreachableError("Store failed for s3://elsewhere: EndpointConnectionError.")
        return there(self, prefix)

    monkeypatch.setattr(store._S3Store, "keys", keys)
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert context["ti"].xcoms["problems"] == [
        "Model 'other': Store failed for s3://elsewhere: EndpointConnectionError."
    ]


def test_a_ledger_that_hangs_holds_up_no_model_whose_ledger_is_elsewhere(
    compare, catalog, context, monkeypatch, objects, source
):
    monkeypatch.setattr("modelberth.core.fair.PATIENCE", 0.1)
    there = store._S3Store.keys
    for number in range(100):
        same = {"type": "directory", "path": str(source)}
        receipts = {"url": "s3://elsewhere", "connection": "modelberth_receipts"}
        catalog.write(f"models/a-{number}.yaml", catalog.model | {"source": same, "receipts": receipts})

    def keys(self, prefix):
        if self._at == "elsewhere/":
            time.sleep(0.5)
            raise StoreUnreachableError("Store failed for s3://elsewhere: ReadTimeoutError.")
        return there(self, prefix)

    monkeypatch.setattr(store._S3Store, "keys", keys)
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert len(context["ti"].xcoms["problems"]) == 100


def test_a_fault_of_ours_in_one_kind_of_source_stops_no_other(compare, catalog, tmp_path, context, monkeypatch):
    other = another_model(catalog, tmp_path, "other")
    resolve = Directory.resolve

    def faulty(source):
        return resolve(source) if source.path != other else {}["missing"]

    monkeypatch.setattr(Directory, "resolve", faulty)
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]
    assert context["ti"].xcoms["problems"] == ["Model 'other': KeyError: 'missing'"]


def test_more_than_airflow_can_map_are_proposed_at_several_looks(compare, catalog, tmp_path, context, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    names = {"minilm", *(f"other-{number}" for number in range(4))}
    for name in names - {"minilm"}:
        another_model(catalog, tmp_path, name)
    seen = set()
    for number in range(20):
        context["run_id"] = f"look-{number}"
        with capture_logs() as said:
            wanted = [one["trigger_dag_id"].removeprefix("release_") for one in compare()]
        assert len(wanted) == 2
        assert sum("waits for the next look, since one look proposes no more than 2" in str(line) for line in said) == 3
        seen |= set(wanted)
    assert seen == names


def test_many_ledgers_in_one_place_are_listed_once_and_short(compare, catalog, tmp_path, objects, monkeypatch):
    names = ["minilm", *(f"other-{number}" for number in range(20))]
    for name in names[1:]:
        another_model(catalog, tmp_path, name)
    for name in names:
        model = load().model(name)
        version = str(Directory(model.source.directory).resolve().name)
        for number in range(5):
            for event in ("proposed", "approved", "live"):
                ledger_of(model).record(event, f"2026010{number + 1}t030405z-0123456789", source_version=version)
    asked = []
    for verb in ("keys", "read"):
        was = getattr(store._S3Store, verb)
        monkeypatch.setattr(store._S3Store, verb, lambda *args, was=was, verb=verb: asked.append(verb) or was(*args))
    assert compare() == []
    assert (asked.count("keys"), asked.count("read")) == (1, len(names))


PASTS = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", None]),
        st.sampled_from(
            [
                *("failed", "proposed", "proposed failed", "proposed rejected", "proposed superseded"),
                *("proposed approved", "proposed approved put-back", "proposed approved failed", "observed"),
                *("proposed approved live", "proposed approved live rolled-back", "rollback approved live"),
            ]
        ),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(past=PASTS, hours=st.integers(0, 400))
def test_the_end_of_a_ledger_decides_as_the_whole_does(objects, catalog, past, hours):
    objects.clear()
    book, start = ledger_of(load().model("minilm")), datetime(2026, 1, 1, tzinfo=UTC)
    for number, (said, events) in enumerate(past):
        version = said or (None if events in ("failed", "observed", "rollback approved live") else "B")
        for event in events.split():
            with patch("modelberth.receipts.ledger.now", lambda at=start + timedelta(hours=number): at.isoformat()):
                book.record(event, f"202601{number + 1:02}t030405z-0123456789", source_version=version)
    then = {"answer_within": timedelta(days=7), "now": start + timedelta(hours=hours)}
    end = book.recent(book.paths())
    assert decide(end.entries, "A", earlier=end.earlier, **then) == decide(book.entries(), "A", **then)


def test_a_broken_catalog_file_disturbs_no_other(compare, catalog):
    catalog.write("models/broken.yaml", "source: [")
    assert [one["trigger_dag_id"] for one in compare()] == ["release_minilm"]


def test_what_could_not_be_compared_fails_the_run():
    with pytest.raises(AirflowException, match="- Model 'a': gone\n- Model 'b': gone"):
        ReportProblemsOperator(task_id="report", problems=["Model 'a': gone", "Model 'b': gone"]).execute({})


@pytest.mark.parametrize("problems", [[], None])
def test_without_problems_the_report_is_good(problems):
    ReportProblemsOperator(task_id="report", problems=problems).execute({})
