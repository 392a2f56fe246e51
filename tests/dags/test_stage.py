"""stage_<service> as the Dag processor reads it."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import TriggerRule

PROJECT = Path(__file__).parents[2]
STAGE = {
    "registry": {"type": "mlflow", "connection": "mlflow"},
    "bucket": {"url": "s3://models/registry", "connection": "modelberth_s3"},
    "receipts": {"url": "s3://evidence/receipts", "connection": "modelberth_receipts"},
    "every": 900,
}


@pytest.fixture
def staged(tmp_path, monkeypatch):
    """Parses the Dag file with services that differ from the project's own as given, and a registry each."""
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    root = tmp_path / "include"
    for folder in ("models", "services"):
        shutil.copytree(PROJECT / "include" / folder, root / folder)
    monkeypatch.setenv("MODELBERTH_CATALOG", str(root))
    ours = yaml.safe_load((root / "services/embedder.yaml").read_text())

    def parse(**services):
        for name, changes in services.items():
            document = ours | {"workload": {"kind": "Deployment", "name": name}, "stage": STAGE} | changes
            (root / f"services/{name}.yaml").write_text(yaml.safe_dump(document))
        bag = DagBag(dag_folder=str(PROJECT / "dags/stage.py"))
        assert bag.import_errors == {}
        return bag.dags

    return parse


def upstream(dag):
    return {task.task_id: task.upstream_task_ids for task in dag.tasks}


def test_a_service_without_a_registry_has_no_stage_dag(staged):
    assert staged() == {}


def test_a_service_with_a_registry_is_staged_for_on_an_interval_and_by_hand_once_at_a_time(staged):
    stage = staged(chat={})["stage_chat"]
    assert stage.schedule == timedelta(seconds=900)
    assert (stage.catchup, stage.max_active_runs, stage.is_paused_upon_creation) == (False, 1, False)
    assert {"modelberth", "stage", "service:chat"} <= set(stage.tags)
    assert "`serving/models`" in stage.doc_md


def test_a_stage_run_lists_brings_each_version_and_reports_whatever_came_of_it(staged):
    stage = staged(chat={})["stage_chat"]
    assert upstream(stage) == {
        "list": set(),
        "version.fetch": {"list"},
        "version.sync": {"list", "version.fetch"},
        "version.verify": {"list", "version.sync"},
        "report": {"list", "version.verify"},
    }
    rules = {task.task_id: task.trigger_rule for task in stage.tasks}
    assert rules.pop("report") == TriggerRule.ALL_DONE
    assert set(rules.values()) == {TriggerRule.ALL_SUCCESS}
    assert all(task.retries >= 2 for task in stage.tasks)


def test_pods_on_one_claim_share_one_pool_whatever_service_they_are_for(staged):
    found = staged(chat={}, search={}, far={"claim": "other"})
    pools = {
        name: {task.pool for task in dag.tasks if task.task_id.startswith("version.")} for name, dag in found.items()
    }
    assert pools["stage_chat"] == pools["stage_search"] == {"claim_modelberth_kubernetes_serving_models"}
    assert pools["stage_far"] == {"claim_modelberth_kubernetes_serving_other"}
    assert {task.pool for task in found["stage_chat"].tasks} - pools["stage_chat"] == {"default_pool"}


def test_a_version_that_is_half_there_comes_before_the_next(staged):
    assert {task.weight_rule for task in staged(chat={})["stage_chat"].tasks} == {"upstream"}


def test_one_broken_service_disturbs_no_other(staged):
    assert set(staged(chat={}, broken={"stage": {**STAGE, "registry": {"type": "ftp"}}})) == {"stage_chat"}
