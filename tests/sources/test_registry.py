"""What registries name for a service: MLflow's tags on a real server, folders in S3, in GCS and in Drive."""

import base64
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from pydantic import TypeAdapter

from drive_server import Drive
from model_files import CONTENT
from modelberth.catalog import Catalog, load
from modelberth.catalog.registry import AnyRegistry
from modelberth.catalog.sources import AnySource
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.registry import fitting
from modelberth.operators.survey import survey
from modelberth.sources import source_of
from modelberth.sources import web as asking
from modelberth.sources.registry import entries

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def named(tmp_path):
    """Asks a registry, as a service's file has it, and returns what fits by model and version."""

    def ask(service="chat", catalog=None, **registry):
        parsed = TypeAdapter(AnyRegistry).validate_python(registry)
        found = entries(catalog or Catalog(tmp_path), SimpleNamespace(name=service), parsed)
        return {str(one): one for one in fitting(found)}

    return ask


def held(named):
    """What the source of what is named holds, as a stage run resolves it."""
    source = TypeAdapter(AnySource).validate_python(dict(named.source))
    return source_of(SimpleNamespace(source=source, size_limit=None)).resolve()


@pytest.fixture
def tagged(mlflow, s3, store, connect, named, request):
    """Registered models for a service of the test's own; asks for what they name."""
    connect("tracking", **mlflow.connection)
    service = f"{request.node.name[:40]}-{id(request)}"
    for path, data in CONTENT.items():
        s3.put_object(Bucket="mlflow", Key=f"registry/{path}", Body=data)

    def make(model, versions, tags=None, **aliases):
        def said(tags):
            return {key: value.replace("SERVICE", service) for key, value in (tags or {}).items()}

        name = f"{model}-{id(request)}"
        mlflow.register(name, said(tags))
        for number in versions:
            mlflow.version(name, "s3://mlflow/registry", said(number))
        for alias, number in aliases.items():
            mlflow.ask("registered-models/alias", name=name, alias=alias, version=number)
        return name

    def ask(**more):
        found = named(service, type="mlflow", connection="tracking", artifacts=store, **more)
        return {key.replace(f"-{id(request)}", ""): one for key, one in found.items()}

    return SimpleNamespace(make=make, ask=ask, service=service)


SERVICE = {"service": "SERVICE"}
NAMES = {
    "a tagged version, of a model without the tag": (([{}, SERVICE, {}], {}, {}), ["m 2"]),
    "each of several tagged versions": (([SERVICE, {}, SERVICE], {}, {}), ["m 1", "m 3"]),
    "a version that is tagged for several services": (([{"service": "search, SERVICE"}], {}, {}), ["m 1"]),
    "the tagged version of a tagged model": (([SERVICE, {}], SERVICE, {"champion": "2"}), ["m 1"]),
    "what the aliases of a tagged model lead to": (([{}] * 3, SERVICE, {"champion": "1", "next": "2"}), ["m 1", "m 2"]),
    "the newest version of a tagged model without aliases": (([{}] * 11, SERVICE, {}), ["m 11"]),
    "what a tag of a tagged model lists": (
        ([{}] * 4, SERVICE | {"service.versions": "3, champion"}, {"champion": "1"}),
        ["m 1", "m 3"],
    ),
}


@pytest.mark.parametrize(("made", "names"), NAMES.values(), ids=NAMES)
def test_mlflow_names_what_its_users_tagged(tagged, made, names):
    versions, tags, aliases = made
    tagged.make("m", versions, tags, **aliases)
    found = tagged.ask()
    assert list(found) == names
    assert {one.problem for one in found.values()} == {""}
    for one in found.values():
        assert (held(one).label, held(one).files) == (one.version, len(CONTENT))


