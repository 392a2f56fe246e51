"""What a pod declares: the variable, and where its path leads in the pod itself."""

from __future__ import annotations

import pytest

from modelberth.kubernetes.declared import declared
from plans import a_deployment, a_target

TARGET = a_target()
TO = TARGET.bindings[0].to


def a_pod(change=lambda spec, server: None):
    spec = a_deployment([{"name": "MODEL_PATH", "value": TO}])["spec"]["template"]["spec"]
    change(spec, spec["containers"][0])
    return {"spec": spec}


def mounts(*entries):
    return lambda _, server: server.update(volumeMounts=list(entries))


def volume(**source):
    return lambda spec, _: spec["volumes"][0].update(persistentVolumeClaim=source)


def beside(entry):
    """Put another volume into the pod, mounted as *entry* says."""

    def change(spec, server):
        spec["volumes"].append({"name": "other", "emptyDir": {}})
        server["volumeMounts"].append(entry)

    return change


MODELS = {"name": "models", "mountPath": "/models"}


@pytest.mark.parametrize(
    "change",
    [
        lambda spec, server: None,
        mounts(MODELS),
        mounts(MODELS | {"mountPath": "/models/"}),
        mounts({"name": "models", "mountPath": "/elsewhere"}, MODELS),
        beside({"name": "other", "mountPath": "/tmp"}),
        beside({"name": "other", "mountPath": "/models/min"}),
        beside({"name": "other", "mountPath": "/"}),
    ],
)
def test_a_pod_whose_path_leads_to_the_snapshot_has_declared_it(change):
    assert declared(TARGET, a_pod(change)) == []


@pytest.mark.parametrize(
    "change",
    [
        mounts(),
        mounts(MODELS | {"mountPath": "/elsewhere"}),
        mounts(MODELS | {"mountPath": "/models/minilm"}),
        mounts(MODELS | {"subPath": "old"}),
        mounts(MODELS | {"subPathExpr": "$(OLD)"}),
        volume(claimName="models"),
        volume(claimName="models", readOnly=False),
        volume(claimName="another", readOnly=True),
        beside({"name": "other", "mountPath": "/models/minilm"}),
        beside({"name": "other", "mountPath": TO}),
    ],
)
def test_a_pod_whose_path_leads_elsewhere_has_not(change):
    [problem] = declared(TARGET, a_pod(change))
    assert "does not lead to snapshot" in problem


def test_a_pod_with_another_value_or_without_the_container_has_not():
    other = declared(TARGET, a_pod(lambda _, server: server.update(env=[])))
    assert other == [f"server/MODEL_PATH is None, expected {TO!r}"]
    assert len(declared(TARGET, a_pod(lambda _, server: server.update(name="another")))) == 2
