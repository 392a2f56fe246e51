"""The catalog: what is accepted, and every kind of refused input with what is said about it."""

import copy
import time

import pytest
import yaml

from modelberth.catalog import PROJECT, CatalogError, load

MODEL = {
    "source": {"type": "directory", "path": ".local/models/minilm"},
    "bucket": {"url": "s3://modelberth/models", "connection": "modelberth_s3"},
    "receipts": {"url": "s3://modelberth-receipts/receipts", "connection": "modelberth_receipts"},
}
SERVICE = {
    "connection": "modelberth_kubernetes",
    "namespace": "serving",
    "claim": "models",
    "workload": {"kind": "Deployment", "name": "embedder"},
    "bindings": [{"container": "server", "variable": "MODEL_PATH", "model": "minilm"}],
    "pods": {
        "image": "modelberth/modelsync:local",
        "service_account": "modelsync",
        "bucket_secret": "modelsync-bucket",
    },
    "confirm": {
        "level": "behaved",
        "port": 8000,
        "report": "/modelz",
        "smoke": {"path": "/embed", "body": {"text": "hello"}, "json_path": "embedding.0"},
    },
    "approvers": [{"id": "alice", "name": "Alice"}],
    "ready_within": 120,
}
GONE = object()
S3 = {"type": "s3", "url": "s3://raw/minilm", "connection": "raw_s3"}
MLFLOW = {"type": "mlflow", "model": "minilm", "connection": "tracking"}
HTTP = {"type": "http", "url": "https://host/minilm"}


@pytest.fixture
def root(tmp_path):
    """A catalog with one good model and one good service."""
    root = tmp_path / "include"
    write(root, "models/minilm.yaml", MODEL)
    write(root, "services/embedder.yaml", SERVICE)
    return root


def write(root, name, document):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False))


def changed(document, key, value):
    """Return *document* with the value at the dotted *key* replaced, added or (GONE) removed."""
    document = copy.deepcopy(document)
    *above, last = key.split(".")
    part = document
    for step in above:
        part = part[int(step)] if isinstance(part, list) else part[step]
    if value is GONE:
        del part[last]
    else:
        part[int(last) if isinstance(part, list) else last] = value
    return document


def test_a_good_catalog_has_models_services_and_no_problems(root):
    catalog = load(root)
    assert list(catalog.models) == ["minilm"]
    assert list(catalog.services) == ["embedder"]
    assert catalog.problems == {}


def test_the_projects_own_catalog_is_good():
    catalog = load(PROJECT / "include")
    assert catalog.problems == {}
    assert [target.name for target in catalog.targets("minilm")] == ["embedder"]


def test_the_root_comes_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("MODELBERTH_CATALOG", str(root))
    assert load().root == root
    monkeypatch.delenv("MODELBERTH_CATALOG")
    assert load().root == PROJECT / "include"


def test_a_catalog_that_is_not_there_is_empty(tmp_path):
    catalog = load(tmp_path / "nowhere")
    assert (catalog.models, catalog.services, catalog.problems) == ({}, {}, {})


def test_names_are_the_files(root):
    catalog = load(root)
    assert catalog.model("minilm").name == "minilm"
    assert catalog.service("embedder").name == "embedder"


@pytest.mark.parametrize(
    ("text", "size"), [("50GiB", 50 * 2**30), ("1GB", 10**9), ("1.5 KiB", 1536), ("12", 12), (7, 7), (None, None)]
)
def test_sizes_are_bytes(root, text, size):
    write(root, "models/minilm.yaml", MODEL | {"size_limit": text})
    assert load(root).model("minilm").size_limit == size


def test_a_store_knows_its_bucket_and_prefix(root):
    store = load(root).model("minilm").receipts
    assert (store.scheme, store.bucket, store.prefix) == ("s3", "modelberth-receipts", "receipts")
    write(root, "models/minilm.yaml", changed(MODEL, "bucket.url", "gs://all"))
    store = load(root).model("minilm").bucket
    assert (store.scheme, store.bucket, store.prefix) == ("gs", "all", "")


def test_a_relative_source_starts_at_the_project_and_an_absolute_one_is_kept(root):
    assert load(root).model("minilm").source.directory == PROJECT / ".local/models/minilm"
    write(root, "models/minilm.yaml", changed(MODEL, "source.path", "/data/minilm"))
    assert str(load(root).model("minilm").source.directory) == "/data/minilm"