def test_a_tag_that_names_a_missing_version_or_alias_is_a_clear_error_of_that_entry_only(tagged):
    tagged.make("good", [SERVICE])
    tagged.make("gone", [{}], SERVICE | {"service.versions": "1,7,champion"})
    found = tagged.ask()
    assert sorted(found) == ["gone 1", "gone 7", "gone champion", "good 1"]
    for name, problem in {
        "gone 7": "has no version '7', or not any more; there are: 1",
        "gone champion": "no alias",
    }.items():
        with pytest.raises(Failure, match=problem) as missing:
            held(found[name])
        assert missing.value.code is ExitCode.NOT_FOUND
    assert held(found["good 1"]).files == held(found["gone 1"]).files == len(CONTENT)


def test_a_tagged_model_without_a_version_is_a_problem_of_its_own(tagged):
    tagged.make("good", [SERVICE])
    tagged.make("empty", [], SERVICE)
    found = tagged.ask()
    assert "has no version that is ready" in found["empty"].problem
    assert found["good 1"].problem == ""


def test_a_name_that_only_looks_alike_is_not_named(tagged):
    tagged.make("good", [SERVICE])
    tagged.make("other", [{"service": "SERVICEs"}, {"service": "my-SERVICE"}], {"service": "SERVICE_"})
    assert list(tagged.ask()) == ["good 1"]


def test_a_model_that_is_no_dns_label_is_named_by_its_file_and_else_a_problem(tagged, tmp_path):
    one, two = (tagged.make(name, [SERVICE]) for name in ("Prod.One", "Prod.Two"))
    source = {"type": "mlflow", "model": one, "connection": "tracking"}
    parsed = TypeAdapter(AnySource).validate_python(source)
    catalog = Catalog(tmp_path, models={"one": SimpleNamespace(name="one", source=parsed)})
    found = tagged.ask(catalog=catalog)
    assert found["one 1"].problem == ""
    assert found["one 1"].source["model"] == one
    assert "is no DNS label" in found["Prod.Two 1"].problem
    assert two in found["Prod.Two 1"].problem


def test_own_tags_take_the_place_of_the_service(tagged):
    tagged.make("staging", [{"stage": "staging", "team": "SERVICE"}])
    tagged.make("prod", [{"stage": "prod", "team": "SERVICE"}])
    assert list(tagged.ask(tags={"stage": "prod", "team": tagged.service})) == ["prod 1"]


def test_a_registry_that_names_nothing_is_taken_for_a_mistake(tagged):
    with pytest.raises(Failure, match="names nothing for service") as nothing:
        tagged.ask()
    assert nothing.value.code is ExitCode.NOT_FOUND


def test_a_registry_that_is_down_is_worth_another_try(connect, named, monkeypatch):
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    connect("down", conn_type="http", host="127.0.0.1", port=9)
    with pytest.raises(Failure, match="The registry could not be had") as down:
        named(type="mlflow", connection="down")
    assert down.value.code is ExitCode.UNREACHABLE


def test_folders_in_s3_name_models_and_versions(bucket, store, named):
    at = bucket.put({"chat/minilm/v1/" + path: data for path, data in CONTENT.items()}, bucket.url.rpartition("/")[2])
    bucket.put(
        {"chat/minilm/v2/a/b": b"2", "chat/adapter/2026.1/a": b"3", "search/x/v1/a": b"4"}, at.rpartition("/")[2]
    )
    found = named(type="s3", url=at, connection=store)
    assert sorted(found) == ["adapter 2026.1", "minilm v1", "minilm v2"]
    assert held(found["minilm v1"]).files == len(CONTENT)
    assert [file.path for file in held(found["minilm v2"]).held.files] == ["a/b"]


