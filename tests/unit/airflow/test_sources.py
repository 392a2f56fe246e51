"""Every kind of source looks the same from outside, and nothing is asked before somebody wants to know."""

import inspect
from types import SimpleNamespace
from typing import get_args

import pytest
from pydantic import TypeAdapter

from modelberth.catalog.sources import AnySource
from modelberth.sources import Source, place_of, source_of

KINDS = {
    "directory": ({"path": "/models/minilm"}, "directory '/models'"),
    "s3": ({"url": "s3://raw/minilm", "connection": "raw"}, "'raw' (connection 'raw')"),
    "gcs": ({"url": "gs://raw/minilm", "connection": "raw"}, "'raw' (connection 'raw')"),
    "http": ({"url": "https://host:8443/minilm", "files": ["a"]}, "host:8443"),
    "huggingface": ({"repository": "org/minilm", "connection": "hub"}, "the Hub (connection 'hub')"),
    "mlflow": ({"model": "minilm", "connection": "tracking"}, "MLflow (connection 'tracking')"),
    "oci": ({"reference": "ghcr.io/org/minilm:v1"}, "ghcr.io"),
    "drive": ({"item": "1a2b", "connection": "drive"}, "Drive"),
    "a link of drive": ({"type": "drive", "item": "1a2b"}, "Drive"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    keys, place = KINDS[request.param]
    source = TypeAdapter(AnySource).validate_python({"type": request.param} | keys)
    return SimpleNamespace(source=source, name="minilm", size_limit=None), place


def test_no_kind_is_left_out():
    union, _ = get_args(AnySource)
    kinds = {get_args(one.model_fields["type"].annotation)[0] for one in get_args(union)}
    assert kinds == {keys.get("type", name) for name, (keys, _) in KINDS.items()}


@pytest.mark.parametrize("method", ["versions", "resolve", "credentials"])
def test_every_kind_has_what_the_protocol_asks_for(kind, method):
    model, _ = kind
    ours, asked = (inspect.signature(getattr(one, method)) for one in (source_of(model), Source))
    wanted = [one for name, one in asked.parameters.items() if name != "self"]
    assert [(one.name, one.default) for one in ours.parameters.values()] == [(one.name, one.default) for one in wanted]
    assert ours.return_annotation == asked.return_annotation


def test_what_is_down_together_is_one_place(kind):
    model, place = kind
    assert place_of(model) == place
