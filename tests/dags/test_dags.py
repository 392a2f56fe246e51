"""The Dags as the Dag processor reads them: no metadata database, no cluster, no bucket."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.sdk import TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

PROJECT = Path(__file__).parents[2]
STEPS = (
    *("bucket.resolve", "bucket.upload", "claim.embedder.sync", "claim.embedder.verify", "gate.plan", "gate.approve"),
    *("serving.embedder.check", "serving.embedder.rollout", "record", "settle"),
)


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """A copy of the project's catalog, to be changed."""
    root = tmp_path / "include"
    for folder in ("models", "services"):
        shutil.copytree(PROJECT / "include" / folder, root / folder)
    monkeypatch.setenv("MODELBERTH_CATALOG", str(root))
    return root


@pytest.fixture
def dags(catalog, monkeypatch):
    """Parses the Dag files; returns the Dags by id."""
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

    def parse():
        bag = DagBag(dag_folder=str(PROJECT / "dags"))
        assert bag.import_errors == {}
        return bag.dags

    return parse


def add_service(catalog, name, **changes):
    service = yaml.safe_load((catalog / "services/embedder.yaml").read_text())
    (catalog / f"services/{name}.yaml").write_text(yaml.safe_dump(service | changes))


def upstream(dag):
    return {task.task_id: task.upstream_task_ids for task in dag.tasks}


def test_every_dag_parses(dags):
    assert set(dags()) >= {"release_minilm", "refresh_models", "rollback_model", "audit_snapshots", "prune_claims"}


def test_a_release_is_one_chain_of_fixed_steps(dags):
    release = dags()["release_minilm"]
    assert tuple(task.task_id for task in release.topological_sort()) == STEPS
    expected = {step: {before} for before, step in pairwise(STEPS)}
    assert upstream(release) == {STEPS[0]: set(), **expected}


def test_a_release_runs_only_when_asked_and_several_at_once(dags):
    release = dags()["release_minilm"]
    assert release.schedule is None
    assert release.catchup is False
    assert release.max_active_runs > 1
    assert release.is_paused_upon_creation is False
    assert {"modelberth", "release", "service:embedder"} <= set(release.tags)


def test_the_on_call_person_is_told_what_a_release_does(dags):
    doc = dags()["release_minilm"].doc_md
    assert "**minilm**" in doc
    assert "**embedder**" in doc
    for step in STEPS:
        assert f"`{step.rpartition('.')[2]}`" in doc


def test_nothing_goes_live_past_a_failed_step_and_settle_always_runs(dags):
    rules = {task.task_id: task.trigger_rule for task in dags()["release_minilm"].tasks}
    assert rules.pop("settle") == TriggerRule.ALL_DONE_SETUP_SUCCESS  # without a setup: whatever came before
    assert set(rules.values()) == {TriggerRule.ALL_SUCCESS}


def test_only_settle_outlives_a_run_that_a_person_marks_and_it_alone_decides_the_runs_colour(dags):
    """Airflow skips what is pending of a marked run but teardowns, and judges by what its own rule says is a leaf."""
    release = DagSerialization.from_dict(DagSerialization.to_dict(dags()["release_minilm"]))
    assert [task.task_id for task in release.tasks if task.is_teardown] == ["settle"]
    tasks = [Mock(task_id=step, state="success") for step in STEPS]
    judged = DagRun._tis_for_dagrun_state(None, dag=release, tis=tasks)
    assert [task.task_id for task in judged] == ["settle"]


def test_pod_steps_outlive_a_clear_and_a_lost_triggerer(dags):
    tasks = dags()["release_minilm"].tasks
    assert all(task.retries >= 2 for task in tasks if task.task_id.endswith(("sync", "verify", "check")))


def test_targets_are_staged_side_by_side_and_served_one_after_the_other(dags, catalog):
    add_service(catalog, "second")
    before = upstream(dags()["release_minilm"])
    assert before["claim.embedder.sync"] == before["claim.second.sync"] == {"bucket.upload"}
    assert before["gate.plan"] == {"claim.embedder.verify", "claim.second.verify"}
    assert before["serving.embedder.check"] == {"gate.approve"}
    assert before["serving.second.check"] == {"serving.embedder.rollout"}
    assert before["record"] == {"serving.second.rollout"}


