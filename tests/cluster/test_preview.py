"""One pod with what is to come, beside those that serve: no traffic, no trace, and no gate without it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from kubernetes import client
from rollouts import drive

from modelberth.core.approval import place
from modelberth.kubernetes import preview
from modelberth.kubernetes.preview import Preview
from modelberth.receipts import EvidenceMissingError
from modelberth.receipts.answers import GateRecord
from modelberth.triggers.preview import PreviewTrigger


def previewing(one) -> Preview:
    receipts = one.stand.config(one.plan.model).receipts
    return Preview(
        model=one.plan.model,
        release_id=one.plan.release_id,
        target=one.name,
        receipts=(receipts.url, receipts.connection),
    )


@pytest.fixture
def core(stand):
    return client.CoreV1Api(stand.apps.api_client)


def pods(core, one) -> list:
    return core.list_namespaced_pod(
        one.stand.namespace, label_selector=f"modelberth.dev/release={one.plan.release_id}"
    ).items


def leaving_or_gone(core, one) -> bool:
    return all(pod.metadata.deletion_timestamp for pod in pods(core, one))


def gate(one) -> GateRecord:
    return GateRecord(one.evidence, lambda _: one.ledger, one.plan, datetime.now(UTC), 1)


def test_what_confirms_has_a_receipt_and_leaves_no_pod_and_gets_no_traffic(stand, release, core):
    one = release(preview=True).planned()
    spec = {"selector": {"app": one.name}, "ports": [{"port": 80, "targetPort": 8000}]}
    core.create_namespaced_service(stand.namespace, {"metadata": {"name": one.name}, "spec": spec})
    with pytest.raises(EvidenceMissingError, match="there is none"):
        gate(one).previews()
    steps = previewing(one)
    ready = lambda: any(  # noqa: E731
        condition.type == "Ready" and condition.status == "True"
        for pod in pods(core, one)
        for condition in pod.status.conditions or ()
    )
    assert drive(steps, until=ready) is None
    [pod] = pods(core, one)
    assert pod.metadata.owner_references is None
    assert {entry.name: entry.value for entry in pod.spec.containers[0].env}["MODEL_PATH"] == one.to
    endpoints = core.read_namespaced_endpoints(one.name, stand.namespace).subsets or []
    assert pod.status.pod_ip not in [address.ip for subset in endpoints for address in subset.addresses or ()]
    generation = stand.read(one.name)["metadata"]["generation"]
    assert drive(steps).status == "confirmed"
    assert leaving_or_gone(core, one)
    assert stand.read(one.name)["metadata"]["generation"] == generation
    [receipt] = gate(one).previews().values()
    assert (receipt["result"], receipt["node"], receipt["pods"][0]["problems"]) == ("confirmed", pod.spec.node_name, [])


@pytest.mark.parametrize(
    ("flaw", "said"), [("broken", "answered 500, expected 201"), ("liar", "its report names neither")]
)
def test_what_does_not_confirm_ends_before_the_gate(stand, release, core, flaw, said):
    one = release(flaw, preview=True).planned()
    stop = drive(previewing(one))
    assert stop.status == "not confirmed"
    assert said in stop.reason
    assert leaving_or_gone(core, one)
    assert one.evidence.read("preview", one.name)["result"] == "not confirmed"
    with pytest.raises(EvidenceMissingError, match="says 'not confirmed'"):
        gate(one).previews()
    assert stand.bound(one.name) == one.before


def test_a_pod_that_no_node_has_room_for_says_so(release, core):
    def apart(document):
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": document["spec"]["selector"]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        document["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": required}

    one = release(shape=apart, preview=True, ready_within=4).planned()
    stop = drive(previewing(one))
    assert "anti-affinity" in stop.reason
    assert "make room for it" in stop.reason
    assert leaving_or_gone(core, one)


def test_a_stateful_sets_own_volumes_are_empty_ones(release, core):
    def with_volumes(document):
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
        document["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "cache"}, "spec": claim}]
        [container] = document["spec"]["template"]["spec"]["containers"]
        container["volumeMounts"].append({"name": "cache", "mountPath": "/cache"})

    one = release(kind="StatefulSet", replicas=0, shape=with_volumes, preview=True).planned()
    assert drive(previewing(one)).status == "confirmed"
    assert leaving_or_gone(core, one)


def test_another_process_takes_it_up(release, core):
    one = release(preview=True).planned()
    dying = previewing(one)
    dying.step()
    [before] = pods(core, one)
    assert drive(previewing(one)).status == "confirmed"
    assert one.evidence.read("preview", one.name)["pods"][0]["uid"] == before.metadata.uid
    assert drive(previewing(one)).status == "confirmed", "a cleared task is done at once"
    assert leaving_or_gone(core, one)


def test_a_person_who_ends_the_task_leaves_no_pod(release, core):
    one = release("unready", preview=True, ready_within=300).planned()
    receipts = one.stand.config(one.plan.model).receipts
    trigger = PreviewTrigger(
        model=one.plan.model,
        release_id=one.plan.release_id,
        target=one.name,
        receipts_url=receipts.url,
        receipts_connection=receipts.connection,
    )
    assert PreviewTrigger(**trigger.serialize()[1]).serialize() == trigger.serialize()
    assert len(json.dumps(trigger.serialize())) < 1000

    async def kill() -> None:
        task = asyncio.create_task(anext(trigger.run()))
        while not await asyncio.to_thread(pods, core, one):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(trigger.on_kill(), 30)

    asyncio.run(kill())
    assert leaving_or_gone(core, one)
    assert one.evidence.find("preview", one.name) is None


def test_what_its_task_left_is_removed_by_its_name(release, core):
    one = release("unready", preview=True, ready_within=300).planned()
    previewing(one).step()
    assert pods(core, one)
    preview.remove(one.plan, one.target)
    assert leaving_or_gone(core, one)
    preview.remove(one.plan, one.target)


def test_a_pod_that_may_not_be_made_ends_it_with_the_reason(stand, release, core):
    one = release(
        preview=True, shape=lambda document: document["spec"]["template"]["spec"].update(serviceAccountName="modelsync")
    ).planned()
    stop = drive(previewing(one))
    assert stop.status == "not confirmed"
    assert "modelberth-rights" in stop.reason
    assert place(one.target)["namespace"] in stop.reason
