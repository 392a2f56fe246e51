"""What an editor says of a catalog file while it is typed."""

import copy
import json

import jsonschema
import pytest
import yaml

from modelberth.catalog import PROJECT, editors

GOOD = {
    "model": yaml.safe_load((PROJECT / "include/models/minilm.yaml").read_text()),
    "service": yaml.safe_load((PROJECT / "include/services/embedder.yaml").read_text()),
}


def marked(kind, document):
    """Return what a validator of the published schema finds wrong."""
    schema = json.loads((editors.FOLDER / f"{kind}.schema.json").read_text())
    return [error.json_path for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


def test_the_published_schemas_are_those_of_the_catalog():
    assert editors.outdated() == [], "run: PYTHONPATH=plugins python -m modelberth schemas"


@pytest.mark.parametrize("kind", GOOD)
def test_the_projects_own_files_are_right(kind):
    assert marked(kind, GOOD[kind]) == []


@pytest.mark.parametrize("kind", GOOD)
def test_a_file_names_its_schema(kind):
    (path,) = (PROJECT / f"include/{kind}s").glob("*.yaml")
    assert f"yaml-language-server: $schema=../schemas/{kind}.schema.json" in path.read_text().splitlines()[0]


BAD = {
    "an unknown key": ("model", ("buckets",), 7, "$"),
    "no bucket": ("model", ("bucket",), None, "$"),
    "a URL of another kind": ("model", ("bucket", "url"), "ftp://x/y", "$.bucket.url"),
    "a secret for a connection": ("model", ("bucket", "connection"), "key=abc def", "$.bucket.connection"),
    "a name in the file": ("model", ("name",), "minilm", "$"),
    "text for a boolean": ("model", ("refresh",), {"paused": "maybe"}, "$.refresh.paused"),
    "an unknown policy": ("model", ("content",), {"code": "strict"}, "$.content.code"),
    "an unknown level": ("service", ("confirm", "level"), "guessed", "$.confirm.level"),
    "no approver": ("service", ("approvers",), [], "$.approvers"),
    "a port beyond all": ("service", ("confirm", "port"), 70000, "$.confirm.port"),
    "a kind that is none": ("service", ("workload", "kind"), "DaemonSet", "$.workload.kind"),
}


@pytest.mark.parametrize(("kind", "keys", "value", "where"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_marked_where_it_is(kind, keys, value, where):
    document = copy.deepcopy(GOOD[kind])
    part = document
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    if value is None:
        del part[keys[-1]]
    assert any(path.startswith(where) for path in marked(kind, document))


def test_one_smoke_request_or_several_are_right():
    document = copy.deepcopy(GOOD["service"])
    document["confirm"]["smoke"] = [document["confirm"]["smoke"]] * 2
    assert marked("service", document) == []