@pytest.mark.parametrize(
    ("rules", "gates"),
    [
        ({}, ["approve"]),
        ({"approvals": 2}, ["approve", "approve_2"]),
        ({"four_eyes": True}, ["approve", "approve_2"]),
        ({"approvals": 3, "four_eyes": True}, ["approve", "approve_2", "approve_3"]),
    ],
)
def test_each_answer_that_may_be_needed_is_a_gate_of_its_own(dags, catalog, rules, gates):
    people = [{"id": name, "name": name} for name in ("alice", "bob", "carol")]
    add_service(catalog, "second", approvers=people, **rules)
    before = upstream(dags()["release_minilm"])
    names = [f"gate.{name}" for name in ("plan", *gates)]
    assert {task: before[task] for task in names[1:]} == {task: {above} for above, task in pairwise(names)}
    assert before["serving.embedder.check"] == {names[-1]}


def test_a_signature_is_looked_for_where_the_models_file_asks_and_nothing_is_staged_before(dags, catalog):
    path = catalog / "models/minilm.yaml"
    path.write_text(path.read_text() + "signature: {key: include/release.pub}\n")
    before = upstream(dags()["release_minilm"])
    assert before["bucket.signature"] == {"bucket.upload"}
    assert before["claim.embedder.sync"] == {"bucket.signature"}


def test_a_preview_comes_between_the_plan_and_the_gate_once_a_service(dags, catalog):
    further = {"container": "server", "variable": "MODEL_PATH", "model": "minilm"}
    there = {"workload": {"kind": "Deployment", "name": "canary"}}
    add_service(catalog, "tried", preview=True, bindings=[further | there, further])
    dag = dags()["release_minilm"]
    assert [task for task in dag.task_ids if task.endswith("preview")] == ["gate.tried-canary.preview"]
    assert dag.get_task("gate.tried-canary.preview").upstream_task_ids == {"gate.plan"}
    assert dag.get_task("gate.approve").upstream_task_ids == {"gate.tried-canary.preview"}


def test_models_of_one_service_can_be_chosen_to_be_switched_together(dags, catalog):
    assert dags()["release_minilm"].params.get("with") is None
    shutil.copy(catalog / "models/minilm.yaml", catalog / "models/adapter.yaml")
    bound = [
        {"container": "server", "variable": f"{name.upper()}_PATH", "model": name} for name in ("minilm", "adapter")
    ]
    add_service(catalog, "embedder", bindings=bound)
    found = dags()
    assert found["release_minilm"].params.get_param("with").schema["examples"] == ["adapter"]
    assert found["release_adapter"].params.get_param("with").schema["examples"] == ["minilm"]
    assert found["release_minilm"].params["with"] == []


def test_each_workload_of_a_service_is_served_by_itself_and_staged_once(dags, catalog):
    binding = {"container": "server", "variable": "MODEL_PATH", "model": "minilm"}
    far = {"kind": "StatefulSet", "name": "far"}
    add_service(catalog, "embedder", bindings=[binding | {"workload": far}, binding])
    before = upstream(dags()["release_minilm"])
    assert [task for task in before if task.startswith("claim.")] == ["claim.embedder.sync", "claim.embedder.verify"]
    assert before["serving.embedder.check"] == {"serving.embedder-far.rollout"}


def test_a_model_that_nothing_serves_is_still_one_chain(dags, catalog):
    (catalog / "services/embedder.yaml").unlink()
    before = upstream(dags()["release_minilm"])
    assert before["gate.plan"] == {"bucket.upload"}
    assert before["record"] == {"gate.approve"}


def test_a_broken_file_is_a_dag_that_says_so_and_the_good_one_stays(dags, catalog):
    (catalog / "models/broken.yaml").write_text("source: 3\n")
    found = dags()
    assert len(found["release_minilm"].tasks) == len(STEPS)
    (task,) = found["release_broken"].tasks
    assert "catalog-error" in found["release_broken"].tags
    with pytest.raises(
        Exception, match=r"(?s)broken.yaml line 1: source: .*'bucket' is missing.*'receipts' is missing"
    ):
        task.execute({})


def test_a_broken_service_is_a_dag_that_says_so(dags, catalog):
    add_service(catalog, "bad", approvers=[])
    (task,) = dags()["release_bad"].tasks
    assert "approvers" in task.problems[0]