def test_targets_are_the_services_that_bind_the_model_in_file_name_order(root):
    write(root, "models/other.yaml", MODEL)
    for name in ("z", "a"):
        write(root, f"services/{name}.yaml", SERVICE)
    write(root, "services/b.yaml", changed(SERVICE, "bindings.0.model", "other"))
    catalog = load(root)
    assert [target.name for target in catalog.targets("minilm")] == ["a", "embedder", "z"]
    assert [target.name for target in catalog.targets("other")] == ["b"]
    assert catalog.targets("nobody") == []


def binding(workload=None, **changes):
    return SERVICE["bindings"][0] | changes | ({"workload": workload} if workload else {})


CANARY = {"kind": "StatefulSet", "name": "embedder.canary"}


def test_each_workload_of_a_service_is_a_target_in_the_files_order(root):
    write(root, "models/other.yaml", MODEL)
    bindings = [binding(CANARY), binding(), binding(variable="OTHER", model="other")]
    write(root, "services/embedder.yaml", SERVICE | {"bindings": bindings})
    catalog = load(root)
    assert [target.name for target in catalog.targets("minilm")] == ["embedder-embedder-canary", "embedder"]
    assert [target.name for target in catalog.targets("other")] == ["embedder"]
    assert [service.name for service in catalog.services_of("minilm")] == ["embedder"]
    canary = catalog.target("minilm", "embedder-embedder-canary")
    assert str(canary.workload) == "StatefulSet embedder.canary"
    assert canary.service.bindings_of("minilm", canary.workload) == canary.service.bindings[:1]
    with pytest.raises(CatalogError, match="it has: embedder"):
        catalog.target("other", "embedder-embedder-canary")


def test_two_targets_never_have_one_name(root):
    far = {"kind": "Deployment", "name": "far"}
    both = [binding(far), binding({**far, "kind": "StatefulSet"})]
    write(root, "services/embedder.yaml", SERVICE | {"bindings": both})
    assert "embedder-far more than once" in load(root).problems["embedder"][0]
    write(root, "services/embedder.yaml", SERVICE | {"bindings": [binding(far)]})
    write(root, "services/embedder-far.yaml", SERVICE)
    [problem] = load(root).problems["embedder"]
    assert "target 'embedder-far' is one of service 'embedder-far' too" in problem


LONG = {"workload": {"kind": "Deployment", "name": "x" * 192}}


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("embedder", {"bindings": [binding(**LONG)]}, "has 201 characters, expected at most 200: shorten the service"),
        ("embedde", {"bindings": [binding(**LONG)]}, None),
        (
            "embedder",
            {"connection": "c" * 200, "claim": "x" * 35},
            "have 242 characters together, expected at most 241",
        ),
        ("embedder", {"connection": "c" * 200, "claim": "x" * 34}, None),
        ("plan", {"preview": True}, "no service with a preview can be called 'plan': the gate has a task of that name"),
        ("approve", {"preview": True}, "no service with a preview can be called 'approve'"),
        ("plan", {}, None),
    ],
)
def test_names_that_airflow_would_not_take_are_refused(root, name, changes, said):
    (root / "services/embedder.yaml").unlink()
    write(root, f"services/{name}.yaml", SERVICE | {"namespace": "serving"} | changes)
    problems = load(root).problems.get(name, [])
    assert (said in problems[0]) if said else not problems


