"""The rows of test_rights.py: what Airflow's account may ask of the API server, and what it may not."""

from __future__ import annotations

import copy
import uuid
from typing import Any

import serving
from kubernetes import client, config
from rollouts import workload

APPS, CORE = "/apis/apps/v1", "/api/v1"
SERVED, ORDERED, CANARY, FOREIGN, DATABASE = "served", "ordered", "canary", "foreign", "database"
WORKLOADS = [
    ("Deployment", SERVED),
    ("StatefulSet", ORDERED),
    ("StatefulSet", CANARY),
    ("Deployment", FOREIGN),
    ("StatefulSet", DATABASE),
]
PATH = f"/models/m/{'a' * 64}.1/files"

RIGHTS = {
    "images": "modelsync:1\nmodelsync:2",
    "serviceAccounts": "modelsync",
    "claims": "models",
    "secrets": "bucket\napi-key",
    "variables": f"Deployment/{SERVED}/server/MODEL_PATH\n  StatefulSet/{ORDERED}/server/MODEL_PATH\n"
    f"StatefulSet/{CANARY}/server/MODEL_PATH",
    "canaries": CANARY,
    "previewImages": "vllm:1",
    "previewServiceAccounts": "default",
    "previewSecrets": "tokenizer",
}


class Asking:
    """The API server, asked as one account."""

    def __init__(self, kubeconfig: str) -> None:
        self._api = config.new_client_from_config(kubeconfig)

    def __call__(
        self, method: str, path: str, body: Any = None, query: str = "dryRun=All", kind: str = "application/json"
    ) -> tuple[int, str]:
        """Return status and text of the answer."""
        try:
            answer = self._api.call_api(
                f"{path}?{query}",
                method,
                header_params={"Content-Type": kind, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except client.ApiException as error:
            return error.status, str(error.body)
        return answer.status, answer.data.decode()

    def patch(self, path: str, body: Any) -> tuple[int, str]:
        """Send a JSON patch (a list), or what kubectl patch sends (a dictionary)."""
        kind = "json-patch" if isinstance(body, list) else "strategic-merge-patch"
        return self("PATCH", path, body, kind=f"application/{kind}+json")


def workloads(namespace: str, kind: str) -> str:
    return f"{APPS}/namespaces/{namespace}/{kind.lower()}s"


def two_containers(name: str, kind: str) -> dict[str, Any]:
    """Return a workload with annotations, and a second container that has the variable's name for itself."""
    document = workload(name, kind, "vllm:1", PATH, 0)
    document["metadata"]["annotations"] = {"team": "search", "modelberth.dev/rollout": "r1"}
    template = document["spec"]["template"]
    template["metadata"]["annotations"] = {"scrape": "true"}
    second = copy.deepcopy(template["spec"]["containers"][0]) | {"name": "second"}
    template["spec"]["containers"].append(second)
    return document


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


def container(name: str = "server", **parts: Any) -> dict[str, Any]:
    return template(containers=[{"name": name, **parts}])


def env(variable: str, name: str = "server", **entry: Any) -> dict[str, Any]:
    return container(name, env=[{"name": variable, **entry}])


def notes(on_template: bool = False, **annotations: str | None) -> dict[str, Any]:
    metadata = {"metadata": {"annotations": annotations}}
    return {"spec": {"template": metadata}} if on_template else metadata


FROM_SECRET = {"value": None, "valueFrom": {"secretKeyRef": {"name": "bucket", "key": "AWS_SECRET_ACCESS_KEY"}}}
SERVER, VOLUME = "/spec/template/spec/containers/0", "/spec/template/spec/volumes/0"

MAY_PATCH = {
    "the variable": env("MODEL_PATH", value="/models/m/other/files"),
    "the variable away": [{"op": "remove", "path": f"{SERVER}/env/1"}],
    "the variable twice": [{"op": "add", "path": f"{SERVER}/env/-", "value": {"name": "MODEL_PATH", "value": "/x"}}],
    "the variable and all of our annotations": env("MODEL_PATH", value="/x")
    | notes(
        **{"modelberth.dev/rollout": "r2", "modelberth.dev/receipt": "sha256:1", "kubernetes.io/change-cause": "r2"}
    ),
    "the revision": notes(True, **{"revision.modelberth.dev/m": "m@sha256:1"}),
    "our annotation away": notes(**{"modelberth.dev/rollout": None}),
    "nothing": {},
}

MAY_NOT_PATCH = {
    "another variable": env("OTHER", value="changed"),
    "another variable from a Secret": env("OTHER", **FROM_SECRET),
    "a new variable": env("LD_PRELOAD", value="/models/evil.so"),
    "another variable away": [{"op": "remove", "path": f"{SERVER}/env/0"}],
    "all variables away": [{"op": "remove", "path": f"{SERVER}/env"}],
    "the variable from a Secret": env("MODEL_PATH", **FROM_SECRET),
    "the variable's name in another case": env("model_path", value="/x"),
    "the variable of another container": env("MODEL_PATH", "second", value="/x"),
    "variables from a Secret": container(envFrom=[{"secretRef": {"name": "bucket"}}]),
    "the image": container(image="evil:1"),
    "the other container's image": container("second", image="evil:1"),
    "the command": container(command=["sh"]),
    "the arguments": container(args=["--trust-remote-code"]),
    "a mount": container(volumeMounts=[{"name": "models", "mountPath": "/elsewhere"}]),
    "a mount that can be written": [{"op": "remove", "path": f"{SERVER}/volumeMounts/0/readOnly"}],
    "the probe": container(readinessProbe={"periodSeconds": 60}),
    "a hook": container(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
    "resources": container(resources={"limits": {"cpu": "64"}}),
    "the container's security": container(securityContext={"readOnlyRootFilesystem": False}),
    "a container more": container("third", image="vllm:1"),
    "a container less": [{"op": "remove", "path": "/spec/template/spec/containers/1"}],
    "a container's name": [{"op": "replace", "path": f"{SERVER}/name", "value": "other"}],
    "a container first": template(initContainers=[{"name": "first", "image": "evil:1"}]),
    "a volume": template(volumes=[{"name": "stolen", "secret": {"secretName": "bucket"}}]),
    "the claim's volume, to be written": [{"op": "remove", "path": f"{VOLUME}/persistentVolumeClaim/readOnly"}],
    "the service account": template(serviceAccountName="admin"),
    "a token": template(automountServiceAccountToken=True),
    "the host's network": template(hostNetwork=True),
    "where it runs": template(nodeSelector={"pool": "gpu"}),
    "its grace": template(terminationGracePeriodSeconds=0),
    "the pods' labels": {"spec": {"template": {"metadata": {"labels": {"tier": "public"}}}}},
    "the pods' other annotations": notes(True, **{"kubectl.kubernetes.io/restartedAt": "now"}),
    "the pods' other annotations away": notes(True, scrape=None),
    "replicas": {"spec": {"replicas": 0 + 3}},
    "revisionHistoryLimit": {"spec": {"revisionHistoryLimit": 0}},
    "minReadySeconds": {"spec": {"minReadySeconds": 9}},
    "labels": {"metadata": {"labels": {"app": "x"}}},
    "other annotations": notes(team="mine"),
    "other annotations away": notes(team=None),
    "an annotation that only looks like ours": notes(**{"modelberth.development/x": "1"}),
    "an owner": {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1"}]}},
    "a finalizer": {"metadata": {"finalizers": ["modelberth.dev/hold"]}},
    "the variable and, with it, the image": container(image="evil:1", env=[{"name": "MODEL_PATH", "value": "/x"}]),
}
BOTH = [("Deployment", SERVED), ("StatefulSet", ORDERED)]
ONLY = {
    ("Deployment", "its strategy"): {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 1}}}},
    ("Deployment", "Recreate"): {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    ("Deployment", "a pause"): {"spec": {"paused": True}},
    ("Deployment", "its deadline"): {"spec": {"progressDeadlineSeconds": 7}},
    ("StatefulSet", "its strategy"): {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}},
    ("StatefulSet", "its partition"): {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}},
    ("StatefulSet", "what becomes of its claims"): {
        "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}
    },
}