@pytest.mark.parametrize("file", ["services/minilm.yaml", "models/minilm.yml"])
def test_a_broken_file_with_a_good_models_name_takes_nothing_from_the_models_dag(dags, catalog, file):
    (catalog / file).write_text("source: 7\n")
    found = dags()
    assert tuple(task.task_id for task in found["release_minilm"].topological_sort()) == STEPS
    assert "catalog-error" not in found["release_minilm"].tags
    assert "catalog-error" in found["release_minilm_"].tags
    (task,) = found["release_minilm_"].tasks
    assert all(f"include/{file}" in problem for problem in task.problems)


def test_no_two_error_dags_and_no_models_dag_share_an_id(dags, catalog):
    add_service(catalog, "minilm", approvers=[])
    (catalog / "models/minilm_.yaml").write_text("source: 7\n")
    bad = {name: dag.tasks[0].problems for name, dag in dags().items() if "catalog-error" in dag.tags}
    assert set(bad) == {"release_minilm_", "release_minilm__"}
    assert {problem.split()[0].rstrip(":").partition("include/")[2] for said in bad.values() for problem in said} == {
        "models/minilm_.yaml",
        "services/minilm.yaml",
    }


def test_a_model_whose_only_service_is_broken_keeps_its_dag_without_a_target(dags, catalog):
    add_service(catalog, "embedder", approvers=[])
    found = dags()
    assert upstream(found["release_minilm"])["record"] == {"gate.approve"}
    assert "catalog-error" in found["release_embedder"].tags


@pytest.mark.parametrize("name", ["Größe 1.yaml", "a b.yaml", "x" * 240 + ".yaml", "minilm.yml"])
def test_a_file_whose_name_is_no_dag_id_breaks_no_other(dags, catalog, name):
    (catalog / "models" / name).write_text("source: 3\n")
    found = dags()
    (error,) = [dag for dag in found.values() if "catalog-error" in dag.tags]
    assert error.dag_id.startswith("release_")
    assert len(found["release_minilm"].tasks) == len(STEPS)


@pytest.mark.parametrize("folder", ["models", "services"])
def test_whatever_is_in_a_file_the_other_dags_stay_as_they_are(dags, catalog, folder):
    before = {name: set(dag.task_ids) for name, dag in dags().items()}
    wrong = [
        b"",
        b"\xff",
        b"a: \0",
        b"size_limit: 0b_",
        b"a: !!bool maybe",
        b"a: &a {b: *a}",
        b"[" * 100_000,
        b"a:\n\tb: c",
    ]
    for number, text in enumerate(wrong):
        (catalog / folder / f"wrong-{number}.yaml").write_bytes(text)
    (catalog / folder / "folder.yaml").mkdir()
    (catalog / folder / os.fsdecode(b"\xff.yaml")).write_text("source: 3")
    found = {name: set(dag.task_ids) for name, dag in dags().items()}
    bad = {"release_folder", "release__", *(f"release_wrong-{number}" for number in range(len(wrong)))}
    assert found == before | {name: {"catalog"} for name in bad}


def test_the_longest_names_that_the_catalog_takes_are_names_that_airflow_takes(dags, catalog):
    model, service = "m" * 63, "s" * 63
    shutil.copy(catalog / "models/minilm.yaml", catalog / f"models/{model}.yaml")
    binding = {"container": "server", "variable": "MODEL_PATH", "model": model}
    far = binding | {"workload": {"kind": "Deployment", "name": "w" * 136}}
    place = {"connection": "c" * 125, "namespace": "n" * 63, "claim": "v" * 53}
    store = {"url": "s3://modelberth/registry", "connection": "store"}
    registry = {"type": "s3", "url": "s3://registry", "connection": "store"}
    staged = {"stage": {"registry": registry, "bucket": store, "receipts": store | {"url": "s3://receipts"}}}
    add_service(catalog, service, bindings=[far, binding], preview=True, **place, **staged)
    found = dags()
    assert not [dag for dag in found.values() if "catalog-error" in dag.tags]
    assert f"serving.{service}-{'w' * 136}.rollout" in found[f"release_{model}"].task_ids
    assert {len(task) for task in found["prune_claims"].task_ids} >= {250}
    assert max(len(task.pool) for task in found[f"stage_{service}"].tasks) <= 256


