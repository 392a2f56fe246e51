"""What the rollout's tests are made of: workloads whose model works or does not, and releases with their evidence.

Workloads run a small server in the reference server's image: it is ready, and reports what it was told to serve,
unless the directory holds a file that says otherwise.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from modelberth.core.approval import place
from modelberth.core.binding import Binding
from modelberth.core.confirm import Confirm, Smoke
from modelberth.core.digest import Digest
from modelberth.core.plan import Approver, Capacity, Gate, Plan, Released, Served, Target, Workload
from modelberth.core.revision import Revision, Snapshot
from modelberth.kubernetes.rollout import Rollout, Stop
from modelberth.kubernetes.workload import live_value, strategy
from modelberth.receipts import Evidence, Ledger, ledger, release_evidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kubernetes import client

SERVER = """
import json, os, sys, signal, ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
path, key = os.environ.get("MODEL_PATH", ""), os.environ.get("API_KEY")
says = {name: Path(path, name).exists() for name in ("crash", "liar", "broken")}
if says["crash"]:
    sys.exit("CUDA out of memory")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        ready = not Path(path, "unready").exists()
        served = "/lie" if says["liar"] else path
        vllm = {"object": "list", "data": [{"id": "m", "object": "model", "root": served, "parent": None}]}
        answers = {
            "/healthz": (200 if ready else 503, {}), "/modelz": (200, {"path": served}), "/v1/models": (200, vllm)
        }
        self.answer(*answers.get(self.path, (404, {})))
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        triton = [{"name": "m", "version": "1", "state": "UNAVAILABLE" if says["liar"] else "READY", "reason": ""}]
        answers = {"/v2/repository/index": (200, triton), "/embed": (500 if says["broken"] else 201, {"data": [1]})}
        self.answer(*answers[self.path])
    def answer(self, status, document):
        if key and self.path != "/healthz" and self.headers.get("X-API-Key") != key:
            status, document = 401, {"expected": key}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("", 8000), Handler)