def test_one_smoke_request_needs_no_list(root):
    write(root, "services/embedder.yaml", changed(SERVICE, "confirm.smoke", [{"path": "/a"}, {"path": "/b"}]))
    assert [one.path for one in load(root).service("embedder").confirm.smoke] == ["/a", "/b"]
    write(root, "services/embedder.yaml", changed(SERVICE, "confirm.smoke", {"path": "/a"}))
    assert [one.path for one in load(root).service("embedder").confirm.smoke] == ["/a"]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("source", GONE, "minilm.yaml: source: the key 'source' is missing"),
        (
            "source",
            "dir",
            "line 1: source: expected a mapping with the keys type, path, secret, identity, url, connection",
        ),
        ("source.type", "ftp", "line 2: source.type: expected one of: directory, s3, gcs, http"),
        ("source", {"url": "x"}, "line 1: source: the key 'type' is missing; expected one of: directory, s3"),
        ("source", S3 | {"url": "gs://b-b/x"}, "source.url: expected s3://bucket/prefix"),
        ("source", S3 | {"url": "s3://key:secret@bucket/x"}, "source.url: expected s3://bucket/prefix"),
        ("source", {"type": "s3", "url": "s3://raw/x"}, "source.connection: the key 'connection' is missing"),
        ("source", S3 | {"secret": "a", "identity": True}, "source: secret and identity exclude each other"),
        ("source", S3 | {"path": "x"}, "source.path: unknown key 'path'; expected one of: secret, identity, type, url"),
        ("source", {"type": "huggingface", "repository": "https://hf.co"}, "source.repository: expected a repository"),
        ("source", MLFLOW | {"version": 3, "alias": "x"}, "source: version, alias and tags exclude each other"),
        ("source", MLFLOW | {"version": "3"}, "source.version: Input should be a valid integer; got '3'"),
        ("source", {"type": "oci", "reference": "minilm:v1"}, "source.reference: expected registry/name:tag"),
        ("source", {"type": "drive", "item": "https://drive.google.com/x"}, "source.item: expected an id or key"),
        ("source", {"type": "drive", "item": "a", "identity": True}, "source: identity is not for Drive"),
        ("source", HTTP, "source: expected files, checksums or archive"),
        ("source", HTTP | {"files": ["a"], "archive": "b.zip"}, "source: files and archive exclude each other"),
        ("source", HTTP | {"files": ["a", "../b"]}, "source.files[1]: expected a relative path, this one has the part"),
        ("source", HTTP | {"archive": "b.rar"}, "source.archive: expected an archive: .zip, .tar"),
        (
            "source",
            HTTP | {"url": "https://me:secret@host/x"},
            "user, password, query and fragment; got 'https://***@host/x'",
        ),
        ("source.path", GONE, "line 1: source.path: the key 'path' is missing"),
        ("source.path", "", "source.path: String should have at least 1 character; got ''"),
        ("source.paht", "x", "source.paht: unknown key 'paht'; expected one of: type, path"),
        ("bucket", GONE, "bucket: the key 'bucket' is missing"),
        ("bucket.url", "ftp://modelberth", "bucket.url: expected s3://bucket/prefix or gs://bucket/prefix"),
        ("bucket.url", "s3://modelberth/models/", "without a final '/'; got 's3://modelberth/models/'"),
        ("bucket.url", "s3://Modelberth", "bucket.url: expected"),
        ("bucket.url", "s3://modelberth//a", "bucket.url: expected"),
        ("bucket.url", "s3://modelberth/../a", "bucket.url: expected"),
        ("bucket.url", "s3://key:secret@modelberth/a", "without credentials"),
        ("bucket.connection", "aws://key:secret@", "the id of an Airflow connection, never a secret itself"),
        ("bucket.connection", 3, "bucket.connection: Input should be a valid string; got 3"),
        ("receipts", GONE, "receipts: the key 'receipts' is missing"),
        ("receipts.url", "s3://modelberth/models", "receipts.url 's3://modelberth/models' lies in bucket.url"),
        ("receipts.url", "s3://modelberth/models/receipts", "where pods may write"),
        ("size_limit", "huge", "size_limit: could not parse value and unit from byte string; got 'huge'"),
        ("size_limit", 0, "size_limit: Input should be greater than 0; got 0"),
        ("refresh", {"paused": "maybe"}, "refresh.paused: Input should be a valid boolean; got 'maybe'"),
        ("refresh", {"hourly": 5}, "refresh.hourly: unknown key 'hourly'; expected one of: paused, every"),
        ("refresh", {"every": 5}, "refresh.every: Input should be greater than or equal to 60; got 5"),
        ("target", "embedder", "unknown key 'target'; expected one of: source, bucket, receipts, size_limit, content"),
        ("name", "other", "the key 'name' has no place here"),
    ],
)
def test_a_wrong_model_file_is_refused(root, key, value, said):
    write(root, "models/minilm.yaml", changed(MODEL, key, value))
    catalog = load(root)
    assert catalog.models == {}
    (problem,) = catalog.problems["minilm"]
    assert problem.startswith("include/models/minilm.yaml")
    assert said in problem