def test_refresh_compares_triggers_and_reports(dags):
    refresh = dags()["refresh_models"]
    assert upstream(refresh) == {"compare": set(), "propose": {"compare"}, "report": {"compare", "propose"}}
    assert refresh.get_task("report").trigger_rule == TriggerRule.ALL_DONE
    assert (refresh.max_active_runs, refresh.catchup) == (1, False)
    assert refresh.is_paused_upon_creation is False
    propose = refresh.get_task("propose")
    assert propose.is_mapped
    assert propose.partial_kwargs["skip_when_already_exists"] is True


def test_a_rollback_is_one_chain_with_a_verify_beside_it(dags):
    rollback = dags()["rollback_model"]
    assert upstream(rollback) == {
        "list": set(),
        "plan": {"list"},
        "verify": {"plan"},
        "approve": {"plan"},
        "serving.check": {"approve", "plan"},  # the plan says for which targets
        "serving.rollout": {"serving.check", "plan"},
        "record": {"serving.rollout"},
        "settle": {"record"},
    }
    assert rollback.schedule is None
    assert rollback.is_paused_upon_creation is False
    rules = {task.task_id: task.trigger_rule for task in rollback.tasks}
    assert rules.pop("settle") == TriggerRule.ALL_DONE_SETUP_SUCCESS
    assert set(rules.values()) == {TriggerRule.ALL_SUCCESS}


def test_a_rollback_offers_the_catalogs_models_and_services_and_nothing_else(dags, catalog):
    params = dags()["rollback_model"].params
    assert params.get_param("model").schema["enum"] == ["minilm"]
    assert params.get_param("service").schema["enum"] == ["embedder"]
    for folder in ("models", "services"):
        shutil.rmtree(catalog / folder)
    assert "enum" not in dags()["rollback_model"].params.get_param("model").schema


def test_an_audit_looks_at_evidence_and_at_what_is_served_and_fails_last(dags):
    audit = dags()["audit_snapshots"]
    expected = {"receipts": set(), "compare": set(), "verify": {"compare"}, "report": {"compare", "verify"}}
    assert upstream(audit) == expected
    assert audit.get_task("report").trigger_rule == TriggerRule.ALL_DONE
    verify = audit.get_task("verify")
    assert verify.is_mapped
    assert verify.partial_kwargs["max_active_tis_per_dag"] == 1
    assert verify.partial_kwargs["rate"]
    assert (audit.max_active_runs, audit.catchup, audit.is_paused_upon_creation) == (1, False, False)


def test_what_goes_live_has_an_event_of_its_models_asset(dags):
    for dag in ("release_minilm", "rollback_model"):
        assert [one.name for one in dags()[dag].get_task("record").outlets] == ["modelberth-live"]


def test_two_hundred_models_parse_within_their_bound(dags, catalog):
    others = len(dags())  # what is imported is not what is measured
    model = (catalog / "models/minilm.yaml").read_text()
    for number in range(200):
        (catalog / f"models/model-{number}.yaml").write_text(model)
    began = time.process_time()  # a machine that is busy with others says nothing
    assert len(dags()) == others + 200
    assert time.process_time() - began < 4


def test_two_broken_files_whose_names_cannot_be_shown_are_both_seen(dags, catalog):
    for name in ("a b", "a_b"):
        (catalog / f"models/{name}.yaml").write_text("source: 7\n")
    bad = [dag for dag in dags().values() if "catalog-error" in dag.tags]
    assert {name for dag in bad for name in ("a b", "a_b") if f"models/{name}.yaml" in dag.doc_md} == {"a b", "a_b"}
    assert {dag.dag_id for dag in bad} == {"release_a_b", "release_a_b_"}


def test_a_tasks_process_builds_its_own_dag_only(dags, catalog, monkeypatch):
    shutil.copy(catalog / "models/minilm.yaml", catalog / "models/other.yaml")
    (catalog / "models/broken.yaml").write_text("source: 7\n")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "release_minilm")
    assert {name for name in dags() if name.startswith("release_")} == {"release_minilm", "release_broken"}
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "release_broken")
    assert "release_broken" in dags()


