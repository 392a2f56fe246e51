"""An OCI registry: a real one, with a login, tokens that expire, ModelPack's layout and ORAS'."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from binaries import REGISTRY

from model_files import CONTENT
from modelberth.core.failure import ExitCode, Failure
from modelberth.sources import web as asking
from modelberth.sources.oci import OciArtifact
from real_servers import free_port, started, stopped
from web_server import WebServer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
PATH = "org.cncf.model.filepath"
RAW, TAR = "application/vnd.cncf.model.weight.v1.raw", "application/vnd.cncf.model.weight.v1.tar"
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
HTPASSWD = "me:$2b$04$OO9Jl4.JElzloiWEBYrnSev.cjhnSJ12wZaKgrzMe2PBnpvf7Gel2\n"  # bcrypt of "secret"


def registry(home, **auth):
    """Start the program; return its process and address."""
    port = free_port()
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
        **auth,
    }
    (home / "config.yaml").write_text(json.dumps(config))
    program = REGISTRY.ensure(home / "build.log") / "registry"
    url = f"http://127.0.0.1:{port}"
    return started([str(program), "serve", str(home / "config.yaml")], f"{url}/v2/", home / "log"), url


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory):
    process, url = registry(tmp_path_factory.mktemp("registry"))
    yield url
    stopped(process)


def call(method, url, data=None, **headers):
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(url, data, said, method=method)) as answer:  # noqa: S310 - our own server
        return answer.headers


class Repository:
    """A repository of its own, and a client that pushes to it."""

    def __init__(self, url, **headers):
        self.name = f"org/m{uuid.uuid4().hex[:8]}"
        self.url = f"{url}/v2/{self.name}"
        self.host = url.removeprefix("http://")
        self._headers = headers

    def ref(self, tag):
        return f"{self.host}/{self.name}:{tag}"

    def layer(self, data, kind=RAW, **annotations):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        where = call("POST", f"{self.url}/blobs/uploads/", b"", **self._headers)["Location"]
        where = where if where.startswith("http") else f"http://{self.host}{where}"
        more = {"Content_Type": "application/octet-stream", **self._headers}
        call("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", data, **more)
        row = {"mediaType": kind, "digest": digest, "size": len(data)}
        return row | ({"annotations": annotations} if annotations else {})

    def push(self, tag, *layers, kind=MANIFEST, **more):
        config = self.layer(b"{}", "application/vnd.cncf.model.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": list(layers), **more}
        return self.put(tag, manifest, kind)

    def put(self, tag, document, kind=MANIFEST):
        data = json.dumps(document).encode()
        call("PUT", f"{self.url}/manifests/{tag}", data, Content_Type=kind, **self._headers)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def model(self, tag, files):
        return self.push(tag, *(self.layer(data, RAW, **{PATH: path}) for path, data in files.items()))


@pytest.fixture
def repository(open_registry):
    return Repository(open_registry)


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(asking.time, "sleep", lambda seconds: None)


def tarred(files, zipped=False):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if zipped else "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def refusal(source, version=""):
    with pytest.raises(Failure) as refused:
        source.resolve(version)
    return refused.value


# Layouts. -------------------------------------------------------------------------------------------------------------


def test_raw_layers_of_a_modelpack_are_its_files(repository, shipped):
    digest = repository.model("v1", CONTENT)
    found = shipped(OciArtifact(repository.ref("v1")), CONTENT)
    assert found.label == digest
    assert {file.sha256 for file in found.held.files} == {hashlib.sha256(data).hexdigest() for data in CONTENT.values()}


def test_files_that_oras_pushed_are_files(repository, shipped):
    kind = "application/octet-stream"
    repository.push("v1", *(repository.layer(data, kind, **{TITLE: path}) for path, data in CONTENT.items()))
    shipped(OciArtifact(repository.ref("v1")), CONTENT)


@pytest.mark.parametrize("zipped", [False, True], ids=["tar", "tar+gzip"])
def test_tar_layers_are_what_is_in_them(repository, fetched, program, local, zipped):
    weights = {path: data for path, data in CONTENT.items() if path.endswith("safetensors")}
    others = {path: data for path, data in CONTENT.items() if path not in weights}
    packed = repository.layer(tarred(weights, zipped), TAR + "+gzip" * zipped, **{PATH: "model.safetensors"})
    oras = {TITLE: "sub", "io.deis.oras.content.unpack": "true"}
    folder = repository.layer(tarred(others, True), "application/vnd.oci.image.layer.v1.tar+gzip", **oras)
    data = repository.layer(b"rows", "application/vnd.cncf.model.dataset.v1.raw", **{PATH: "rows.csv"})
    repository.push("v1", packed, folder, data)
    source = OciArtifact(repository.ref("v1"))
    ran = fetched(source, source.resolve())
    assert ran.code == 0, ran.result
    assert ran.result["revision"] == "minilm@" + program("manifest", local(CONTENT)).result["digest"]


def test_an_index_of_one_is_followed_and_one_of_several_refused(repository, shipped):
    rows = []
    for number in (1, 2):
        digest = repository.model(f"m{number}", CONTENT | {"n": b"%d" % number})
        size = len(urlopen(Request(f"{repository.url}/manifests/{digest}", headers={"Accept": MANIFEST})).read())  # noqa: S310
        rows.append({"mediaType": MANIFEST, "digest": digest, "size": size})
    index = "application/vnd.oci.image.index.v1+json"
    for tag, some in (("one", rows[:1]), ("two", rows)):
        repository.put(tag, {"schemaVersion": 2, "mediaType": index, "manifests": some}, index)
    shipped(OciArtifact(repository.ref("one")), CONTENT | {"n": b"1"})
    assert "an index of several" in str(refusal(OciArtifact(repository.ref("two"))))


# Versions. ------------------------------------------------------------------------------------------------------------


def test_a_tag_that_moves_is_another_version_and_what_was_proposed_is_still_to_be_had(repository, shipped):
    first = repository.model("latest", CONTENT)
    source = OciArtifact(repository.ref("latest"))
    before = source.resolve()
    repository.model("latest", CONTENT | {"config.json": b"[]"})
    assert source.resolve().name != before.name
    assert source.resolve(before.label) == before
    shipped(source, CONTENT, version=first)


def test_versions_are_the_tags_and_the_digests_that_they_name(repository):
    digests = {tag: repository.model(tag, {"v": tag.encode()}) for tag in ("v1", "v2")}
    assert OciArtifact(repository.ref("v1")).versions() == digests


def test_a_tag_that_was_deleted_is_named_with_those_that_are_left(repository):
    repository.model("v1", {"a": b"1"})
    digest = repository.model("v2", {"a": b"2"})
    source = OciArtifact(repository.ref("v2"))
    call("DELETE", f"{repository.url}/manifests/{digest}")
    failure = refusal(source)
    assert failure.code is ExitCode.NOT_FOUND
    assert "has no 'v2', or not any more; there are: v1" in str(failure)
    assert refusal(source, digest).code is ExitCode.NOT_FOUND


def test_a_repository_that_is_not_there_is_said(open_registry):
    failure = refusal(OciArtifact(f"{open_registry.removeprefix('http://')}/org/nothing:v1"))
    assert failure.code is ExitCode.NOT_FOUND


# What is no model. ----------------------------------------------------------------------------------------------------


def test_a_container_image_is_refused(repository):
    repository.push("v1", repository.layer(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip"))
    failure = refusal(OciArtifact(repository.ref("v1")))
    assert failure.code is ExitCode.REFUSED
    assert "is none of ModelPack or ORAS" in str(failure)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", ".modelberth/x"])
def test_a_path_that_no_model_may_have_is_refused(repository, path):
    repository.push("v1", repository.layer(b"x", RAW, **{PATH: path}))
    assert refusal(OciArtifact(repository.ref("v1"))).code is ExitCode.REFUSED


def test_a_bomb_in_a_layer_is_given_up(repository, fetched):
    data = gzip.compress(tarred({"zeros": bytes(20_000_000)}))
    repository.push("v1", repository.layer(data, TAR + "+gzip", **{PATH: "zeros"}))
    source = OciArtifact(repository.ref("v1"))
    ran = fetched(source, source.resolve())
    assert (ran.code, "would unpack to more than" in ran.problem) == (ExitCode.REFUSED, True)


def tar_layers(repository, *layers):
    packed = [repository.layer(tarred(files), TAR, **{PATH: f"part-{n}"}) for n, files in enumerate(layers)]
    repository.push("v1", *packed, repository.layer(b"{}", RAW, **{PATH: "config.json"}))
    return repository.ref("v1")


def test_layers_that_together_are_more_than_the_model_may_have_are_refused(repository, bucket, fetched):
    at = tar_layers(repository, {"a.bin": bytes(40_000)}, {"b.bin": bytes(40_000)})
    for limit, code in ((80_001, ExitCode.REFUSED), (80_002, 0)):
        source = OciArtifact(at, None, limit)
        ran = fetched(source, source.resolve())
        assert ran.code == code, ran.result
        if code:
            assert "would unpack to more than 80001 bytes" in ran.problem
            assert "nothing was published" in ran.problem
            assert "a larger size_limit" in ran.problem
            assert not [key for key in bucket.names() if "/fetch/" not in key]


def test_layers_without_a_limit_may_not_unpack_to_ten_times_what_they_are_together(repository):
    held = OciArtifact(tar_layers(repository, {"a.bin": bytes(9_000)}, {"b.bin": bytes(9_000)})).resolve().held
    packed = sum(archive.file.size for archive in held.archives)
    assert [archive.most for archive in held.archives] == [10 * packed + len(b"{}")] * 2


def test_a_file_that_two_layers_hold_is_refused_and_never_tried_again(repository, bucket, fetched):
    source = OciArtifact(tar_layers(repository, {"model.bin": b"1"}, {"model.bin": b"2"}))
    ran = fetched(source, source.resolve())
    assert (ran.code, ran.result["outcome"]) == (ExitCode.REFUSED, "refused")
    assert "member 'model.bin' is in two archives of the model" in ran.problem
    assert not [key for key in bucket.names() if "/fetch/" not in key]


# Logins. --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def locked_registry(tmp_path_factory):
    """A registry that lets in who has the password."""
    home = tmp_path_factory.mktemp("locked")
    (home / "users").write_text(HTPASSWD)
    process, url = registry(home, auth={"htpasswd": {"realm": "here", "path": str(home / "users")}})
    yield url
    stopped(process)


def test_a_private_registry_is_read_with_the_connections_login_and_not_without(locked_registry, connect, shipped):
    repository = Repository(locked_registry, Authorization=BASIC)
    repository.model("v1", CONTENT)
    name = connect("registry", conn_type="http", login="me", password="secret")
    shipped(OciArtifact(repository.ref("v1"), name), CONTENT)
    without = refusal(OciArtifact(repository.ref("v1")))
    assert (without.code, "Give the source a connection" in str(without)) == (ExitCode.DENIED, True)
    wrong = refusal(
        OciArtifact(repository.ref("v1"), connect("wrong", conn_type="http", login="me", password="not-it"))
    )
    assert wrong.code is ExitCode.DENIED
    assert "not-it" not in str(wrong)
    with pytest.raises(HTTPError):
        call("GET", f"{repository.url}/tags/list")


class Tokens:
    """Before an open registry: lets through who has a token that it gave for the password, a few times each."""

    def __init__(self, registry_url, uses=1000):
        self.behind, self.uses = registry_url, uses
        self.given = {}
        self.web = WebServer()
        self.web.api = self.answered

    @property
    def url(self):
        return self.web.url

    def answered(self, address, headers):
        said = headers.get("Authorization", "")
        if address.startswith("/token"):
            if said != BASIC:
                return 401, {}, b"{}"
            token = f"t{len(self.given)}"
            self.given[f"Bearer {token}"] = self.uses
            return 200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode()
        self.given[said] = self.given.get(said, 0) - 1
        if self.given[said] < 0:
            challenge = f'Bearer realm="{self.url}/token",service="registry",scope="repository:org/m:pull"'
            return 401, {"WWW-Authenticate": challenge}, b'{"errors": [{"code": "UNAUTHORIZED"}]}'
        return self.passed(address, headers)

    def passed(self, address, headers):
        kept = {name: headers[name] for name in ("Accept", "Range") if name in headers}
        try:
            with urlopen(Request(f"{self.behind}{address}", headers=kept)) as answer:  # noqa: S310 - our own server
                status, said, body = answer.status, answer.headers, answer.read()
        except HTTPError as error:
            status, said, body = error.code, error.headers, error.read()
        return status, {name: said[name] for name in ("Content-Type", "Content-Range", "ETag") if name in said}, body


def test_a_registry_that_hands_out_tokens_is_given_new_ones_when_they_expire(
    repository, open_registry, connect, fetched
):
    repository.model("v1", CONTENT)
    tokens = Tokens(open_registry, uses=5)  # more than there are files, which are looked at all at once
    try:
        name = connect("registry", conn_type="http", login="me", password="secret")
        at = repository.ref("v1").replace(repository.host, tokens.url.removeprefix("http://"))
        source = OciArtifact(at, name)
        ran = fetched(source, source.resolve(), "--concurrency", "1")
        assert ran.code == 0, ran.result
        assert len([one for one in tokens.given if one.startswith("Bearer t")]) > 2
        without = refusal(OciArtifact(at))
        assert without.code is ExitCode.DENIED
    finally:
        tokens.web.close()


def test_a_registry_that_limits_pulls_is_asked_later():
    web = WebServer()
    web.refuse = lambda path, headers: (429, {"Retry-After": "3600"}, b"")
    failure = refusal(OciArtifact(f"{web.url.removeprefix('http://')}/org/m:v1"))
    web.close()
    assert failure.code.worth_retrying
    assert "limits how often it is asked" in str(failure)


def test_a_manifest_that_is_not_the_one_of_its_digest_is_refused():
    web = WebServer()
    wanted = f"sha256:{'0' * 64}"
    web.files[f"v2/org/m/manifests/{wanted}"] = b'{"layers": []}'
    failure = refusal(OciArtifact(f"{web.url.removeprefix('http://')}/org/m@{wanted}"))
    web.close()
    assert failure.code is ExitCode.MISMATCH