@pytest.mark.parametrize("name", ["ledger", "inventory"])
def test_a_model_that_is_called_as_a_folder_of_the_receipts_is_refused(root, name):
    write(root, f"models/{name}.yaml", MODEL)
    (problem,) = load(root).problems[name]
    assert "the receipts have a folder of that name" in problem


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("connection", GONE, "connection: the key 'connection' is missing"),
        ("namespace", "Serving", "line 2: namespace: expected a DNS label"),
        ("namespace", "a.b", "namespace: expected a DNS label"),
        ("claim", "models_1", "claim: expected a Kubernetes object's name"),
        ("claim", None, "claim: Input should be a valid string; got None"),
        ("workload.kind", "DaemonSet", "workload.kind: Input should be 'Deployment' or 'StatefulSet'; got 'DaemonSet'"),
        ("workload.name", GONE, "line 4: workload.name: the key 'name' is missing"),
        ("bindings", [], "bindings: List should have at least 1 item"),
        ("bindings", {"server": "MODEL_PATH"}, "bindings: Input should be a valid list"),
        ("bindings.0.variable", "MODEL-PATH", "bindings[0].variable: expected the name of an environment variable"),
        ("bindings.0.container", "Server", "bindings[0].container: expected a DNS label"),
        ("bindings.0.model", "mini/lm", "bindings[0].model: expected a DNS label"),
        ("bindings.0.model", "minilmm", "bindings[0].model: unknown model 'minilmm'; there are: minilm"),
        ("bindings", SERVICE["bindings"] * 2, "bindings name Deployment embedder: server/MODEL_PATH more than once"),
        ("pods.image", "bad image", "pods.image: expected an image's name"),
        ("pods.cpu", 3, "pods.cpu: unknown key 'cpu'; expected one of: image, service_account, bucket_secret"),
        ("confirm.level", "hoped", "confirm.level: Input should be 'declared', 'reported' or 'behaved'; got 'hoped'"),
        ("confirm.port", GONE, "confirm: level 'behaved' needs port as well"),
        ("confirm.smoke", GONE, "confirm: level 'behaved' needs smoke as well"),
        ("confirm.report", GONE, "confirm: level 'behaved' needs report as well"),
        ("confirm", {"level": "behaved"}, "confirm: level 'behaved' needs port and report and smoke as well"),
        ("confirm", {"level": "reported"}, "confirm: level 'reported' needs port and report as well"),
        ("confirm.port", 70000, "confirm.port: Input should be less than or equal to 65535; got 70000"),
        ("confirm.report", "modelz", "confirm.report: expected a path that begins with '/'"),
        ("confirm.smoke.status", 20, "confirm.smoke[0].status: Input should be greater than or equal to 100; got 20"),
        ("confirm.smoke.json_path", "$..x", "confirm.smoke[0].json_path: expected keys and indexes joined by '.'"),
        ("confirm.smoke", {"path": "/a", "equals": 1}, "equals needs json_path as well"),
        ("confirm.smoke", {"path": "/a", "json_path": "x", "equals": "a", "tolerance": 0.1}, "tolerance needs equals"),
        ("confirm.smoke", {"path": "/a", "json_path": "x", "tolerance": 0.1}, "tolerance needs equals as well"),
        ("confirm.style", "tgi", "confirm.style: Input should be 'path', 'vllm' or 'triton'; got 'tgi'"),
        ("confirm.probe", {"secret": "Key"}, "confirm.probe.secret: expected a Kubernetes object's name"),
        ("confirm.smoke.json", 1, "confirm.smoke[0].json: unknown key 'json'; expected one of: path, body, status"),
        ("approvers", [], "approvers: List should have at least 1 item"),
        ("approvals", 2, "approvals is 2, but approvers are only 1"),
        ("approvals", 0, "approvals: Input should be greater than or equal to 1; got 0"),
        ("four_eyes", "yes", "four_eyes: Input should be a valid boolean; got 'yes'"),
        ("answer_within", 59, "answer_within: Input should be greater than or equal to 60; got 59"),
        ("canary", {"partition": 1}, "canary.soak: the key 'soak' is missing"),
        ("canary", {"partition": 1, "soak": 60}, "canary.partition needs a StatefulSet"),
        ("preview", 1, "preview: Input should be a valid boolean; got 1"),
        ("approvers", ["alice"], "approvers[0]: expected a mapping with the keys id, name; got 'alice'"),
        ("approvers", SERVICE["approvers"] * 2, "approvers name alice more than once"),
        ("approvers.0.id", "", "approvers[0].id: String should have at least 1 character"),
        ("ready_within", "120", "ready_within: Input should be a valid integer; got '120'"),
        ("ready_within", 0, "ready_within: Input should be greater than or equal to 1; got 0"),
    ],
)
def test_a_wrong_service_file_is_refused(root, key, value, said):
    write(root, "services/embedder.yaml", changed(SERVICE, key, value))
    catalog = load(root)
    assert catalog.services == {}
    assert list(catalog.models) == ["minilm"]
    (problem,) = catalog.problems["embedder"]
    assert problem.startswith("include/services/embedder.yaml")
    assert said in problem


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("bad.yaml", "", "expected a mapping of keys to values, got nothing"),
        ("bad.yaml", "- a\n", "got list"),
        ("bad.yaml", "source: [\n", "cannot be read as YAML"),
        ("bad.yaml", "a: 1\n---\nb: 2\n", "cannot be read as YAML"),
        ("bad.yaml", "a: !!python/object/apply:os.system [x]\n", "line 1: python/object/apply:os.system has no place"),
        ("bad.yaml", "source: {type: directory, path: a, path: b}\n", "line 1: the key 'source.path' is repeated"),
        ("bad.yaml", "source: 1\nbucket: 2\nsource: 3\n", "line 3: the key 'source' is repeated"),
        ("bad.yml", yaml.safe_dump(MODEL), "not read: rename it to bad.yaml"),
        ("Bad_1.yaml", yaml.safe_dump(MODEL), "name: expected a DNS label"),
    ],
)
@pytest.mark.parametrize("folder", ["models", "services"])
def test_a_file_that_is_not_ours_at_all_is_refused(root, folder, name, text, said):
    write(root, f"{folder}/{name}", text)
    catalog = load(root)
    assert said in " ".join(catalog.problems[name.partition(".")[0]])
    assert (list(catalog.models), list(catalog.services)) == (["minilm"], ["embedder"])


