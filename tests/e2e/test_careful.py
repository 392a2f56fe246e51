"""A service that is careful, in a running Airflow: a pod without traffic, then the canary's workload, then all."""

from __future__ import annotations

from datetime import datetime

import minilm

FIRST = "careful-first"  # as a target: what the service is called, and the workload
SOAK = 5
SERVER = {"container": "server", "variable": "MODEL_PATH", "model": "careful"}
CAREFUL = {
    "bindings": [SERVER | {"workload": {"kind": "Deployment", "name": "first"}}, SERVER],
    "preview": True,
    "canary": {"soak": SOAK},
}


def test_a_release_is_previewed_before_the_gate_and_soaks_at_the_canary_before_the_rest_follows(stand):
    stand.deploy("first")
    model = stand.model("careful", {}, CAREFUL)
    minilm.put_model(model.source, "int8")
    stand.dag(model.dag_id)
    run = model.parked()
    preview = model.receipt(run, f"05-preview-{FIRST}")
    assert preview["result"] == "confirmed"
    assert f"| {FIRST} | confirmed | {preview['node']} |" in stand.admin.question(run, "gate.approve")["body"]
    stand.alice.answer(run, "gate.approve", "Approve")
    model.ended(run, "success")
    first, rest = (model.receipt(run, f"09-outcome-{name}") for name in (FIRST, model.name))
    assert (first["result"], rest["result"]) == ("live", "live")
    began = datetime.fromisoformat(model.receipt(run, f"08-soaking-{FIRST}")["at"])
    follows = datetime.fromisoformat(model.receipt(run, f"08-started-{model.name}")["at"])
    assert (follows - began).total_seconds() >= SOAK
    left = stand.core.list_namespaced_pod(stand.namespace, label_selector="modelberth.dev/preview=true").items
    assert left == [], "a preview holds a pod's room"