def pod(
    preview: bool = False, labels: dict[str, str] | None = None, more: dict[str, Any] | None = None, **parts: Any
) -> dict[str, Any]:
    """Return a pod as our operators make it, or a preview.

    :param more: Keys of its spec that differ. :param parts: Keys of its container that differ.
    """
    ours = {"modelberth.dev/preview" if preview else "modelberth.dev/step": "sync", "dag_id": "release_m"}
    main = {
        "name": "base",
        "image": "vllm:1" if preview else "modelsync:1",
        "command": ["serve"] if preview else ["modelberth"],
        "args": ["sync", "s3://bucket/models", "/claim"],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "envFrom": [] if preview else [{"secretRef": {"name": "bucket", "optional": True}}],
        "volumeMounts": [{"name": "claim", "mountPath": "/models" if preview else "/claim"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "serviceAccountName": "default" if preview else "modelsync",
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main | parts],
        "volumes": [{"name": "claim", "persistentVolumeClaim": {"claimName": "models", "readOnly": preview}}],
    }
    metadata = {"name": f"p-{uuid.uuid4().hex[:6]}", "labels": ours if labels is None else labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | (more or {})}


def with_volume(preview: bool = False, **source: Any) -> dict[str, Any]:
    one = pod(preview)
    one["spec"]["volumes"].append({"name": "more", **source})
    return one


def second(image: str) -> dict[str, Any]:
    [main] = pod(image=image)["spec"]["containers"]
    return main | {"name": "second"}


def secret_env(name: str) -> list[dict[str, Any]]:
    return [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": name, "key": "x"}}}]


TOKEN = {"serviceAccountToken": {"path": "token", "audience": "sts.example", "expirationSeconds": 3600}}
CLAIM = {"name": "claim", "persistentVolumeClaim": {"claimName": "models"}}

MAY_CREATE = {
    "a pod of our program": pod(),
    "one of another image that is named": pod(image="modelsync:2"),
    "one with the bucket's keys one by one": pod(env=secret_env("bucket")),
    "one with a probe's key": pod(env=secret_env("api-key")),
    "one that pulls its image with a named Secret": pod(more={"imagePullSecrets": [{"name": "bucket"}]}),
    "one with a workload identity's token": with_volume(projected={"sources": [TOKEN]}),
    "one with room to write": with_volume(emptyDir={}),
    "a preview": pod(preview=True),
    "a preview with a ConfigMap": with_volume(preview=True, configMap={"name": "settings"}),
    "a preview with its Secret": pod(preview=True, env=secret_env("tokenizer")),
    "a preview with a probe": pod(preview=True, readinessProbe={"httpGet": {"path": "/", "port": 80}}),
}

MAY_NOT_CREATE = {
    "another image": (pod(image="evil:1"), "allows modelsync:1, modelsync:2"),
    "the image with another tag": (pod(image="modelsync:12"), "its images are modelsync:12"),
    "another image first": (pod(more={"initContainers": [second("evil:1")]}), "its images are"),
    "another image beside": (pod(more={"containers": [*pod()["spec"]["containers"], second("evil:1")]}), "evil:1"),
    "the serving image without being a preview": (pod(image="vllm:1"), "its images are vllm:1"),
    "another service account": (pod(more={"serviceAccountName": "default"}), "allows modelsync"),
    "a token for the API server": (
        pod(more={"automountServiceAccountToken": True}),
        "it has a volume that is no claim",
    ),
    "another claim": (with_volume(persistentVolumeClaim={"claimName": "others"}), "its claims are models, others"),
    "a foreign Secret as a variable": (pod(env=secret_env("admin")), "Secret"),
    "a foreign Secret's variables": (pod(envFrom=[{"secretRef": {"name": "admin"}}]), "Secret"),
    "a foreign Secret as files": (with_volume(secret={"secretName": "admin"}), "allowed are bucket, api-key"),
    "a foreign Secret in a projection": (
        with_volume(projected={"sources": [TOKEN, {"secret": {"name": "admin"}}]}),
        "Secret",
    ),
    "a foreign Secret for a registry": (pod(more={"imagePullSecrets": [{"name": "admin"}]}), "Secret"),
    "a foreign Secret for a CSI driver": (
        with_volume(csi={"driver": "secrets-store.csi.k8s.io", "nodePublishSecretRef": {"name": "admin"}}),
        "it has a volume that is no claim",
    ),
    "a ConfigMap as files": (with_volume(configMap={"name": "settings"}), "it has a volume that is no claim"),
    "a ConfigMap's variables": (pod(envFrom=[{"configMapRef": {"name": "settings"}}]), "from elsewhere"),
    "a volume of the node": (with_volume(hostPath={"path": "/"}), ""),
    "a volume of its own making": (
        with_volume(
            ephemeral={
                "volumeClaimTemplate": {
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                }
            }
        ),
        "it has a volume that is no claim",
    ),
    "the host's network": (pod(more={"hostNetwork": True}), ""),
    "the host's processes": (pod(more={"hostPID": True}), ""),
    "privileges": (pod(securityContext={"privileged": True}), ""),
    "a shell": (pod(command=["sh", "-c", "rm -rf /claim"]), "something else than the command modelberth"),
    "the image's own command": (pod(command=[]), "something else than the command modelberth"),
    "code of its own": (pod(env=[{"name": "PYTHONPATH", "value": "/claim/evil"}]), "something else"),
    "a library of its own": (pod(env=[{"name": "LD_PRELOAD", "value": "/claim/evil.so"}]), "something else"),
    "a program of its own": (pod(env=[{"name": "PATH", "value": "/claim/bin"}]), "something else"),
    "the claim in the place of the program": (
        pod(volumeMounts=[{"name": "claim", "mountPath": "/opt/modelberth/src"}]),
        "something else",
    ),
    "a hook": (pod(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}), "something else"),
    "a probe": (pod(more={"restartPolicy": "Always"}, livenessProbe={"exec": {"command": ["sh"]}}), "something else"),
    "a Service's label": (pod(labels={"modelberth.dev/step": "sync", "app": "served"}), "its labels"),
    "no label of ours": (pod(labels={"dag_id": "x"}), "its labels"),
    "no label": (pod(labels={}), "its labels"),
    "a preview of another image": (pod(preview=True, image="modelsync:1"), "its images are modelsync:1"),
    "a preview that writes": (pod(preview=True, more={"volumes": [CLAIM]}), "read-only"),
    "a preview with the bucket's keys": (pod(preview=True, env=secret_env("bucket")), "allowed are tokenizer"),
    "a preview with another account": (pod(preview=True, more={"serviceAccountName": "modelsync"}), "allows default"),
    "a preview of the node": (with_volume(preview=True, hostPath={"path": "/"}), ""),
}


JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "j"},
    "spec": {"template": {"spec": pod()["spec"]}},
}
CRON = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "c"},
    "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": JOB["spec"]}},
}
ADMIN = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
AIRFLOW = {"kind": "ServiceAccount", "name": "airflow", "namespace": serving.SYSTEM}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEPLOYMENT = two_containers("new", "Deployment")
EPHEMERAL = [{"op": "add", "path": "/spec/ephemeralContainers", "value": [{"name": "e", "image": "evil:1"}]}]

