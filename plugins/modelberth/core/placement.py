"""Where a pod may run, and how many of one kind a node takes: those filters of Kubernetes' scheduler that decide here.

What it only weighs when it chooses among nodes (preferences, PreferNoSchedule) is left out: it never says no.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelberth.core.amounts import Amounts

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  (what Kubernetes takes an unset hostIP for)


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods off a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Toleration:
    """What lets a pod onto a tainted node."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def covers(self, taint: Taint) -> bool:
        """Return whether *taint* keeps no pod off that has this toleration.

        operator | key          | value   | effect       | covers
        ---------+--------------+---------+--------------+-------
        Exists   | none or same | any     | none or same | yes
        Equal    | same         | same    | none or same | yes
        else     |              |         |              | no
        """
        if self.effect not in ("", taint.effect):
            return False
        if self.operator == "Exists":
            return self.key in ("", taint.key)
        return (self.key, self.value) == (taint.key, taint.value)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression of a selector."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Return whether *labels* are as this asks.

        operator     | label is there            | it is not
        -------------+---------------------------+----------
        In           | one of the values         | no
        NotIn        | none of the values        | yes
        Exists       | yes                       | no
        DoesNotExist | no                        | yes
        Gt, Lt       | as whole numbers, if such | no
        """
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists" | "DoesNotExist":
                return (value is not None) == (self.operator == "Exists")
        try:
            difference = int(value or "") - int(self.values[0])
        except (ValueError, IndexError):
            return False
        return difference > 0 if self.operator == "Gt" else difference < 0


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One alternative of a required node affinity: all its expressions hold; an empty one never does."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    def holds(self, node: Node) -> bool:
        """Return whether *node* is as this asks."""
        asked = [one.holds(node.labels) for one in self.labels]
        asked += [one.holds({"metadata.name": node.name}) for one in self.fields]
        return bool(asked) and all(asked)


@dataclass(frozen=True, slots=True)
class Apart:
    """One required anti-affinity: no pod of *selector* where the node's label *topology* has the same value.

    :param selector: None selects no pod, an empty one all.
    :param namespaces: None is every namespace.
    """

    topology: str
    selector: tuple[Requirement, ...] | None
    namespaces: frozenset[str] | None

    def concerns(self, other: Wants) -> bool:
        """Return whether *other* is what this keeps away from."""
        return (
            self.selector is not None
            and (self.namespaces is None or other.namespace in self.namespaces)
            and all(one.holds(other.labels) for one in self.selector)
        )


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the node itself."""

    number: int
    protocol: str = "TCP"
    address: str = ANY_ADDRESS

    def clashes(self, other: Port) -> bool:
        """Return whether not both can be had on one node."""
        same_address = self.address == other.address or ANY_ADDRESS in (self.address, other.address)
        return (self.number, self.protocol) == (other.number, other.protocol) and same_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What a pod is and asks of the node that it runs on.

    :param affinity: Alternatives, one of which must hold; None where it does not ask.
    :param volumes: The same of each of its volumes that not every node reaches.
    :param priority: Whom it may push out: pods of a lower one.
    """

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    requests: Amounts = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    affinity: tuple[NodeTerm, ...] | None = None
    volumes: tuple[tuple[NodeTerm, ...], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    ports: tuple[Port, ...] = ()
    apart: tuple[Apart, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node, as far as it decides what runs there."""

    name: str
    allocatable: Amounts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod that has not ended.

    :param node: Where it runs; empty while it waits for a node.
    :param usage: What a quota counts for it, by the quota's names.
    :param ready: It serves.
    :param ending: It is being deleted.
    """

    name: str
    wants: Wants
    node: str = ""
    usage: Amounts = field(default_factory=dict)
    ready: bool = True
    ending: bool = False


def objection(node: Node, wants: Wants) -> str | None:
    """Return why *node* takes no pod that wants this, whatever runs there; None if it would take one.

    The first row that holds counts.

    not ready                                     | is not ready
    cordoned, and that is not tolerated           | is cordoned
    a NoSchedule or NoExecute taint not tolerated | has the taint
    nodeSelector or required affinity is not met  | does not match
    a volume is not reached from it               | out of reach
    else                                          | none
    """
    if not node.ready:
        return "not ready"
    cordon = Taint(UNSCHEDULABLE, "", "NoSchedule")
    if node.unschedulable and not _tolerated(cordon, wants):
        return "cordoned"
    for taint in node.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and not _tolerated(taint, wants):
            return f"with taint {taint}, not tolerated"
    chosen = all(node.labels.get(key) == value for key, value in wants.selector.items())
    if not chosen or (wants.affinity is not None and not any(term.holds(node) for term in wants.affinity)):
        return "not of its nodeSelector or node affinity"
    if not all(any(term.holds(node) for term in volume) for volume in wants.volumes):
        return "out of reach of its volume"
    return None


def _tolerated(taint: Taint, wants: Wants) -> bool:
    return any(toleration.covers(taint) for toleration in wants.tolerations)


def seats(node: Node, there: Sequence[Pod], wants: Wants) -> tuple[int, list[str]]:
    """Return how many pods that want this run on *node* beside those *there*, and what it lacks for even one."""
    each = {"pods": 1} | {name: value for name, value in wants.requests.items() if value > 0}
    counts = {}
    for name, value in each.items():
        taken = len(there) if name == "pods" else sum(pod.wants.requests.get(name, 0) for pod in there)
        counts[name] = max(0, (node.allocatable.get(name, 0) - taken) // value)
    if wants.ports:
        clash = any(mine.clashes(other) for mine in wants.ports for pod in there for other in pod.wants.ports)
        counts["the host port"] = 0 if clash else 1
    return min(counts.values()), [name for name, count in counts.items() if count == 0]


def keeps_apart(one: Wants, other: Wants) -> set[str]:
    """Return by which labels of nodes *one* and *other* have to be apart, whichever of them says so."""
    says = [term for term in one.apart if term.concerns(other)] + [term for term in other.apart if term.concerns(one)]
    return {term.topology for term in says}


def closed_by(nodes: Iterable[Node], pods: Iterable[Pod], wants: Wants) -> set[str]:
    """Return the names of the nodes that *pods* keep pods that want this away from, by anti-affinity."""
    nodes = list(nodes)
    labels = {node.name: node.labels for node in nodes}
    closed: dict[str, set[str]] = defaultdict(set)
    for pod in pods:
        for topology in keeps_apart(wants, pod.wants) if pod.node in labels else ():
            if topology in labels[pod.node]:
                closed[topology].add(labels[pod.node][topology])
    return {node.name for node in nodes if any(node.labels.get(key) in values for key, values in closed.items())}
