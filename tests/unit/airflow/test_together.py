"""What may be switched together: said before anything is moved."""

import pytest

from modelberth.catalog import load
from modelberth.catalog.together import together_problems
from modelberth.operators.resolve import look

FAR = {"workload": {"kind": "Deployment", "name": "far"}}


@pytest.fixture
def several(catalog):
    """Writes models base, adapter and others, and the service that serves them."""
    binding = catalog.service["bindings"][0]
    for name in ("adapter", "elsewhere", "nowhere"):
        catalog.write(f"models/{name}.yaml", catalog.model)
    catalog.write("models/apart.yaml", catalog.model | {"receipts": {**catalog.model["receipts"], "url": "s3://apart"}})
    bindings = [
        binding,
        binding | {"variable": "ADAPTER_PATH", "model": "adapter"},
        binding | {"variable": "APART_PATH", "model": "apart"},
        binding | {"variable": "ELSEWHERE_PATH", "model": "elsewhere"},
        binding | {"variable": "ELSEWHERE_PATH", "model": "elsewhere"} | FAR,
    ]
    catalog.write("services/embedder.yaml", catalog.service | {"bindings": bindings})


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], None),
        (["adapter"], None),
        (["minilm"], "expected other models than 'minilm', each once"),
        (["adapter", "adapter"], "each once"),
        (["nobody"], "'with' names 'nobody', which is no model; there are: adapter"),
        (["nowhere"], "No service binds model 'nowhere'"),
        (["elsewhere"], "Model 'elsewhere' is served by embedder-far as well, which a release of 'minilm' does not"),
        (["apart"], "keep their receipts in different places"),
    ],
)
def test_what_cannot_be_switched_together_is_said(several, others, said):
    problems = together_problems(load(), "minilm", others)
    assert bool(problems) is bool(said)
    assert (said or "") in " ".join(problems)


@pytest.mark.parametrize("proposed", [True, False])
def test_a_model_without_a_release_that_waits_cannot_come_along(several, objects, monkeypatch, proposed):
    from modelberth.receipts import ledger

    for name in ("S3", "RECEIPTS", "KUBERNETES"):
        monkeypatch.setenv(f"AIRFLOW_CONN_MODELBERTH_{name}", "generic://")
    monkeypatch.setattr("modelberth.operators.resolve._ask_cluster", lambda *_: [])
    catalog = load()
    if proposed:
        ledger(catalog.model("adapter")).record("proposed", "20260101t000000z-0000000000", source_version="v1")
    _, findings = look(catalog, catalog.model("minilm"), "20260102t000000z-0000000000", ["adapter"])
    said = [one.text for one in findings["with"]]
    assert bool(said) is not proposed
    assert all("Model 'adapter' has no release that waits for a decision: start release_adapter" in one for one in said)
