"""The local Kubernetes: etcd, control plane, container runtime and one node, as parts of the cluster's machine.

Rights are real: each component has a certificate of its own, and the API server authorises by Node and RBAC.
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from certificates import Authority, create_signing_key
from kubectl import kubectl
from problems import LocalError
from settings import API_PORT, PODS, SERVICES
from supervise import Part, answers

if TYPE_CHECKING:
    from settings import Settings

CRI_READY = Path(__file__).with_name("cri_ready.py")
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "docker.io/modelberth/pause:local"
API_SERVICE = "10.96.0.1"
NO_DNS = "10.88.0.1"


def parts(settings: Settings, programs: Path) -> list[Part]:
    """
    Write what the cluster's programs read and return the programs, in the order in which they start.

    :param programs: Folder of the Kubernetes programs.
    """
    folder = settings.state / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "pki")
    authority.create()
    write_kubeconfigs(settings, authority)
    write_configuration(settings, authority)
    return [
        etcd(folder, programs),
        api_server(settings, authority, programs),
        controller_manager(folder, authority, programs),
        scheduler(folder, programs),
        container_runtime(folder),
        kubelet(settings, authority, programs),
        proxy(folder, programs, settings),
    ]


def etcd(folder: Path, programs: Path) -> Part:
    """Return etcd, on the machine's own loopback: nothing but the API server reaches it."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    command = (
        f"{programs}/etcd",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--auto-compaction-retention=1h",
    )
    return Part("etcd", command, answers(f"{client}/health"))


def api_server(settings: Settings, authority: Authority, programs: Path) -> Part:
    """Return the API server, on the link's far address: reached by this machine, pods and the node."""
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    certificate, key = authority.issue("apiserver", "kube-apiserver", addresses=(settings.there, API_SERVICE, *names))
    client, client_key = authority.issue("apiserver-kubelet", "kube-apiserver-kubelet", ("system:masters",))
    signing = create_signing_key(authority.folder / "service-accounts.key")
    command = (
        f"{programs}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={settings.there}",
        f"--advertise-address={settings.there}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={authority.certificate}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={signing}",
        f"--service-account-key-file={signing}",
        f"--kubelet-client-certificate={client}",
        f"--kubelet-client-key={client_key}",
        f"--kubelet-certificate-authority={authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
    )
    return Part("kube-apiserver", command, answers(f"https://{settings.there}:{API_PORT}/readyz"))


