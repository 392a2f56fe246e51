"""Resolve: a proposal, or everything that stops it in one error with nothing changed."""

import pytest
import yaml
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
from kubernetes.config import ConfigException

from modelberth.kubernetes.client import ClusterUnreachableError
from modelberth.kubernetes.target import Found
from modelberth.operators.resolve import ResolveModelOperator
from modelberth.operators.settle import SettleModelOperator
from modelberth.receipts import StoreError, StoreUnreachableError
from modelberth.sources.directory import Directory


@pytest.fixture
def cluster(monkeypatch):
    """What the cluster is found to be: a list of problems, or what asking it raises."""
    found = []

    def problems(cluster, service):
        for one in found:
            if isinstance(one, Exception):
                raise one
        return list(found)

    monkeypatch.setattr("modelberth.operators.resolve.preflight.problems", problems)
    monkeypatch.setattr("modelberth.operators.resolve.find", lambda target, models, cluster: Found({}))
    monkeypatch.setattr("modelberth.operators.resolve.Cluster", lambda connection: connection)
    for name in ("S3", "RECEIPTS", "KUBERNETES"):
        monkeypatch.setenv(f"AIRFLOW_CONN_MODELBERTH_{name}", "generic://")
    return found


@pytest.fixture
def resolve(objects, catalog, cluster, context):
    """Runs the operator and returns its result."""
    return lambda: ResolveModelOperator(task_id="resolve", model="minilm").execute(context)


def break_store(monkeypatch, bucket, error):
    """Make every look into *bucket* raise *error*."""
    from modelberth.receipts import store

    class Broken(store._S3Store):
        def keys(self, prefix):
            if self._at.startswith(bucket):
                raise error
            return super().keys(prefix)

    monkeypatch.setattr(store, "_S3Store", Broken)


def test_what_the_source_holds_is_proposed(resolve, source, evidence, ledger):
    resolve()
    version = str(Directory(source).resolve().name)
    receipt = evidence.read("resolve")
    assert (receipt["source_version"], receipt["files"], receipt["bytes"]) == (version, 1, 7)
    assert receipt["requested_by"] == "bob"
    assert [(entry.event, entry.source_version) for entry in ledger.entries()] == [("proposed", version)]


def test_the_secrets_of_source_and_probe_are_asked_about_where_pods_are_to_have_them(resolve, catalog, monkeypatch):
    model = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    source = {"type": "s3", "url": "s3://raw/minilm", "connection": "modelberth_s3", "secret": "raw-reader"}
    catalog.write("models/minilm.yaml", model | {"source": source})
    service = yaml.safe_load((catalog.root / "services/embedder.yaml").read_text())
    confirm = {"level": "reported", "port": 8000, "report": "/modelz", "probe": {"secret": "probe-key"}}
    catalog.write("services/second.yaml", service | {"confirm": confirm})
    asked = {}
    monkeypatch.setattr("modelberth.operators.resolve._source", lambda model: (None, []))
    monkeypatch.setattr(
        "modelberth.operators.resolve.preflight.secret_problems",
        lambda cluster, service, names: asked.setdefault(service.name, names) and [f"no {name}" for name in names],
    )
    with pytest.raises(AirflowFailException, match="no raw-reader") as error:
        resolve()
    assert "no probe-key" in str(error.value)
    assert asked == {"embedder": ["raw-reader"], "second": ["probe-key"]}


def test_a_signature_that_nobody_could_verify_is_refused_before_anything_is_moved(resolve, catalog):
    document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    catalog.write("models/minilm.yaml", document | {"signature": {"key": "/nowhere/key.pub"}})
    with pytest.raises(AirflowFailException, match=r"'key' cannot be read: /nowhere/key\.pub"):
        resolve()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"four_eyes": True, "approvers": [{"id": "bob", "name": "Bob"}]}, "'bob': requested it"),
        ({"approvers": [{"id": "carol", "name": "Carol"}]}, "'carol': no such user of this Airflow"),
        ({"approvers": [{"id": "vera", "name": "Vera"}]}, "'vera': the role 'viewer' may not answer"),
    ],
)
def test_a_release_that_nobody_could_approve_is_refused_before_anything_is_moved(
    resolve, catalog, monkeypatch, rules, said
):
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "alice:user,bob:user,vera:viewer")
    catalog.write("services/embedder.yaml", catalog.service | rules)
    with pytest.raises(AirflowFailException, match=said):
        resolve()


def test_a_retry_proposes_the_same_once(resolve, ledger):
    assert resolve() == resolve()
    assert len(ledger.entries()) == 1


def test_everything_wrong_is_in_one_error(resolve, cluster, source, monkeypatch):
    (source / "passwd").symlink_to("/etc/passwd")
    (source / "gone").symlink_to("nothing")
    cluster += ["Claim is missing.", "Deployment is missing."]
    break_store(monkeypatch, "modelberth", StoreError("Bucket is missing."))
    with pytest.raises(AirflowFailException) as raised:
        resolve()
    for said in ("passwd", "gone", "Claim is missing.", "Deployment is missing.", "Bucket is missing."):
        assert said in str(raised.value)
    assert "5 to put right" in str(raised.value)


@pytest.mark.parametrize(
    ("bucket", "error", "kind"),
    [
        ("modelberth", StoreError("403 wrong credentials"), AirflowFailException),
        ("modelberth", StoreUnreachableError("no answer"), AirflowException),
        ("receipts", StoreError("404 NoSuchBucket"), AirflowFailException),
        ("receipts", StoreUnreachableError("no answer"), AirflowException),
    ],
)
def test_a_bucket_or_connection_at_fault_is_said(resolve, objects, monkeypatch, bucket, error, kind):
    break_store(monkeypatch, bucket, error)
    with pytest.raises(AirflowException, match=str(error)) as raised:
        resolve()
    assert type(raised.value) is kind
    assert not [key for key in objects if "resolve" in key]