if os.environ.get("TLS"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Stand:
    """What the tests of one session share."""

    namespace: str
    bucket: str
    gcs_bucket: str
    claim: Path
    image: str
    apps: client.AppsV1Api
    s3: Any

    def config(self, model: str) -> Any:
        """Return what evidence needs of a model's file."""
        receipts = SimpleNamespace(url=f"s3://{self.bucket}/receipts", connection="test_receipts")
        return SimpleNamespace(name=model, receipts=receipts)

    def stage(self, model: str, digit: str, *flaws: str) -> Snapshot:
        """Put a snapshot of *model* onto the claim; *flaws* are what the server is made to do wrong."""
        snapshot = Snapshot(Digest(digit * 64), 1)
        files = self.claim / model / str(snapshot) / "files"
        files.mkdir(parents=True, exist_ok=True)
        for flaw in flaws:
            (files / flaw).touch()
        for folder in (self.claim / model, files.parent, files):
            folder.chmod(0o755)
        return snapshot

    def deploy(
        self,
        name: str,
        kind: str = "Deployment",
        path: str | None = None,
        replicas: int = 1,
        shape: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Make a workload that serves *path*; *shape* changes it before it is made."""
        document = workload(name, kind, self.image, path, replicas)
        if shape:
            shape(document)
        getattr(self.apps, f"create_namespaced_{_SNAKE[kind]}")(self.namespace, document)

    def remove(self, name: str) -> None:
        """Take the workloads of a name away: pods that idle, each asked once a second whether it is ready, slow others.

        It is not waited for.
        """
        for kind in _SNAKE.values():
            delete = getattr(self.apps, f"delete_collection_namespaced_{kind}")
            delete(self.namespace, field_selector=f"metadata.name={name}")

    def read(self, name: str, kind: str = "Deployment") -> dict[str, Any]:
        """Return a workload as JSON."""
        read = getattr(self.apps, f"read_namespaced_{_SNAKE[kind]}")
        return json.loads(read(name, self.namespace, _preload_content=False).data)

    def wait_complete(self, name: str, kind: str = "Deployment") -> None:
        """Wait until all pods of a workload are ready."""

        def complete() -> bool:
            document = self.read(name, kind)
            return bool(document["status"].get("readyReplicas", 0) == document["spec"]["replicas"])

        self.wait_for(name, kind, complete)

    def wait_for(self, name: str, kind: str, condition: Callable[[], bool]) -> None:
        """Wait until a workload is as *condition* says."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.read(name, kind)["status"]
            time.sleep(0.2)

    def change(self, name: str, patch: Any, kind: str = "Deployment") -> None:
        """Do what a person does with kubectl."""
        getattr(self.apps, f"patch_namespaced_{_SNAKE[kind]}")(name, self.namespace, patch)

    def set_path(self, name: str, value: str) -> None:
        """Set a workload's MODEL_PATH as a person would."""
        env = [{"name": "MODEL_PATH", "value": value}]
        self.change(name, {"spec": {"template": {"spec": {"containers": [{"name": "server", "env": env}]}}}})

    def bound(self, name: str, kind: str = "Deployment") -> str | None:
        """Return what MODEL_PATH is."""
        [container] = self.read(name, kind)["spec"]["template"]["spec"]["containers"]
        return live_value(container, "MODEL_PATH")


_SNAKE = {"Deployment": "deployment", "StatefulSet": "stateful_set"}


def workload(name: str, kind: str, image: str, path: str | None, replicas: int) -> dict[str, Any]:
    """Return a workload whose pods run ``SERVER`` with MODEL_PATH *path*, under the restricted standard."""
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", "-c", SERVER],
        "env": [{"name": "OTHER", "value": "kept"}] + ([{"name": "MODEL_PATH", "value": path}] if path else []),
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8000}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
    }
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
    }
    if kind == "Deployment":
        spec["strategy"] = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    else:
        spec["serviceName"] = name
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Release:
    """One release of one model to one workload, its evidence up to where a test wants it."""

    stand: Stand
    plan: Plan

    @property
    def target(self) -> Target:
        return self.plan.targets[0]

    @property
    def evidence(self) -> Evidence:
        return release_evidence(self.stand.config(self.plan.model), self.plan.release_id)

    @property
    def ledger(self) -> Ledger:
        return ledger(self.stand.config(self.plan.model))

    @property
    def name(self) -> str:
        """The name of the target, its service, its workload and its model."""
        return self.target.name

    @property
    def snapshot(self) -> Snapshot:
        return self.target.snapshot_of(self.plan.model)

    @property
    def before(self) -> str | None:
        return self.target.bindings[0].from_

    @property
    def to(self) -> str:
        return self.target.bindings[0].to

    def staged(self) -> Release:
        """Leave what is before the verify."""
        own = self.plan.own
        about = {"revision": str(own.revision), "files": own.files, "bytes": own.bytes}
        self.evidence.write("resolve", {"source_version": own.source_version, "requested_by": "bob"})
        self.evidence.write("upload", about)
        self.evidence.write("sync", about, target=self.target.service)
        return self

    def planned(self) -> Release:
        evidence, about = self.evidence, {"revision": str(self.plan.own.revision), "snapshot": str(self.snapshot)}
        self.ledger.record("proposed", self.plan.release_id, source_version="v1")
        proven = {"how": "direct", "bytes": 1, "node": "node-1", **place(self.target)}
        evidence.write("verify", about | proven, target=self.target.service)
        evidence.write("plan", {"plan": self.plan.document(), "plan_digest": str(self.plan.digest)})
        return self

    def approved(self, by: str = "alice", **changes: Any) -> Release:
        answer = {
            "decision": "approve",
            "plan_digest": str(self.plan.digest),
            "responder": {"id": by, "name": by},
            "responded_at": "2026-01-02T03:04:05+00:00",
        }
        self.evidence.write("approve", answer | changes)
        return self

    def checked(self, **changes: Any) -> Release:
        about = {"revision": str(self.plan.own.revision), "snapshot": str(self.snapshot)}
        self.evidence.write("check", about | place(self.target) | changes, target=self.name)
        return self

    def ready(self) -> Release:
        """Return the release with everything that a rollout asks for."""
        return self.planned().approved().checked()

    def rollout(self) -> Rollout:
        receipts = self.stand.config(self.plan.model).receipts
        return Rollout(
            model=self.plan.model,
            release_id=self.plan.release_id,
            target=self.name,
            receipts=(receipts.url, receipts.connection),
        )

    def outcome(self) -> dict[str, Any] | None:
        return self.evidence.find("outcome", self.name)