def controller_manager(folder: Path, authority: Authority, programs: Path) -> Part:
    """Return the controller manager."""
    command = (
        f"{programs}/kube-controller-manager",
        f"--kubeconfig={folder}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={authority.folder}/service-accounts.key",
        f"--root-ca-file={authority.certificate}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    )
    return Part("kube-controller-manager", command, answers("https://127.0.0.1:10257/healthz"))


def scheduler(folder: Path, programs: Path) -> Part:
    """Return the scheduler."""
    command = (
        f"{programs}/kube-scheduler",
        f"--kubeconfig={folder}/scheduler.kubeconfig",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    )
    return Part("kube-scheduler", command, answers("https://127.0.0.1:10259/healthz"))


def container_runtime(folder: Path) -> Part:
    """Return containerd, Debian's."""
    command = ("containerd", f"--config={folder}/containerd.toml")
    return Part("containerd", command, (sys.executable, str(CRI_READY), CONTAINERD_SOCKET))


def kubelet(settings: Settings, authority: Authority, programs: Path) -> Part:
    """Return the kubelet."""
    authority.issue("kubelet", settings.node, addresses=(settings.there, settings.node))
    folder = settings.state / "cluster"
    command = (
        f"{programs}/kubelet",
        f"--config={folder}/kubelet.yaml",
        f"--kubeconfig={folder}/kubelet.kubeconfig",
        f"--hostname-override={settings.node}",
        f"--node-ip={settings.there}",
    )
    return Part("kubelet", command, answers("http://127.0.0.1:10248/healthz"))


def proxy(folder: Path, programs: Path, settings: Settings) -> Part:
    """Return kube-proxy."""
    command = (
        f"{programs}/kube-proxy",
        f"--kubeconfig={folder}/proxy.kubeconfig",
        f"--hostname-override={settings.node}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={PODS}",
        "--conntrack-max-per-core=0",  # the limit is the real machine's: leave it
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
    )
    return Part("kube-proxy", command, answers("http://127.0.0.1:10256/healthz"))


def write_kubeconfigs(settings: Settings, authority: Authority) -> None:
    """Give each component, and this cluster's admin, a certificate and the file that uses it."""
    folder = settings.state / "cluster"
    users = {
        folder / "controller-manager.kubeconfig": ("system:kube-controller-manager", ()),
        folder / "scheduler.kubeconfig": ("system:kube-scheduler", ()),
        folder / "proxy.kubeconfig": ("system:kube-proxy", ()),
        folder / "kubelet.kubeconfig": (f"system:node:{settings.node}", ("system:nodes",)),
        settings.kubeconfig: ("modelberth-admin", ("system:masters",)),
    }
    for path, (user, groups) in users.items():
        certificate, key = authority.issue(f"client-{path.stem}", user, groups)
        credentials = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
        write_kubeconfig(path, f"https://{settings.there}:{API_PORT}", encoded(authority.certificate), credentials)


def write_kubeconfig(path: Path, server: str, authority: str, credentials: dict[str, str]) -> None:
    """Write a self-contained kubeconfig.

    :param authority: The server's certificate authority, base64.
    :param credentials: What identifies the user, as a kubeconfig names it.
    """
    name = "modelberth"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def encoded(path: Path) -> str:
    """Return a file's content in base64."""
    return b64encode(path.read_bytes()).decode()


def write_configuration(settings: Settings, authority: Authority) -> None:
    """Write what containerd, the pod network and the kubelet read."""
    folder = settings.state / "cluster"
    (folder / "containerd.toml").write_text(
        CONTAINERD.format(socket=CONTAINERD_SOCKET, pause=PAUSE_IMAGE, cni=folder / "cni")
    )
    (folder / "cni").mkdir(exist_ok=True)
    (folder / "cni" / "10-pods.conflist").write_text(json.dumps(POD_NETWORK, indent=1))
    # The machine's /etc/resolv.conf may be a link into /run, which the cluster's machine has of its own.
    (folder / "resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet_configuration(settings, authority), sort_keys=False))


# restrict_oom_score_adj: without CAP_SYS_RESOURCE (in containers, some virtual machines) no process may protect itself.
CONTAINERD = """\
version = 2
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""

POD_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "subnet": PODS, "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def kubelet_configuration(settings: Settings, authority: Authority) -> dict[str, Any]:
    """Return the kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": settings.there,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(authority.folder / "kubelet.crt"),
        "tlsPrivateKeyFile": str(authority.folder / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": settings.cgroup,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "resolvConf": str(settings.state / "cluster" / "resolv.conf"),
        # There are no names for pods. Nothing listens at this address of the machine, so a look-up fails at once; an
        # address that is not reached would make it wait.
        "clusterDNS": [NO_DNS],
        "clusterDomain": "cluster.local",
        "hairpinMode": "hairpin-veth",
        # The disk is the real machine's, shared with everything else on it: its being nearly full is no reason to evict
        # pods or to remove images, which no registry could give back.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }


def wait_for_node(settings: Settings, within: float = 60) -> None:
    """Wait until the node is Ready and pods can be created.

    :raises LocalError: With what the node says of itself.
    """
    deadline = time.monotonic() + within
    script = [
        "--request-timeout=5s",
        "get",
        "node",
        settings.node,
        "-o",
        "jsonpath={.status.conditions[?(@.type=='Ready')]['status','message']}",
    ]
    while True:
        node = kubectl(settings, *script, check=False)
        account = kubectl(settings, "get", "serviceaccount", "default", "-n", "default", check=False)
        if node.stdout.startswith("True") and account.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise LocalError(f"Node {settings.node} is not Ready after {within:.0f} s: {node.stdout or node.stderr}")
        time.sleep(0.3)