def test_the_dag_files_import_no_client_by_themselves():
    """Only our operators and Airflow's own; what they need, they import."""
    for path in (PROJECT / "dags").glob("*.py"):
        imports = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
        allowed = ("__future__", "re", "datetime", "typing", "airflow.sdk", "airflow.providers.standard", "modelberth.")
        assert [name for name in imports if not name.startswith(allowed)] == []


IMPORTED = """
import runpy, sys
for path in sys.argv[1:]:
    runpy.run_path(path)
print(*sorted(sys.modules))
"""


def test_reading_the_dag_files_loads_no_clouds_client(tmp_path):
    """Kubernetes' is loaded by the provider's pod operator, which ours extend; scheduler and Dag processor have it."""
    files = [str(path) for path in (PROJECT / "dags").glob("*.py")]
    env = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT / "plugins")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *files], env=env, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "modelberth.operators.rollout" in loaded
    assert loaded & {"boto3", "botocore", "google.cloud.storage", "google.api_core", "googleapiclient"} == set()
    ours = [path for path in (PROJECT / "plugins").rglob("*.py") if path.parent.name in ("operators", "sensors")]
    top_level = re.compile(r"^(?:from|import) (kubernetes|boto3|botocore|google)\b", re.MULTILINE)
    extending = {path.stem for path in ours if "ModelPodOperator" in path.read_text()}
    assert {path.stem for path in ours if top_level.search(path.read_text())} <= extending


LOADED = """
import json, sys
from airflow.plugins_manager import _get_plugins
plugins, errors = _get_plugins()
assert not errors, errors
ours = [plugin for plugin in plugins if plugin.name == "modelberth"]
folder = sys.argv[1]
files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps({"plugins": len(ours), "modules": [name for name, file in files.items() if file.startswith(folder)]}))
"""


def test_the_plugin_loader_loads_one_file_and_shadows_nothing(tmp_path):
    """It imports every .py below plugins/ by its bare name, but what .airflowignore names: ours would be many."""
    env = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADED, f"{PROJECT}/plugins/"], env=env, capture_output=True, text=True, check=True
    )
    found = yaml.safe_load(done.stdout.splitlines()[-1])
    assert found["plugins"] == 1
    names = set(found["modules"])
    assert "modelberth_plugin" in names
    assert {name for name in names if name.partition(".")[0] not in ("modelberth", "modelberth_plugin")} == set()
    assert names & set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize(
    ("command", "warm"),
    [("scheduler", True), ("dag-processor", True), ("triggerer", True), ("api-server", False), ("tasks", False)],
)
def test_only_what_runs_tasks_and_triggers_imports_operators_and_clients_early(command, warm, monkeypatch):
    asked = []

    def note(name):
        asked.append(name)
        return SimpleNamespace(__path__=[str(PROJECT / "plugins" / name.replace(".", "/"))])

    monkeypatch.setattr("importlib.import_module", note)
    monkeypatch.setattr(sys, "argv", ["airflow", command])
    runpy.run_path(str(PROJECT / "plugins/modelberth_plugin.py"))
    early = {"airflow.providers.amazon.aws.hooks.s3", "modelberth.operators.pod", "modelberth.sensors.approval"}
    assert early & set(asked) == (early if warm else set())


def test_each_claim_of_the_catalog_is_pruned_once_and_only_after_a_person_unpaused_it(dags, catalog):
    add_service(catalog, "same-claim")
    add_service(catalog, "other-claim", claim="other")
    prune = dags()["prune_claims"]
    assert {task.task_id for task in prune.tasks} == {
        *("claims.modelberth_kubernetes_serving_models", "claims.modelberth_kubernetes_serving_other"),
        "buckets.minilm",
    }
    assert (prune.is_paused_upon_creation, prune.catchup, prune.max_active_runs) == (True, False, 1)
    assert prune.params["dry_run"] is False


def test_claims_of_similar_names_are_pruned_by_tasks_of_their_own(dags, catalog):
    for number, (connection, namespace) in enumerate([("a--b", "c"), ("a", "b--c"), ("a_b", "c"), ("a", "b-c")]):
        add_service(catalog, f"similar-{number}", connection=connection, namespace=namespace)
    assert len([task for task in dags()["prune_claims"].task_ids if task.startswith("claims.a")]) == 4