@pytest.mark.parametrize("name", ["modelberth_s3", "modelberth_receipts", "modelberth_kubernetes"])
def test_an_unknown_connection_is_said_and_nothing_is_used_in_its_place(resolve, monkeypatch, objects, name):
    real = BaseHook.get_connection

    def without_one(conn_id):
        if conn_id == name:
            raise AirflowNotFoundException(conn_id)
        return real(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", without_one)
    with pytest.raises(AirflowFailException, match=f"Airflow has no connection '{name}'"):
        resolve()
    assert not [key for key in objects if "resolve" in key]


@pytest.mark.parametrize("error", [ConfigException("Invalid"), yaml.YAMLError("server: secret")])
def test_a_kubeconfig_that_is_none_is_said_without_showing_it(resolve, monkeypatch, error):
    def broken(connection):
        raise error

    monkeypatch.setattr("modelberth.operators.resolve.Cluster", broken)
    with pytest.raises(AirflowFailException, match="'modelberth_kubernetes' holds no usable kubeconfig") as raised:
        resolve()
    assert "secret" not in str(raised.value)


def test_a_cluster_that_does_not_answer_is_asked_again(resolve, cluster):
    cluster.append(ClusterUnreachableError("does not answer"))
    with pytest.raises(AirflowException, match="does not answer") as raised:
        resolve()
    assert not isinstance(raised.value, AirflowFailException)


def test_what_passes_is_not_waited_for_where_something_does_not(resolve, cluster, source):
    cluster.append(ClusterUnreachableError("does not answer"))
    (source / "model.onnx").unlink()
    with pytest.raises(AirflowFailException, match="does not answer"):
        resolve()


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_source_without_a_model_is_refused_and_nothing_is_written(resolve, source, objects, damage):
    (source / "model.onnx").unlink()
    if damage == "missing":
        source.rmdir()
    with pytest.raises(AirflowFailException, match=str(source)):
        resolve()
    assert objects == {}


def test_a_model_above_its_limit_is_refused(resolve, catalog, source):
    model = catalog.model | {"source": {"type": "directory", "path": str(source)}, "size_limit": 6}
    catalog.write("models/minilm.yaml", model)
    with pytest.raises(AirflowFailException, match="The source holds 7 B, more than size_limit 6 B"):
        resolve()


def test_a_model_that_no_service_binds_is_refused(resolve, catalog):
    catalog.write("services/embedder.yaml", "claim: [")
    with pytest.raises(AirflowFailException, match=r"No service binds model 'minilm'.*broken: embedder"):
        resolve()


def test_a_model_whose_file_broke_since_the_parse_is_refused(resolve, catalog):
    catalog.write("models/minilm.yaml", "source: [")
    with pytest.raises(AirflowFailException, match=r"minilm.yaml line [12]: cannot be read as YAML"):
        resolve()


def test_a_missing_signing_key_is_said(resolve, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MODELBERTH_SIGNING", "generic://:short@")
    with pytest.raises(AirflowFailException, match="'modelberth_signing' holds no signing key"):
        resolve()


def test_a_refused_version_is_in_the_ledger_as_failed_with_its_reason(resolve, cluster, ledger):
    cluster.append("Claim is missing.")
    with pytest.raises(AirflowFailException):
        resolve()
    (entry,) = ledger.entries()
    assert (entry.event, entry.reason) == ("failed", "Claim is missing.")
    assert entry.source_version


@pytest.mark.parametrize(("try_number", "events"), [(1, []), (2, []), (3, ["failed"])])
def test_what_may_pass_is_failed_only_by_the_last_try(resolve, cluster, context, ledger, try_number, events):
    cluster.append(ClusterUnreachableError("does not answer"))
    context["ti"].try_number = try_number
    with pytest.raises(AirflowException):
        resolve()
    assert [entry.event for entry in ledger.entries()] == events


PROPOSED = f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    ("conf", "versions"),
    [
        ({"source_version": PROPOSED}, [PROPOSED]),
        ({"source_version": "latest"}, []),
        ({"source_version": None}, []),
        ({}, []),
        (None, []),
    ],
)
def test_a_source_that_is_gone_fails_the_version_that_was_proposed(resolve, source, context, ledger, conf, versions):
    (source / "model.onnx").unlink()
    context["dag_run"].conf = conf
    with pytest.raises(AirflowFailException):
        resolve()
    assert [entry.source_version for entry in ledger.entries()] == versions


def test_what_the_source_holds_counts_more_than_what_was_proposed(resolve, source, cluster, context, ledger):
    cluster.append("Claim is missing.")
    context["dag_run"].conf = {"source_version": PROPOSED}
    with pytest.raises(AirflowFailException):
        resolve()
    assert [entry.source_version for entry in ledger.entries()] == [str(Directory(source).resolve().name)]


def test_a_run_that_died_before_it_saw_its_source_fails_the_version_that_was_proposed(catalog, context, ledger):
    context["dag_run"].conf = {"source_version": PROPOSED}
    with pytest.raises(AirflowFailException, match="did not go live"):
        SettleModelOperator(task_id="settle", model="minilm").execute(context)
    assert [(entry.event, entry.source_version) for entry in ledger.entries()] == [("failed", PROPOSED)]