def drive(rollout: Rollout, until: Callable[[], bool] = lambda: False, pause: float = 0.3) -> Stop | None:
    """Go on with *rollout* to its end, or until *until* says so before a step."""
    deadline = time.monotonic() + 120
    while not until():
        step = rollout.step()
        if step.stop:
            return step.stop
        assert time.monotonic() < deadline, "the rollout does not end"
        time.sleep(min(step.pause, pause))
    return None


@dataclass
class Releases:
    """A maker of releases to one workload, which serves an earlier snapshot; the workload has the model's name."""

    stand: Stand
    name: str
    serving: bool = False
    proposed: int = 0
    staged: int = 0

    def __call__(
        self,
        *flaws: str,
        kind: str = "Deployment",
        replicas: int = 1,
        unset: bool = False,
        same: bool = False,
        shape: Callable[[dict[str, Any]], None] | None = None,
        **changes: Any,
    ) -> Release:
        """Return another release, newer than those before.

        :param flaws: What the new snapshot's server does wrong.
        :param unset: The variable is not set yet.
        :param same: The release is of what was released last.
        :param shape: Changes the workload before it is made.
        :param changes: Parts of the target that differ.
        """
        if not self.serving:
            self.serve(kind=kind, replicas=replicas, unset=unset, shape=shape)
            self.stand.wait_complete(self.name, kind)
        self.proposed += 1
        self.staged += not same
        snapshot = self.stand.stage(self.name, "abcdef"[self.staged], *flaws)
        return Release(self.stand, self._plan(snapshot, self._target(snapshot, kind, changes)))

    def serve(
        self,
        *flaws: str,
        kind: str = "Deployment",
        replicas: int = 1,
        unset: bool = False,
        shape: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Make the workload, with an earlier snapshot whose server does wrong as *flaws* say; it is not waited for."""
        before = self.stand.stage(self.name, "a", *flaws)
        path = None if unset else f"/models/{self.name}/{before}/files"
        self.stand.deploy(self.name, kind, path, replicas, shape)
        self.serving = True

    def of(self, snapshot: Snapshot, **changes: Any) -> Release:
        """Return another release, of a snapshot that is on the claim, to a Deployment that is there."""
        self.proposed += 1
        return Release(self.stand, self._plan(snapshot, self._target(snapshot, "Deployment", changes)))

    def _target(self, snapshot: Snapshot, kind: str, changes: dict[str, Any]) -> Target:
        document, stand, name = self.stand.read(self.name, kind), self.stand, self.name
        to = f"/models/{name}/{snapshot}/files"
        whole: dict[str, Any] = {
            "name": name,
            "service": name,
            "connection": "test_kubernetes",
            "namespace": stand.namespace,
            "claim": "models",
            "workload": Workload(kind, name, document["metadata"]["uid"]),
            "replicas": document["spec"]["replicas"],
            "strategy": strategy(document),
            "served": (Served(name, snapshot, None, None),),
            "bindings": (changes.pop("binding", Binding(name, "server", "MODEL_PATH", stand.bound(name, kind), to)),),
            "ready_within": 60,
            "confirm": Confirm("behaved", 8000, "/modelz", smoke=(Smoke("/embed", {"text": "x"}, 201, "data.0"),)),
            "capacity": Capacity("fits"),
            "canary": None,
        }
        return Target(**(whole | changes))

    def _plan(self, snapshot: Snapshot, target: Target) -> Plan:
        release_id = f"2026010{self.proposed}t000000z-{uuid.uuid4().hex[:10]}"
        return Plan(
            model=self.name,
            release_id=release_id,
            models=(Released(self.name, release_id, Revision(self.name, snapshot.digest), "v1", 1, 1),),
            gate=Gate((Approver("alice", "alice"),), 1, False, None, 604_800),
            targets=(target,),
        )
