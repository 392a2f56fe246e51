"""A rollout on a real cluster, with Airflow's own rights: whatever comes between, it ends in a whole state."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from kubernetes import client
from rollouts import drive

from modelberth.core import hopeless
from modelberth.core.binding import Binding
from modelberth.core.confirm import Confirm
from modelberth.core.revision import Snapshot
from modelberth.kubernetes import rollout as doing
from modelberth.kubernetes.workload import CHANGE_CAUSE, LOCK, notes, revision_note, template_notes
from modelberth.receipts.damage import damage_record


def env_of(one) -> list[dict]:
    [container] = one.stand.read(one.name)["spec"]["template"]["spec"]["containers"]
    return container["env"]


def patched(one):
    """Return whether the new value is live, as a condition for ``drive``."""
    return lambda: one.stand.bound(one.name) == one.to


def assert_put_back(one, stop) -> None:
    assert stop.status == "put back", stop.reason
    document = one.stand.read(one.name)
    assert one.stand.bound(one.name) == one.before
    assert LOCK not in notes(document)
    assert revision_note(one.plan.model) not in template_notes(document)


# --- what goes live -----------------------------------------------------------------------------------------------


def test_an_approved_release_goes_live_and_every_pod_has_confirmed(stand, release):
    one = release(replicas=2).ready()
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    document = stand.read(one.name)
    assert stand.bound(one.name) == one.to
    assert template_notes(document)[revision_note(one.plan.model)] == str(one.plan.own.revision)
    assert one.plan.release_id in notes(document)[CHANGE_CAUSE]
    assert "modelberth" in {entry["manager"] for entry in document["metadata"]["managedFields"]}
    assert LOCK not in notes(document)
    assert [entry["name"] for entry in env_of(one)] == ["OTHER", "MODEL_PATH"]
    pods = one.outcome()["pods"]
    assert len(pods) == 2
    assert all(pod["node"] and not pod["problems"] for pod in pods)


def test_a_variable_that_was_not_set_is_set(stand, release):
    one = release(unset=True).ready()
    assert one.before is None
    assert drive(one.rollout()).status == "live"
    assert stand.bound(one.name) == one.to


def test_a_stateful_set_goes_live(stand, release):
    one = release(kind="StatefulSet").ready()
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    assert stand.bound(one.name, "StatefulSet") == one.to


def test_a_broken_pod_of_a_stateful_set_is_replaced_when_its_model_is_put_back(stand, release):
    one = release("unready", kind="StatefulSet", ready_within=10).ready()
    assert one.stand.read(one.name, "StatefulSet")["spec"]["podManagementPolicy"] == "OrderedReady"
    stop = drive(one.rollout())
    assert stop.status == "put back", stop.reason
    assert stand.bound(one.name, "StatefulSet") == one.before
    assert one.outcome()["complete"]
    stand.wait_complete(one.name, "StatefulSet")


def test_a_stateful_set_whose_pod_is_not_ready_yet_gets_its_first_model(stand, release):
    release.serve("unready", kind="StatefulSet")
    one = release(kind="StatefulSet").ready()
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    assert stand.bound(one.name, "StatefulSet") == one.to


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_workload_that_crash_loops_gets_a_model_that_works(stand, release, monkeypatch, kind):
    monkeypatch.setattr(hopeless, "ENOUGH_RESTARTS", 1)
    release.serve("crash", kind=kind)
    stand.wait_for(release.name, kind, lambda: crashed(stand, release.name))
    one = release(kind=kind).ready()
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    assert stand.bound(one.name, kind) == one.to


def crashed(stand, name: str) -> bool:
    """Return whether a pod of a workload was started again."""
    pods = client.CoreV1Api(stand.apps.api_client).list_namespaced_pod(stand.namespace, label_selector=f"app={name}")
    return any(one.restart_count for pod in pods.items for one in pod.status.container_statuses or ())


def test_a_rollback_to_a_replica_set_that_is_there_is_not_taken_for_what_crashes(stand, release, monkeypatch):
    monkeypatch.setattr(hopeless, "ENOUGH_RESTARTS", 1)
    first = release().ready()
    assert drive(first.rollout()).status == "live"
    stand.set_path(release.name, f"/models/{release.name}/{stand.stage(release.name, 'f', 'crash')}/files")
    stand.wait_for(release.name, "Deployment", lambda: crashed(stand, release.name))
    back = release.of(first.snapshot).ready()
    stop = drive(back.rollout())
    assert stop.status == "live", stop.reason
    assert stand.bound(release.name) == first.to


def test_a_release_of_what_is_live_already_replaces_no_pod(stand, release):
    assert drive(release().ready().rollout()).status == "live"
    before = notes(stand.read(release.name))["deployment.kubernetes.io/revision"]
    again = release(same=True).ready()
    assert drive(again.rollout()).status == "live"
    assert notes(stand.read(release.name))["deployment.kubernetes.io/revision"] == before


def test_its_approval_is_used_by_its_outcome(stand, release):
    one = release().ready()
    assert drive(one.rollout()).status == "live"
    stand.set_path(one.name, one.before)
    assert drive(one.rollout()).status == "live"
    assert stand.bound(one.name) == one.before


# --- what is put back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flaw", "ready_within", "said"),
    [
        ("unready", 6, "was not ready in time"),
        ("crash", 8, "last exit code 1"),
        ("liar", 60, "its report names neither"),
        ("broken", 60, "answered 500, expected 201"),
    ],
)
def test_a_model_that_does_not_work_is_put_back(release, flaw, ready_within, said):
    one = release(flaw, ready_within=ready_within).ready()
    stop = drive(one.rollout())
    assert_put_back(one, stop)
    assert said in stop.reason
    assert one.outcome()["complete"]


def test_a_variable_that_was_not_set_is_unset_again(release):
    one = release("unready", unset=True, ready_within=4).ready()
    assert_put_back(one, drive(one.rollout()))
    assert [entry["name"] for entry in env_of(one)] == ["OTHER"]


def test_no_pod_is_no_confirmation(stand, release):
    one = release().ready()
    rollout = one.rollout()
    drive(rollout, until=patched(one))
    stand.change(one.name, {"spec": {"replicas": 0}})
    stop = drive(rollout)
    assert_put_back(one, stop)
    assert "0 of 1 new pods are ready" in stop.reason


def test_putting_back_leaves_a_persons_other_changes_alone(stand, release):
    one = release("unready", ready_within=6).ready()
    rollout = one.rollout()
    assert drive(rollout, until=patched(one)) is None
    container = {"name": "server", "env": [{"name": "OTHER", "value": "changed"}, {"name": "NEW", "value": "1"}]}
    stand.change(one.name, {"spec": {"template": {"spec": {"containers": [container]}}}})
    assert_put_back(one, drive(rollout))
    assert {entry["name"]: entry["value"] for entry in env_of(one)} == {
        "OTHER": "changed",
        "NEW": "1",
        "MODEL_PATH": one.before,
    }


def test_a_person_who_sets_another_value_half_way_is_not_overwritten(stand, release):
    one = release("unready").ready()
    rollout = one.rollout()
    drive(rollout, until=patched(one))
    stand.set_path(one.name, "/models/by/hand")
    stop = drive(rollout)
    assert stop.status == "put back"
    assert "another value" in stop.reason
    assert stand.bound(one.name) == "/models/by/hand"


def test_a_person_who_undoes_it_half_way_is_not_fought(stand, release):
    one = release("unready").ready()
    rollout = one.rollout()
    drive(rollout, until=patched(one))
    rollout.step()
    stand.set_path(one.name, one.before)
    stop = drive(rollout)
    assert "former value" in stop.reason
    assert stand.bound(one.name) == one.before


def test_a_workload_that_is_deleted_half_way_is_lost(stand, release):
    one = release("unready").ready()
    rollout = one.rollout()
    drive(rollout, until=patched(one))
    stand.apps.delete_namespaced_deployment(one.name, stand.namespace)
    stop = drive(rollout)
    assert stop.status == "lost"
    assert "does not exist" in stop.reason


# --- what is interrupted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_another_process_goes_on_where_one_died(stand, release, steps):
    one = release().ready()
    dying = one.rollout()
    for _ in range(steps):
        dying.step()
    stop = drive(one.rollout())
    assert stop.status == "live", stop.reason
    assert stand.bound(one.name) == one.to


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_is_ended_after_any_step_is_put_back(release, steps):
    one = release("unready").ready()
    dying = one.rollout()
    for _ in range(steps):
        dying.step()
    settling = one.rollout()
    settling.end("its run ended")
    assert_put_back(one, drive(settling))


def test_two_at_once_do_what_one_does(stand, release):
    one = release().ready()
    with ThreadPoolExecutor(2) as pool:
        stops = [future.result() for future in [pool.submit(drive, one.rollout()) for _ in range(2)]]
    assert {stop.status for stop in stops} == {"live"}
    assert stand.bound(one.name) == one.to


def test_one_that_goes_on_and_one_that_ends_it_agree(stand, release):
    one = release().ready()
    going, ending = one.rollout(), one.rollout()
    going.step()
    ending.end("a person ended its task")
    with ThreadPoolExecutor(2) as pool:
        stops = [future.result() for future in [pool.submit(drive, one) for one in (going, ending)]]
    assert len({stop.status for stop in stops}) == 1
    expected = one.to if stops[0].status == "live" else one.before
    assert stand.bound(one.name) == expected
    assert LOCK not in notes(stand.read(one.name))


def test_what_was_kept_is_not_put_back_by_a_later_end(stand, release):
    one = release().ready()
    rollout = one.rollout()
    drive(rollout, until=lambda: one.evidence.find("decided", one.name) is not None)
    rollout.end("a person ended its task")
    assert drive(rollout).status == "live"
    assert stand.bound(one.name) == one.to


def test_an_approval_that_is_taken_away_half_way_puts_it_back(stand, release):
    one = release("unready", ready_within=300).ready()
    drive(one.rollout(), until=patched(one))
    key = f"receipts/{one.name}/{one.plan.release_id}/06-approve.json"
    stand.s3.delete_object(Bucket=stand.bucket, Key=key)
    stop = drive(one.rollout())
    assert_put_back(one, stop)
    assert "not approved" in stop.reason


def test_an_api_server_that_does_not_answer_is_neither_success_nor_failure(stand, release, monkeypatch):
    monkeypatch.setattr(doing, "PATIENCE", 1.0)
    one = release(replicas=0, connection="test_nowhere").ready()
    stop = drive(one.rollout())
    assert stop.status == "unreachable"
    assert one.outcome() is None
    assert stand.bound(one.name) == one.before


# --- what is refused ----------------------------------------------------------------------------------------------


def assert_refused(one, said: str) -> None:
    before = one.stand.read(one.name)["metadata"]["generation"]
    stop = drive(one.rollout())
    assert stop.status == "refused", stop
    assert said in stop.reason
    document = one.stand.read(one.name)
    assert document["metadata"]["generation"] == before
    assert LOCK not in notes(document)
    assert one.evidence.find("started", one.name) is None


@pytest.fixture
def idle(release):
    """Return a maker of releases to a workload without pods: what is refused needs none."""

    def make(**changes):
        return release(replicas=0, **changes)

    make.name = release.name
    return make


def test_a_release_without_an_approval_is_refused(idle):
    assert_refused(idle().planned(), "no receipt 06-approve")


def test_a_release_without_a_plan_is_refused(idle):
    assert_refused(idle(), "no receipt 05-plan")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"by": "mallory"}, "mallory"),
        ({"responder": None}, "anonymous"),
        ({"decision": "reject"}, "decision"),
        ({"plan_digest": "sha256:" + "0" * 64}, "plan_digest"),
        ({"responded_at": None}, "responded_at"),
    ],
)
def test_an_approval_that_is_not_one_of_this_plan_is_refused(idle, changes, said):
    assert_refused(idle().planned().approved(**changes).checked(), said)


def test_a_release_without_a_check_is_refused(idle):
    assert_refused(idle().planned().approved(), "no receipt 07-check")


def test_a_check_from_before_the_approval_is_refused(idle):
    assert_refused(idle().planned().checked().approved(), "not made after this approval")


def test_a_check_of_another_snapshot_is_refused(idle):
    one = idle().planned().approved()
    other = Snapshot(one.snapshot.digest, 2)
    assert_refused(one.checked(snapshot=str(other)), "snapshot")


def test_a_check_of_another_claim_is_refused(idle):
    assert_refused(idle().planned().approved().checked(claim="another"), "its claim is 'another'")


def test_a_check_that_is_too_old_is_refused(idle, monkeypatch):
    monkeypatch.setattr("modelberth.receipts.evidence.now", lambda: "2026-01-02T03:04:05Z")
    assert_refused(idle().ready(), "clear the task 'check'")


def test_a_snapshot_found_damaged_after_its_check_is_refused(idle):
    one = idle().ready()
    damage = damage_record(one.stand.config(one.plan.model), one.target)
    damage.add(one.snapshot, "verify of release later", [])
    assert_refused(one, "on record as damaged (found by verify of release later)")


def test_a_superseded_release_is_refused(idle):
    one = idle().ready()
    idle().planned()
    assert_refused(one, "newer proposal")


def test_a_live_value_that_nobody_planned_is_refused(stand, idle):
    one = idle().ready()
    stand.set_path(one.name, "/models/by/hand")
    assert_refused(one, "a live value is neither")


def test_a_paused_deployment_is_refused(stand, idle):
    one = idle().ready()
    stand.change(one.name, {"spec": {"paused": True}})
    assert_refused(one, "paused")


def test_a_workload_that_is_not_as_it_was_approved_is_refused(stand, release):
    one = release().ready()
    for change, said in (
        ({"progressDeadlineSeconds": 59}, "gives up after 59 s, but a rollout may take 60 s"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": None}}, 'Its strategy is {"type": "Recreate"}, the plan'),
        ({"replicas": 0}, "wants no pods"),
    ):
        stand.change(one.name, {"spec": change})
        assert_refused(one, said)


def test_a_workload_made_again_since_the_plan_is_refused(stand, idle):
    one = idle().ready()
    stand.apps.delete_namespaced_deployment(one.name, stand.namespace)
    stand.deploy(one.name, path=one.before, replicas=0)
    assert_refused(one, "made again")


def test_a_workload_that_another_release_holds_is_refused_and_then_taken(stand, release):
    second, first = release().ready(), release("unready", ready_within=300).ready()
    rollout = first.rollout()
    drive(rollout, until=patched(first))
    held = drive(second.rollout())
    assert held.status == "refused"
    assert f"release {first.plan.release_id} holds it" in held.reason
    assert f"annotate deployment {first.name} {LOCK}-" in held.reason
    assert first.plan.release_id in notes(stand.read(first.name))[LOCK]
    rollout.end("a person ended its task")
    assert_put_back(first, drive(rollout))
    first.ledger.record("failed", first.plan.release_id)
    # What kubectl's undo does: it brings old annotations back, among them the lock of a release that has ended.
    stand.change(first.name, {"metadata": {"annotations": {LOCK: first.plan.release_id}}})
    assert drive(second.rollout()).status == "live"


def test_a_lock_of_a_release_that_has_ended_under_another_targets_name_is_taken(stand, release):
    first = release().ready()
    assert drive(first.rollout()).status == "live"
    second = release(name="another").ready()
    stand.change(release.name, {"metadata": {"annotations": {LOCK: first.plan.release_id}}})
    stop = drive(second.rollout())
    assert stop.status == "live", stop.reason


def test_two_airflows_that_share_a_workload_do_not_know_each_others_releases_and_respect_the_lock(stand, idle):
    one = idle().ready()
    theirs = "20260101t000000z-0123456789"
    stand.change(one.name, {"metadata": {"annotations": {LOCK: theirs}}})
    stop = drive(one.rollout())
    assert (stop.status, f"release {theirs} holds it" in stop.reason) == ("refused", True)
    assert notes(stand.read(one.name))[LOCK] == theirs


def test_a_container_that_is_gone_since_the_plan_is_refused(idle):
    assert_refused(
        idle(binding=Binding(idle.name, "gone", "MODEL_PATH", None, "/models/x")).ready(), "a live value is neither"
    )


def test_declared_is_enough_where_the_plan_asks_for_no_more(release):
    one = release("liar", "broken", confirm=Confirm("declared", None, None)).ready()
    assert drive(one.rollout()).status == "live"