@pytest.mark.parametrize("name", ["models/minilm", "services/embedder"])
def test_of_two_files_with_one_name_one_has_to_go(root, name):
    (root / f"{name}.yml").write_bytes((root / f"{name}.yaml").read_bytes())
    stem, found = name.partition("/")[2], load(root)
    said = f"{name}.yml: not read: {stem}.yaml is there as well: keep one file of a name"
    assert [said in problem for problem in found.problems[stem]] == [True]
    assert stem in {**found.models, **found.services}


def test_a_file_that_is_not_text_or_not_readable_is_refused(root):
    (root / "models/latin.yaml").write_bytes(b"source: \xff\n")
    (root / "models/folder.yaml").mkdir()
    (root / "models/loop.yaml").symlink_to("loop.yaml")
    catalog = load(root)
    assert set(catalog.problems) == {"latin", "folder", "loop"}
    assert list(catalog.models) == ["minilm"]


def test_all_problems_of_a_file_are_said_at_once(root):
    document = changed(changed(MODEL, "bucket.url", "x"), "source.type", "y") | {"size_limit": -1, "z": 1}
    write(root, "models/minilm.yaml", document)
    assert len(load(root).problems["minilm"]) == 4


def test_a_good_model_beside_a_broken_one_keeps_working(root):
    write(root, "models/broken.yaml", "source: [")
    catalog = load(root)
    assert catalog.model("minilm").name == "minilm"
    assert [target.name for target in catalog.targets("minilm")] == ["embedder"]
    assert list(catalog.problems) == ["broken"]


def test_a_service_with_a_broken_model_among_others_keeps_serving_the_others(root):
    write(root, "models/broken.yaml", "source: [")
    two = [*SERVICE["bindings"], {"container": "server", "variable": "OTHER", "model": "broken"}]
    write(root, "services/embedder.yaml", SERVICE | {"bindings": two})
    catalog = load(root)
    assert [target.name for target in catalog.targets("minilm")] == ["embedder"]
    assert list(catalog.problems) == ["broken"]


def test_asking_for_what_is_missing_or_broken_says_what_there_is_and_why(root):
    write(root, "models/broken.yaml", "source: [")
    catalog = load(root)
    with pytest.raises(CatalogError, match=r"models/nobody.yaml in .*usable are: minilm"):
        catalog.model("nobody")
    with pytest.raises(CatalogError, match=r"broken.yaml line 2: cannot be read as YAML"):
        catalog.model("broken")
    with pytest.raises(CatalogError, match=r"services/nobody.yaml in .*usable are: embedder"):
        catalog.service("nobody")


def test_a_service_more_costs_no_more_where_there_are_many(root):
    def seconds(count):
        for number in range(count):
            bindings = [SERVICE["bindings"][0] | {"model": f"model-{number}"}]
            write(root, f"models/model-{number}.yaml", MODEL)
            write(root, f"services/service-{number}.yaml", SERVICE | {"bindings": bindings})
        began = time.process_time()
        found = load(root)
        targets = [target.name for model in found.models for target in found.targets(model)]
        assert sorted(targets) == sorted(found.services)
        return time.process_time() - began

    assert seconds(800) < 3 * 4 * seconds(200)