def test_what_does_not_fit_the_convention_is_a_problem_of_that_entry_only(bucket, store, named):
    files = {"good/v1/a": b"1", "Bad_Name/v1/a": b"1", "good/v 2/a": b"1", "flat/model.gguf": b"1", "empty/v1/": b""}
    at = bucket.put({f"chat/{path}": data for path, data in files.items()}, bucket.url.rpartition("/")[2])
    found = named(type="s3", url=at, connection=store)
    assert found["good v1"].problem == ""
    assert "is no DNS label" in found["Bad_Name v1"].problem
    assert "is no name of a version" in found["good v 2"].problem
    assert "has no folder of a version" in found["flat"].problem
    assert len(found) == 4


def test_a_bucket_without_the_services_folder_names_nothing(bucket, store, named):
    with pytest.raises(Failure, match="names nothing for service 'chat'"):
        named(type="s3", url=bucket.url, connection=store)


def test_folders_in_gcs_name_models_and_versions(gcs, named, connect):
    connect("google", conn_type="google_cloud_platform", extra={"is_anonymous": True, "project": "t"})
    for path, data in {"r/chat/minilm/v1/a": b"1", "r/chat/minilm/v2/b/c": b"2"}.items():
        gcs.blob(path).upload_from_string(data)
    found = named(type="gcs", url=f"gs://{gcs.name}/r", connection="google")
    assert list(found) == ["minilm v1", "minilm v2"]
    assert [file.path for file in held(found["minilm v2"]).held.files] == ["b/c"]


@pytest.fixture
def drive(monkeypatch):
    server = Drive()
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)
    yield server
    server.web.close()


def test_folders_in_drive_name_models_and_versions_and_two_of_one_name_are_neither(drive, connect, named):
    connect("drive", conn_type="google_cloud_platform", host=drive.url, extra={"keyfile_dict": drive.key()})
    root = drive.add("registry")
    minilm = drive.add("minilm", parent=drive.add("chat", parent=root))
    drive.add("model.gguf", b"GGUF", drive.add("v1", parent=minilm))
    for data in (b"one", b"two"):
        drive.add("model.gguf", data, drive.add("v2", parent=minilm))
    found = named(type="drive", item=root, connection="drive")
    assert [file.path for file in held(found["minilm v1"]).held.files] == ["model.gguf"]
    assert "named 2 times, with different bytes" in found["minilm v2"].problem
    with pytest.raises(Failure, match="has no folder 'search'"):
        named("search", type="drive", item=root, connection="drive")


def test_a_check_of_the_catalog_asks_the_registries_and_says_what_is_wrong_with_what_they_name(
    bucket, store, connect, tmp_path
):
    connect("modelberth_signing", conn_type="generic", password=base64.b64encode(bytes(32)).decode())
    at = bucket.put({"chat/good/v1/a": b"1", "chat/Bad/v1/a": b"1"}, bucket.url.rpartition("/")[2])
    service = yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text())
    places = {name: {"url": f"s3://models/{name}", "connection": store} for name in ("bucket", "receipts")}
    shutil.copytree(PROJECT / "include/models", tmp_path / "models")
    (tmp_path / "services").mkdir()
    for name, url in {"chat": at, "silent": f"{at}/nothing"}.items():
        stage = {"registry": {"type": "s3", "url": url, "connection": store}, **places}
        workload = {"kind": "Deployment", "name": name}
        document = yaml.safe_dump(service | {"stage": stage, "workload": workload})
        (tmp_path / f"services/{name}.yaml").write_text(document)
    rows = survey(load(tmp_path), ["chat", "silent"])
    assert [(row.name, row.what, row.problem.partition("(")[0].strip()) for row in rows] == [
        ("chat", "registry", "Bad v1: 'Bad' is no DNS label"),
        ("silent", "registry", "The s3 registry"),
    ]
    shutil.rmtree(tmp_path / "services")
    (tmp_path / "services").mkdir()
    (tmp_path / "services/good.yaml").write_text(document.replace(f"{at}/nothing", at))
    bucket.put({"good/small/v1/a": b"1"}, bucket.url.rpartition("/")[2])
    assert [row.problem for row in survey(load(tmp_path), ["good"])] == [""]
