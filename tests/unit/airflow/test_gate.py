"""The gate's task: whom it asks, what it does with an answer, and what when it wakes without one."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskAwaitingInput

from modelberth.core.plan import Approver
from modelberth.receipts import StoreError, StoreUnreachableError
from modelberth.receipts import store as stores
from modelberth.sensors import approval, question
from plans import a_gate, a_plan

ANSWER = {
    "chosen_options": ["Approve"],
    "responded_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "responded_by_user": {"id": "alice", "name": "Alice"},
    "timedout": False,
}


ALICE, BOB, CAROL = (Approver(name.lower(), name) for name in ("Alice", "Bob", "Carol"))


@pytest.fixture
def planned(evidence):
    """Puts a plan on record; *rules* are those of its gate that differ."""

    def make(**rules):
        gate = a_gate(**{"approvers": (ALICE,), "requested_by": "dora"} | rules)
        one = a_plan(evidence.release_id, gate=gate)
        evidence.write("verify", {"bytes": 7, "how": "direct", "node": "n"}, target="embedder")
        evidence.write("plan", {"plan": one.document(), "plan_digest": str(one.digest)})
        return one

    return make


@pytest.fixture
def plan(planned):
    """A plan that Alice may approve."""
    return planned()


@pytest.fixture
def asked(context, monkeypatch):
    """The questions that Airflow was given; it keeps the texts of the first, as the real one does."""
    questions = []
    context["ti"].id = "0190f6a0-0000-7000-8000-000000000000"

    def keep(one):
        questions.append(one)
        return SimpleNamespace(body=questions[0].body)

    monkeypatch.setattr(question, "_sent", keep)
    return questions


@pytest.fixture
def failing(monkeypatch):
    """Makes every call of the store fail in turn with the errors that are given; then it answers."""
    monkeypatch.setattr(approval, "PAUSE", 0.0)

    def fail(*errors):
        left = list(errors)

        def before(method):
            def call(*args, **kwargs):
                if left:
                    raise left.pop(0)
                return method(*args, **kwargs)

            return call

        for name in ("create", "read", "keys"):
            monkeypatch.setattr(stores._S3Store, name, before(getattr(stores._S3Store, name)))

    return fail


def sensor(number=1, **kwargs):
    return approval.ModelApprovalSensor(task_id="approve", model="minilm", number=number, **kwargs)


def park(context, number=1, **kwargs):
    """Ask, and return how the task waits."""
    with pytest.raises(TaskAwaitingInput) as parked:
        sensor(number, **kwargs).execute(context)
    return parked.value


def answer(plan, context, number=1, **changes):
    return sensor(number).execute_complete(context, ANSWER | changes, plan_digest=str(plan.digest))


def of(person):
    return {"responded_by_user": {"id": person.id, "name": person.name}}


NOBODY_YET = {"error": "The Human-in-the-loop response timeout has passed without a response.", "error_type": "timeout"}


def wake(plan, context, number=1, **kwargs):
    """Wake a gate that nobody has answered."""
    return sensor(number, **kwargs).execute_complete(context, NOBODY_YET, plan_digest=str(plan.digest))


def newer(ledger):
    ledger.record("proposed", "20270101t000000z-0000000000")


# --- the store ------------------------------------------------------------------------------------------------------


SILENT = StoreUnreachableError("Store failed: ReadTimeoutError.")


def test_an_approval_outlives_a_store_that_does_not_answer_at_once(plan, context, evidence, failing):
    failing(SILENT, SILENT, SILENT)
    assert answer(plan, context)["decision"] == "approve"
    assert evidence.read("approve")["responder"] == {"id": "alice", "name": "Alice"}


def test_a_rejection_outlives_it_too(plan, context, ledger, failing):
    failing(SILENT, SILENT)
    with pytest.raises(AirflowSkipException, match="rejected by alice"):
        answer(plan, context, chosen_options=["Reject"])
    assert ledger.events(plan.release_id) == {"rejected"}


def test_a_store_that_stays_silent_is_given_up_and_the_person_asked_again(plan, context, failing, monkeypatch):
    monkeypatch.setattr(approval, "PATIENCE", 0.05)
    failing(*[SILENT] * 100_000)
    with pytest.raises(AirflowException, match="answer once more") as caught:
        answer(plan, context)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_store_that_says_no_ends_the_task_at_once(plan, context, failing):
    failing(StoreError("Store refused: 403."), StoreError("asked again"))
    with pytest.raises(AirflowFailException, match="403"):
        answer(plan, context)


def test_evidence_that_is_not_ours_ends_the_task_at_once(plan, context, objects):
    (key,) = [key for key in objects if key.endswith("05-plan.json")]
    objects[key] = objects[key].replace(b"alice", b"mallo")
    with pytest.raises(AirflowFailException, match="signature"):
        answer(plan, context)


def test_a_look_at_a_store_that_does_not_answer_is_no_reason_to_end(plan, context, failing):
    failing(*[SILENT] * 3)
    with pytest.raises(TaskAwaitingInput) as parked:
        wake(plan, context)
    assert parked.value.kwargs == {"plan_digest": str(plan.digest)}


def test_a_catalog_file_that_is_broken_meanwhile_is_no_reason_to_end_either(plan, context, catalog):
    catalog.write("models/minilm.yaml", "source: {")
    with pytest.raises(TaskAwaitingInput):
        wake(plan, context)
    catalog.write("models/minilm.yaml", catalog.model)
    assert answer(plan, context)["decision"] == "approve"


def test_an_answer_that_is_on_record_is_followed_at_the_next_look(plan, context, ledger):
    answer(plan, context)
    newer(ledger)
    assert wake(plan, context)["responder"] == "alice"


# --- waiting --------------------------------------------------------------------------------------------------------


def test_a_gate_that_waits_looks_twice_an_hour(plan, context, asked):
    assert park(context).timeout == timedelta(minutes=30)
    assert park(context, poke_interval=5).timeout == timedelta(seconds=5)


def test_it_wakes_when_its_time_is_over(planned, context, asked):
    planned(answer_within=600)
    assert timedelta(minutes=9) < park(context).timeout <= timedelta(minutes=10)


def test_a_look_asks_nobody_again_and_waits_on_for_an_answer_to_the_same_plan(plan, context, asked, ledger):
    first = park(context)
    with pytest.raises(TaskAwaitingInput) as again:
        wake(plan, context)
    assert (again.value.kwargs, again.value.method_name) == (first.kwargs, first.method_name)
    assert again.value.timeout == timedelta(minutes=30)
    assert len(asked) == 1
    assert ledger.events(plan.release_id) == set()
    assert answer(plan, context)["responder"] == "alice"


def test_a_superseded_gate_ends_at_its_next_look(plan, context, asked, ledger, evidence):
    park(context)
    newer(ledger)
    with pytest.raises(AirflowSkipException, match="20270101t000000z-0000000000 is a newer proposal"):
        wake(plan, context)
    assert ledger.events(plan.release_id) == {"superseded"}
    assert context["ti"].xcoms["return_value"]["decision"] == "superseded"
    assert evidence.find("approve") is None


def test_a_gate_whose_release_another_plan_took_along_ends_too(plan, context, asked, ledger):
    park(context)
    ledger.record("superseded", plan.release_id, reason="release x takes it along")
    with pytest.raises(AirflowSkipException, match="superseded"):
        wake(plan, context)


def test_an_answer_to_a_superseded_gate_approves_nothing(plan, context, evidence, ledger):
    newer(ledger)
    with pytest.raises(AirflowSkipException, match="newer proposal"):
        answer(plan, context)
    assert evidence.find("approve") is None


@pytest.fixture
def long_ago(monkeypatch):
    """The plan was made at the beginning of the year."""
    monkeypatch.setattr("modelberth.receipts.evidence.now", lambda: "2026-01-02T03:04:05Z")


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("way", ["asked", "looked", "answered"])
def test_a_gate_that_nobody_answered_in_time_rejects_by_itself(planned, context, asked, ledger, evidence, way):
    plan = planned(answer_within=3600)
    late = {"responded_at": datetime(2026, 1, 2, 4, 4, 6, tzinfo=UTC)}
    with pytest.raises(AirflowSkipException, match=r"nobody answered within 60 min \(answer_within\)"):
        {"asked": sensor().execute, "looked": lambda _: wake(plan, context)}.get(
            way, lambda _: answer(plan, context, **late)
        )(context)
    assert ledger.events(plan.release_id) == {"rejected"}
    assert (evidence.read("approve")["decision"], evidence.read("approve")["responder"]) == ("reject", None)
    with pytest.raises(AirflowSkipException, match="rejected"):
        sensor().execute(context)
    assert asked == []


@pytest.mark.usefixtures("long_ago")
def test_an_answer_given_in_time_counts_however_late_it_is_judged(planned, context):
    plan = planned(answer_within=3600)
    assert answer(plan, context, responded_at=datetime(2026, 1, 2, 4, 4, 5, tzinfo=UTC))["decision"] == "approve"


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_a_note_is_kept_in_the_receipt_and_in_the_ledger(plan, context, evidence, ledger, option):
    note = {"params_input": {"note": "  after the\nload test "}}
    try:
        answer(plan, context, chosen_options=[option], **note)
    except AirflowSkipException:
        assert option == "Reject"
    assert evidence.read("approve")["note"] == "after the\nload test"
    [entry] = ledger.entries()
    assert entry.reason.endswith("ed by alice: after the\nload test")


@pytest.mark.parametrize("sent", [{}, {"note": None}, {"note": ""}, {"note": 7}, {"note": {"a": 1}}, {"other": "x"}])
def test_no_note_is_needed_and_what_is_none_is_left_out(plan, context, evidence, sent):
    answer(plan, context, params_input=sent)
    assert evidence.read("approve")["note"] is None


def test_a_note_without_end_is_cut(plan, context, evidence):
    answer(plan, context, params_input={"note": "x" * 100_000})
    assert len(evidence.read("approve")["note"]) == question.LONGEST_NOTE


def test_the_form_asks_for_a_note_that_may_be_left_empty(plan, context, asked):
    park(context)
    [sent] = asked
    assert sent.params["note"]["schema"]["type"] == ["string", "null"]
    assert sent.options == ["Approve", "Reject"]
    assert sent.defaults is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timedout": True, "responded_by_user": None}, "no time-out decides anything"),
        ({"timedout": True}, "no time-out decides anything"),
        ({"responded_by_user": None}, "anonymous"),
        ({"responded_by_user": {"id": "mallory", "name": "Alice"}}, "mallory"),
        ({"chosen_options": ["Approve", "Reject"]}, "it is"),
        ({"chosen_options": []}, "it is"),
    ],
)
def test_an_answer_that_does_not_count_leaves_nothing(plan, context, evidence, ledger, changes, said):
    with pytest.raises(AirflowFailException, match=said):
        answer(plan, context, **changes)
    assert evidence.find("approve") is None
    assert ledger.events(plan.release_id) == set()


def test_of_two_answers_the_first_counts_and_the_other_is_refused(plan, context, evidence, ledger):
    answer(plan, context)
    with pytest.raises(AirflowFailException, match=r"06-approve of release .* says something else"):
        answer(plan, context, chosen_options=["Reject"])
    assert evidence.read("approve")["decision"] == "approve"
    assert ledger.events(plan.release_id) == {"approved"}


def test_a_rejection_cannot_be_followed_by_an_approval(plan, context, evidence, ledger):
    with pytest.raises(AirflowSkipException):
        answer(plan, context, chosen_options=["Reject"])
    with pytest.raises(AirflowFailException, match="says something else"):
        answer(plan, context)
    with pytest.raises(AirflowSkipException, match="rejected by alice"):
        sensor().execute(context)
    assert evidence.read("approve")["decision"] == "reject"
    assert ledger.events(plan.release_id) == {"rejected"}


def test_an_answer_to_a_plan_that_was_replaced_meanwhile_does_not_count(plan, context, planned, objects, evidence):
    (key,) = [key for key in objects if key.endswith("05-plan.json")]
    del objects[key]
    planned(answer_within=60)
    for event in (ANSWER, NOBODY_YET):
        with pytest.raises(AirflowFailException, match="the plan that was shown"):
            sensor().execute_complete(context, event, plan_digest=str(plan.digest))
    assert evidence.find("approve") is None


def test_a_question_that_airflow_kept_from_another_plan_is_not_asked(plan, context, planned, objects, asked):
    park(context)
    (key,) = [key for key in objects if key.endswith("05-plan.json")]
    del objects[key]
    planned(answer_within=60)
    with pytest.raises(AirflowFailException, match="still shows the question about another plan"):
        sensor().execute(context)


# --- people ---------------------------------------------------------------------------------------------------------


def ids(sent):
    return [user.id for user in sent.assigned_users]


def test_several_approvals_are_asked_one_after_the_other_of_different_people(planned, context, asked, evidence, ledger):
    plan = planned(approvers=(ALICE, BOB, CAROL), approvals=2)
    park(context)
    assert ids(asked[-1]) == ["alice", "bob", "carol"]
    with pytest.raises(AirflowFailException, match="06-approve:"):
        sensor(2).execute(context)
    answer(plan, context, **of(BOB), params_input={"note": "fine"})
    assert ledger.events(plan.release_id) == set()
    asked.clear()  # a task instance of its own has a question of its own
    park(context, number=2)
    assert ids(asked[-1]) == ["alice", "carol"]
    assert "has approved: fine" in asked[-1].body
    with pytest.raises(AirflowFailException, match="'bob' has answered before"):
        answer(plan, context, number=2, **of(BOB))
    answer(plan, context, number=2, **of(CAROL))
    assert evidence.read("approve", "2")["responder"]["id"] == "carol"
    [entry] = ledger.entries()
    assert (entry.event, entry.reason) == ("approved", "approved by bob: fine; carol")
    assert sensor(3).execute(context)["decision"] == "not needed"


def test_a_second_answer_that_says_no_rejects(planned, context, ledger):
    plan = planned(approvers=(ALICE, BOB), approvals=2)
    answer(plan, context)
    with pytest.raises(AirflowSkipException, match="rejected by bob"):
        answer(plan, context, number=2, **of(BOB), chosen_options=["Reject"])
    assert ledger.events(plan.release_id) == {"rejected"}


def test_a_rejected_first_answer_that_was_marked_a_success_is_not_followed_by_a_second(planned, context, asked):
    plan = planned(approvers=(ALICE, BOB), approvals=2)
    with pytest.raises(AirflowSkipException):
        answer(plan, context, chosen_options=["Reject"])
    with pytest.raises(AirflowFailException, match="decision is 'reject'"):
        sensor(2).execute(context)
    assert asked == []


def test_under_four_eyes_who_requested_it_is_not_asked_and_does_not_count(planned, context, asked, evidence):
    plan = planned(approvers=(ALICE, BOB), four_eyes=True, requested_by="alice")
    park(context)
    assert ids(asked[-1]) == ["bob"]
    with pytest.raises(AirflowFailException, match="four_eyes"):
        answer(plan, context)
    assert evidence.find("approve") is None
    assert answer(plan, context, **of(BOB))["responder"] == "bob"


def test_under_four_eyes_two_answer_where_nobody_knows_who_requested_it(planned, context, ledger):
    plan = planned(approvers=(ALICE, BOB), four_eyes=True, requested_by=None)
    answer(plan, context)
    assert ledger.events(plan.release_id) == set()
    answer(plan, context, number=2, **of(BOB))
    assert ledger.events(plan.release_id) == {"approved"}


@pytest.mark.parametrize(
    ("rules", "users", "said"),
    [
        ({"four_eyes": True, "requested_by": "alice"}, "alice:user", "requested it"),
        ({}, "bob:user", "'alice': no such user of this Airflow"),
        ({}, "alice:viewer", "the role 'viewer' may not answer"),
        ({"approvers": (ALICE, BOB), "approvals": 2}, "alice:user,carol:user", "'bob': no such user"),
    ],
)
def test_a_gate_that_nobody_could_answer_asks_nobody(planned, context, asked, monkeypatch, rules, users, said):
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    planned(**rules)
    with pytest.raises(AirflowFailException, match=said):
        sensor().execute(context)
    assert asked == []


def test_where_all_users_are_one_nobody_is_asked(plan, context, asked, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    with pytest.raises(AirflowFailException, match="nobody can be told from another"):
        sensor().execute(context)
    assert asked == []


def test_what_a_worker_cannot_know_of_the_users_is_said_and_not_guessed(plan, context, asked, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "airflow.providers.fab.auth_manager.FabAuthManager")
    park(context)
    assert "FabAuthManager keeps its users where a task cannot look" in asked[-1].body


def test_who_is_a_user_of_this_airflow_is_said(planned, context, asked, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "alice:user,bob:viewer")
    planned(approvers=(ALICE, BOB))
    park(context)
    assert "| alice | Alice | may answer |" in asked[-1].body
    assert "| bob | Bob | cannot answer: the role 'viewer' may not answer |" in asked[-1].body


# --- what was done already ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", ["live", "put back"])
def test_a_used_approval_does_not_count_again(plan, context, evidence, result):
    answer(plan, context)
    evidence.write("outcome", {"result": result}, target="embedder")
    with pytest.raises(AirflowFailException, match="has ended there: its approval is used"):
        sensor().execute(context)
    with pytest.raises(AirflowFailException, match="has ended there: its approval is used"):
        answer(plan, context)
