"""What a pod template may use of a claim, as far as it says."""

import pytest

from modelberth.kubernetes.templates import doubts, pod_specs
from modelberth.kubernetes.volumes import Claims, Storage

HEX = "a" * 64
SNAPSHOT = f"/models/minilm/{HEX}.1/files"
CLAIMS = Claims(Storage("nfs", "s", "/x"), frozenset({("serving", "models")}), frozenset({("serving", "part")}))
ALL, MINILM, NOTHING = [None], ["minilm"], []


def env(**values):
    return {"env": [{"name": name, "value": value} for name, value in values.items()]}


def taken(name, kind, source="x", key="k"):
    return {"env": [{"name": name, "valueFrom": {kind: {"name": source, "key": key}}}]}


def judged(container, config=None, mount=None, claim="models", **spec):
    mounts = [{"name": "claim", "mountPath": "/models"} | (mount or {})]
    volumes = [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}]
    whole = {"containers": [{"name": "server", "volumeMounts": mounts, "image": f"i@sha256:{HEX}"} | container]}
    found = doubts({"volumes": volumes} | whole | spec, "Pod serving/p", "serving", CLAIMS, {"minilm"}, config)
    return [one.model for one in found]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (env(MODEL_PATH=SNAPSHOT), NOTHING),
        (env(MODEL_PATH="/models/none"), NOTHING),
        (env(MODEL_PATH=f"/models/minilm/{HEX}.1"), NOTHING),
        (env(REVISION=f"minilm@sha256:{HEX}"), NOTHING),
        ({"args": ["--model", SNAPSHOT]}, NOTHING),
        ({"command": ["sh", "-c", f"exec serve --model={SNAPSHOT}"]}, NOTHING),
        (env(M="minilm", R=f"{HEX}.1") | {"args": ["/models/$(M)/$(R)/files"]}, NOTHING),
        ({}, ALL),
        (env(OTHER="x"), ALL),
        (env(OTHER="/data/models/minilm"), ALL),
        (env(MODEL_PATH="/models"), ALL),
        (env(MODEL_PATH="/models/"), ALL),
        ({"args": ["--model-repository=/models"]}, ALL),
        ({"command": ["sh", "-c", "ls /models; serve"]}, ALL),
        (env(MODEL_PATH="/models/minilm"), MINILM),
        (env(MODEL_PATH="/models/minilm/current"), MINILM),
        (env(A=SNAPSHOT, B="/models/minilm"), MINILM),
        (env(A=SNAPSHOT, B="/models/.."), ALL),
        ({"args": ["/models-of-others/x"]}, ALL),
        (taken("MODEL_PATH", "secretKeyRef"), ALL),
        (taken("MODEL_PATH", "configMapKeyRef"), ALL),
        ({"env": [*env(A=SNAPSHOT)["env"], *taken("MODEL_B_PATH", "secretKeyRef")["env"]]}, ALL),
        ({"env": [*env(A=SNAPSHOT)["env"], *taken("HF_TOKEN", "secretKeyRef")["env"]]}, NOTHING),
        ({"env": [*env(A=SNAPSHOT)["env"], *taken("VLLM_API_KEY", "secretKeyRef")["env"]]}, NOTHING),
        (env(A=SNAPSHOT) | {"envFrom": [{"secretRef": {"name": "x"}}]}, NOTHING),
        ({"envFrom": [{"secretRef": {"name": "x"}}]}, ALL),
    ],
)
def test_a_container_that_has_the_claim_may_use(container, expected):
    assert judged(container) == expected


@pytest.mark.parametrize(
    ("container", "config", "expected"),
    [
        (taken("MODEL_PATH", "configMapKeyRef"), {"x": {"k": SNAPSHOT}}, NOTHING),
        (taken("MODEL_PATH", "configMapKeyRef"), {"x": {"k": "/models/minilm"}}, MINILM),
        (taken("MODEL_PATH", "configMapKeyRef"), {"x": {"other": SNAPSHOT}}, ALL),
        (taken("MODEL_PATH", "configMapKeyRef"), {}, ALL),
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, {"x": {"MODEL_PATH": SNAPSHOT}}, NOTHING),
        ({"envFrom": [{"configMapRef": {"name": "x"}}]}, {"x": {"MODEL_PATH": "/models"}}, ALL),
    ],
)
def test_what_a_configmap_says_that_can_be_read_is_read(container, config, expected):
    assert judged(container, config) == expected


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ({"subPath": f"minilm/{HEX}.1/files"}, NOTHING),
        ({"subPath": "minilm"}, MINILM),
        ({"subPath": "other"}, NOTHING),
        ({"mountPath": "/m/", "subPath": "minilm"}, MINILM),
    ],
)
def test_a_part_of_the_claim_that_is_mounted_is_named_by_that(mount, expected):
    assert judged({}, mount=mount) == expected


def test_a_path_in_a_part_of_the_claim_is_one_of_the_claims():
    assert judged(env(MODEL_PATH=f"/models/{HEX}.1/files"), mount={"subPath": "minilm"}) == MINILM
    assert judged(env(R=f"{HEX}.1"), mount={"subPathExpr": "minilm/$(R)/files"}) == NOTHING


def test_a_pod_without_the_claim_uses_nothing():
    assert judged({}, claim="other") == NOTHING
    assert judged({"volumeMounts": []}) == NOTHING


def test_of_storage_that_is_mounted_elsewhere_only_names_are_understood():
    assert judged(env(MODEL_PATH="/models/none"), claim="part") == ALL
    assert judged(env(MODEL_PATH=SNAPSHOT), claim="part") == NOTHING


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_other_kinds_of_containers_are_judged_too(kind):
    mounts = [{"name": "claim", "mountPath": "/models"}]
    assert judged(env(MODEL_PATH=SNAPSHOT), **{kind: [{"name": "i", "volumeMounts": mounts}]}) == ALL


def test_a_claim_that_a_statefulset_had_made_is_the_claim():
    claims = Claims(CLAIMS.storage, frozenset({("serving", "data-embedder-0")}))
    spec = {"containers": [{"name": "server", "volumeMounts": [{"name": "data", "mountPath": "/models"}]}]}
    assert [one.model for one in doubts(spec, "StatefulSet", "serving", claims, {"minilm"}, None)] == ALL
    assert list(doubts(spec, "StatefulSet", "elsewhere", claims, {"minilm"}, None)) == []


def test_pods_are_found_wherever_an_object_has_them():
    spec = {"containers": []}
    assert list(pod_specs({"kind": "Pod", "spec": spec})) == [spec]
    assert list(pod_specs({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}})) == [spec]
    assert list(pod_specs({"data": {"spec": {"template": {"spec": spec, "$patch": "replace"}}}})) == [spec]
    assert list(pod_specs({"template": {"spec": spec}})) == [spec]
    assert list(pod_specs({"spec": {"replicas": 1}})) == []