CHANGES: dict[str, tuple[str, str, Any]] = {
    "a Job": ("POST", "/apis/batch/v1/namespaces/{}/jobs", JOB),
    "a CronJob": ("POST", "/apis/batch/v1/namespaces/{}/cronjobs", CRON),
    "a Deployment": ("POST", APPS + "/namespaces/{}/deployments", DEPLOYMENT),
    "a Deployment away": ("DELETE", APPS + "/namespaces/{}/deployments/" + SERVED, None),
    "a StatefulSet away": ("DELETE", APPS + "/namespaces/{}/statefulsets/" + ORDERED, None),
    "a workload's scale": (
        "PATCH",
        APPS + "/namespaces/{}/deployments/" + SERVED + "/scale",
        {"spec": {"replicas": 1}},
    ),
    "a workload's status": (
        "PATCH",
        APPS + "/namespaces/{}/deployments/" + SERVED + "/status",
        {"status": {"replicas": 9}},
    ),
    "a Secret": ("POST", CORE + "/namespaces/{}/secrets", {"metadata": {"name": "s"}}),
    "what it may": ("PATCH", CORE + "/namespaces/{}/configmaps/modelberth-rights", {"data": {"images": "evil:1"}}),
    "what it may, away": ("DELETE", CORE + "/namespaces/{}/configmaps/modelberth-rights", None),
    "a claim away": ("DELETE", CORE + "/namespaces/{}/persistentvolumeclaims/models", None),
    "a token": ("POST", CORE + "/namespaces/{}/serviceaccounts/default/token", {"spec": {"audiences": ["x"]}}),
    "a service account": ("POST", CORE + "/namespaces/{}/serviceaccounts", {"metadata": {"name": "s"}}),
    "a Service": ("PATCH", CORE + "/namespaces/{}/services/s", {"spec": {"selector": {"modelberth.dev/step": "x"}}}),
    "a Role": ("POST", RBAC + "/namespaces/{}/roles", {"metadata": {"name": "r"}, "rules": []}),
    "more rights": (
        "POST",
        RBAC + "/namespaces/{}/rolebindings",
        {"metadata": {"name": "r"}, "roleRef": ADMIN, "subjects": [AIRFLOW]},
    ),
    "a shell in a pod": ("POST", CORE + "/namespaces/{}/pods/{pod}/exec", None),
    "a pod's terminal": ("POST", CORE + "/namespaces/{}/pods/{pod}/attach", None),
    "a way to a pod's ports": ("POST", CORE + "/namespaces/{}/pods/{pod}/portforward", None),
    "a container in a pod that runs": ("PATCH", CORE + "/namespaces/{}/pods/{pod}/ephemeralcontainers", EPHEMERAL),
    "a pod's labels": (
        "PATCH",
        CORE + "/namespaces/{}/pods/{pod}",
        {"metadata": {"labels": {"modelberth.dev/step": "x"}}},
    ),
    "a pod's eviction": ("POST", CORE + "/namespaces/{}/pods/{pod}/eviction", {"metadata": {"name": "{pod}"}}),
    "all pods away": ("DELETE", CORE + "/namespaces/{}/pods", None),
}
QUERIES = {"exec": "command=sh&stdin=true", "attach": "stdin=true", "portforward": "ports=80"}
