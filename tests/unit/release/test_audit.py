"""The audit: a chain that is whole is silent, and each way to break it is found and named by the file that it is in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from chains import FIRST, SECOND, STEPS, THIRD, Shelf, a_release, about, an_answer

from modelberth.core.plan import Gate
from modelberth.core.signature import Signed
from modelberth.receipts import StoreError
from modelberth.receipts.audit import Folder
from modelberth.receipts.signing import SigningKey


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Shelf:
    """Two releases of a model and one of another, all live."""
    shelf = Shelf(tmp_path_factory.mktemp("receipts"))
    shelf.release(FIRST, "1")
    shelf.release(SECOND, "2")
    shelf.release(FIRST, "3", model="other")
    return shelf


@pytest.fixture
def shelf(written, tmp_path) -> Shelf:
    """The same, to be broken."""
    shutil.copytree(written.root, tmp_path / "receipts")
    return Shelf(tmp_path / "receipts", written.key)


RECEIPTS = [
    *("01-resolve.json", "02-upload.json", "03-sync-embedder.json", "03-sync-second.json", "04-verify-embedder.json"),
    *("04-verify-second.json", "05-plan.json", "06-approve.json", "07-check-embedder.json", "07-check-second.json"),
    *("08-started-embedder.json", "08-decided-embedder.json", "09-outcome-embedder.json", "08-started-second.json"),
    *("08-decided-second.json", "09-outcome-second.json", "10-record.json"),
]
NOTED = ["proposed", "approved", "live"]


def named(problems, path) -> bool:
    return any(str(problem).startswith(f"{path}: ") for problem in problems)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


def rewrite(shelf: Shelf, path, change, key=None) -> None:
    """Change a receipt as somebody who has *key*; by default none: the old signature stays."""
    document = json.loads(path.read_bytes())
    change(document["receipt"])
    if key:
        path.write_bytes(key.seal(document["receipt"]))
    else:
        path.write_bytes(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def test_whole_chains_are_silent(shelf):
    assert sorted(path.name for path in (shelf.root / "minilm" / FIRST).iterdir()) == sorted(RECEIPTS)
    assert shelf.audit(now=later()) == []
    assert shelf.audit(FIRST, now=later()) == []
    assert shelf.audit(model="other", now=later()) == []


@pytest.mark.parametrize("file", RECEIPTS)
def test_a_receipt_that_was_taken_away_is_missed_by_name(shelf, file):
    shelf.path(SECOND, file).unlink()
    for problems in (shelf.audit(now=later()), shelf.audit(SECOND, now=later())):
        assert named(problems, f"minilm/{SECOND}/{file}")
        assert "is missing" in str(problems)
        assert FIRST not in str(problems)


@pytest.mark.parametrize("event", NOTED)
def test_an_entry_of_the_ledger_that_was_taken_away_is_missed_by_name(shelf, event):
    (shelf.root / f"ledger/minilm/{SECOND}-{event}.json").unlink()
    assert named(shelf.audit(SECOND, now=later()), f"ledger/minilm/{SECOND}-{event}.json")


@pytest.mark.parametrize("file", [*RECEIPTS, *(f"ledger {event}" for event in NOTED)])
def test_one_flipped_bit_is_found_wherever_it_is(shelf, file):
    """A dozen bits across every file: in names, values, digests, the signature and the key's name."""
    path = shelf.path(SECOND, file)
    if file.startswith("ledger "):
        path = shelf.root / f"ledger/minilm/{SECOND}-{file.partition(' ')[2]}.json"
    whole = path.read_bytes()
    for bit in range(7, len(whole) * 8, len(whole) * 8 // 11 | 1):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert named(shelf.audit(SECOND, now=later()), path.relative_to(shelf.root)), bit
    path.write_bytes(whole)
    assert shelf.audit(SECOND, now=later()) == []


def test_the_last_bits_of_a_signature_have_one_spelling(shelf):
    """Base64 ignores the last four bits of the digit before its padding: they must not be free to choose."""
    path = shelf.path(SECOND, "10-record.json")
    signature = json.loads(path.read_bytes())["signature"]["ed25519"]
    other = signature[:-3] + chr(ord(signature[-3]) + 1) + "=="
    path.write_bytes(path.read_bytes().replace(signature.encode(), other.encode()))
    assert named(shelf.audit(SECOND, now=later()), f"minilm/{SECOND}/10-record.json")


SWAPPED = [
    ("03-sync-embedder.json", "03-sync-second.json"),
    ("08-started-embedder.json", "08-decided-embedder.json"),
    ("05-plan.json", "06-approve.json"),
]


@pytest.mark.parametrize("pair", SWAPPED, ids=str)
def test_two_that_were_swapped_are_both_found(shelf, pair):
    one, other = (shelf.path(SECOND, file) for file in pair)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    problems = shelf.audit(SECOND, now=later())
    assert all(named(problems, f"minilm/{SECOND}/{file}") for file in pair)
    assert "copied there" in str(problems)


@pytest.mark.parametrize("file", RECEIPTS)
def test_what_was_copied_from_another_release_is_found(shelf, file):
    shutil.copy(shelf.path(FIRST, file), shelf.path(SECOND, file))
    assert named(shelf.audit(SECOND, now=later()), f"minilm/{SECOND}/{file}")


def test_what_was_copied_from_another_model_is_found(shelf):
    shutil.copy(shelf.path(FIRST, "06-approve.json", "other"), shelf.path(FIRST, "06-approve.json"))
    assert named(shelf.audit(FIRST, now=later()), f"minilm/{FIRST}/06-approve.json")


def test_an_entry_of_the_ledger_that_was_copied_to_another_release_is_found(shelf):
    shutil.copy(shelf.root / f"ledger/minilm/{FIRST}-live.json", shelf.root / f"ledger/minilm/{THIRD}-live.json")
    problems = shelf.audit(now=later())
    assert named(problems, f"ledger/minilm/{THIRD}-live.json")
    assert "copied there" in str(problems)


@pytest.mark.parametrize("file", RECEIPTS)
def test_what_was_edited_is_found_and_so_is_what_was_signed_with_another_key(shelf, file):
    path, mallory = shelf.path(SECOND, file), SigningKey(os.urandom(32))
    for key in (None, mallory):
        rewrite(shelf, path, lambda receipt: receipt.update(reason="nothing to see"), key)
        problems = shelf.audit(SECOND, now=later())
        assert named(problems, f"minilm/{SECOND}/{file}")
        assert "does not bear the signature" in str(problems)


FORGED_WITHIN = [
    ("05-plan.json", lambda r: r.update(plan_digest="sha256:" + "0" * 64), "its plan has"),
    ("05-plan.json", lambda r: r["plan"].update(schema=1), "cannot be judged"),
    ("05-plan.json", lambda r: r["previous"].pop("04-verify-second"), "does not rest on 04-verify-second"),
    ("06-approve.json", lambda r: r.update(responder={"id": "mallory", "name": "M"}), "mallory"),
    ("06-approve.json", lambda r: r.update(plan_digest="sha256:" + "0" * 64), "plan_digest"),
    ("06-approve.json", lambda r: r.update(decision="maybe"), "decision"),
    ("06-approve.json", lambda r: r.update(previous={}), "out of order"),
    ("07-check-second.json", lambda r: r["previous"].pop("06-approve"), "out of order"),
    ("07-check-second.json", lambda r: r.update(snapshot="3" * 64 + ".1"), "snapshot"),
    ("07-check-second.json", lambda r: r.update(at="2026-01-01T00:00:00Z"), "not within the last hour"),
    ("07-check-second.json", lambda r: r.update(claim="elsewhere"), "claim"),
    ("04-verify-second.json", lambda r: r.update(snapshot="3" * 64 + ".1"), "snapshot"),
    ("02-upload.json", lambda r: r.update(bytes=1), "bytes"),
    ("08-started-second.json", lambda r: r.update(plan_digest="sha256:" + "0" * 64), "plan_digest"),
    ("08-started-second.json", lambda r: r["previous"].pop("09-outcome-embedder"), "does not rest on 09-outcome"),
    ("09-outcome-second.json", lambda r: r.update(result="put back"), "decided was 'keep'"),
    ("09-outcome-second.json", lambda r: r["previous"].update({"05-plan": "sha256:" + "0" * 64}), "cannot"),
    ("10-record.json", lambda r: r.update(targets=["embedder"]), "targets"),
    ("10-record.json", lambda r: r["previous"].pop("09-outcome-second"), "out of order"),
]


@pytest.mark.parametrize(("file", "change", "said"), FORGED_WITHIN, ids=lambda one: one if isinstance(one, str) else "")
def test_what_only_the_keys_holder_could_write_must_still_say_what_it_must(shelf, file, change, said):
    """As if the code that writes receipts had a fault, or its key was used for something else."""
    rewrite(shelf, shelf.path(SECOND, file), change, shelf.key)
    shelf.relink(SECOND)
    problems = [str(problem) for problem in shelf.audit(SECOND, now=later())]
    assert any(one.startswith(f"minilm/{SECOND}/{file}") and said in one for one in problems), problems


@pytest.mark.parametrize("result", ["put back", "lost"])
def test_what_was_started_though_what_comes_before_it_was_not_live_is_found(shelf, result):
    rewrite(shelf, shelf.path(SECOND, "08-decided-embedder.json"), lambda r: r.update(decision="put back"), shelf.key)
    rewrite(shelf, shelf.path(SECOND, "09-outcome-embedder.json"), lambda r: r.update(result=result), shelf.key)
    shelf.relink(SECOND)
    started = f"minilm/{SECOND}/08-started-second.json: rests on 09-outcome-embedder, which is '{result}'"
    assert started in [str(problem) for problem in shelf.audit(SECOND, now=later())]


SIGNED = (Signed("revision", "valid", "key sha256:9a", "key sha256:9a"),)


def test_a_signed_release_is_whole_also_when_the_signature_was_looked_at_twice(shelf):
    evidence = shelf.evidence(THIRD)
    shelf.release(THIRD, "4", until="upload", signed=(replace(SIGNED[0], result="none", by=None),))
    shelf.release(THIRD, "4", signed=SIGNED)
    assert evidence.find("plan")["previous"]["02-signature"] == str(evidence.digest("signature"))
    assert shelf.path(THIRD, "02-signature.2.json").exists()
    assert shelf.audit(THIRD, now=later()) == []


@pytest.mark.parametrize(
    ("change", "file", "said"),
    [
        (lambda shelf: shelf.path(THIRD, "02-signature.json").unlink(), "02-signature.json", "is missing"),
        (
            lambda shelf: rewrite(
                shelf, shelf.path(THIRD, "02-signature.json"), lambda r: r.update(signed=[]), shelf.key
            ),
            "02-signature.json",
            "does not say of the signatures",
        ),
        (
            lambda shelf: rewrite(
                shelf, shelf.path(THIRD, "02-signature.json"), lambda r: r.update(revision="minilm@x"), shelf.key
            ),
            "02-signature.json",
            "does not say of the signatures",
        ),
        (
            lambda shelf: rewrite(
                shelf, shelf.path(THIRD, "05-plan.json"), lambda r: r["previous"].pop("02-signature"), shelf.key
            ),
            "05-plan.json",
            "does not rest on 02-signature",
        ),
    ],
)
def test_a_plan_that_says_who_signed_rests_on_a_receipt_that_says_the_same(shelf, change, file, said):
    shelf.release(THIRD, "4", signed=SIGNED)
    change(shelf)
    shelf.relink(THIRD)
    problems = [str(problem) for problem in shelf.audit(THIRD, now=later())]
    assert any(one.startswith(f"minilm/{THIRD}/{file}") and said in one for one in problems), problems


def test_an_old_attempt_put_in_the_place_of_a_newer_one_is_found(shelf):
    evidence = shelf.evidence(THIRD)
    shelf.release(THIRD, "4", until="sync")
    evidence.write("sync", {"snapshot": "another"}, target="second")
    shutil.copy(shelf.path(THIRD, "03-sync-second.json"), shelf.path(THIRD, "03-sync-second.2.json"))
    assert named(shelf.audit(THIRD), f"minilm/{THIRD}/03-sync-second.2.json")


def test_a_gap_in_the_attempts_and_a_second_one_of_what_is_done_once_are_found(shelf):
    evidence = shelf.evidence(THIRD)
    shelf.release(THIRD, "4", until="sync")
    evidence.write("sync", {"snapshot": "another"}, target="second")
    assert shelf.audit(THIRD) == []
    shelf.path(THIRD, "03-sync-second.json").unlink()
    assert named(shelf.audit(THIRD), f"minilm/{THIRD}/03-sync-second.json")
    body = json.loads(shelf.path(SECOND, "06-approve.json").read_bytes())["receipt"] | {"attempt": 2}
    shelf.path(SECOND, "06-approve.2.json").write_bytes(shelf.key.seal(body))
    assert "second approve" in str(shelf.audit(SECOND, now=later()))


def test_a_stranger_is_named_and_disturbs_no_other(shelf):
    shelf.path(SECOND, "11-forgiven.json").write_bytes(b"{}")
    shelf.path(SECOND, "4-verify-embedder.json").write_bytes(b"{}")
    shelf.path(SECOND, "04-verify-embedder.1.json").write_bytes(b"{}")
    problems = shelf.audit(SECOND, now=later())
    assert [problem.where.rpartition("/")[2] for problem in problems] == [
        "04-verify-embedder.1.json",
        "11-forgiven.json",
        "4-verify-embedder.json",
    ]


def test_what_is_too_large_to_be_a_receipt_stops_no_audit(shelf, monkeypatch):
    whole = Folder.read

    def read(self, key):
        if key.endswith("06-approve.json"):
            raise StoreError(f"{key} is larger than 4194304 bytes")
        return whole(self, key)

    monkeypatch.setattr(Folder, "read", read)
    problems = shelf.audit(SECOND, now=later())
    assert [problem.where for problem in problems] == [f"minilm/{SECOND}/06-approve.json"]


def test_a_whole_release_that_is_gone_but_for_the_ledger_is_missed(shelf):
    shutil.rmtree(shelf.root / "minilm" / SECOND)
    problems = shelf.audit(now=later())
    assert named(problems, f"minilm/{SECOND}/10-record.json")
    assert named(problems, f"minilm/{SECOND}/06-approve.json")


def test_a_target_that_the_plan_does_not_touch_is_named(shelf):
    shelf.evidence(SECOND).write("started", {"plan_digest": "x"}, target="third")
    assert named(shelf.audit(SECOND, now=later()), f"minilm/{SECOND}/08-started-third.json")


@pytest.mark.parametrize("until", ["resolve", "upload", "sync", "verify", "plan", "approve"])
def test_a_release_that_is_on_its_way_is_no_problem(shelf, until):
    shelf.release(THIRD, "4", until=until)
    assert shelf.audit(now=later()) == []


def test_what_should_have_ended_long_ago_is_said(shelf):
    shelf.release(THIRD, "4", until="rollout")
    assert shelf.audit(THIRD) == []
    assert named(shelf.audit(THIRD, now=later()), f"minilm/{THIRD}/10-record.json")
    shelf.path(THIRD, "09-outcome-second.json").unlink()
    assert shelf.audit(THIRD) == []
    assert named(shelf.audit(THIRD, now=later()), f"minilm/{THIRD}/09-outcome-second.json")


def test_a_rejected_release_is_whole_and_may_not_have_gone_on(shelf):
    plan = shelf.release(THIRD, "4", until="plan")
    shelf.evidence(THIRD).write("approve", an_answer(plan, decision="reject"))
    assert named(shelf.audit(THIRD, now=later()), f"ledger/minilm/{THIRD}-rejected.json")
    shelf.book().record("rejected", THIRD, **about(plan))
    assert shelf.audit(THIRD, now=later()) == []
    shelf.evidence(THIRD).write("started", {"plan_digest": str(plan.digest)}, target="embedder")
    assert named(shelf.audit(THIRD), f"minilm/{THIRD}/06-approve.json")


def test_a_gate_of_two_needs_both_and_two_different_people(tmp_path):
    shelf = Shelf(tmp_path)
    plan = a_release(FIRST, "1", "minilm")
    alice = plan.gate.approvers[0]
    plan = replace(plan, gate=Gate((alice, replace(alice, id="bob", name="Bob")), 2, False, None, 60))
    for day, second in (("2", "bob"), ("3", "alice"), ("4", None)):
        one = replace(plan, release_id=f"2026020{day}t000000z-0000000000")
        one = replace(one, models=(replace(one.own, release_id=one.release_id),))
        write_with_two_answers(shelf, one, second)
        problems = [str(problem) for problem in shelf.audit(one.release_id)]
        assert bool(problems) is (second != "bob"), (second, problems)
        assert all("approve" in problem for problem in problems)


def write_with_two_answers(shelf, plan, second) -> None:
    evidence = shelf.evidence(plan.release_id)
    for step in ("resolve", "upload", "sync", "verify", "plan", "approve"):
        STEPS[step](shelf, evidence, plan)
    if second:
        evidence.write("approve", an_answer(plan, responder={"id": second, "name": second}), target="2")
    STEPS["rollout"](shelf, evidence, plan)


# --- rollbacks ------------------------------------------------------------------------------------------------------


def test_a_rollback_rests_on_the_release_that_it_serves_again(shelf):
    shelf.rollback(THIRD, to=FIRST)
    assert shelf.audit(now=later()) == []


@pytest.mark.parametrize("file", ["04-verify-embedder.json", "02-upload.json"])
def test_what_a_rollback_rests_on_is_missed_there(shelf, file):
    shelf.rollback(THIRD, to=FIRST)
    shelf.path(FIRST, file).unlink()
    assert named(shelf.audit(THIRD, now=later()), f"minilm/{FIRST}/{file}")


def test_a_rollback_whose_earlier_proof_was_replaced_is_found(shelf):
    shelf.rollback(THIRD, to=FIRST)
    rewrite(shelf, shelf.path(FIRST, "04-verify-embedder.json"), lambda r: r.update(how="not at all"), shelf.key)
    assert "was replaced" in str(shelf.audit(THIRD, now=later()))


def test_a_rollback_without_its_list_is_found(shelf):
    shelf.rollback(THIRD, to=FIRST)
    shelf.path(THIRD, "01-list-embedder.json").unlink()
    assert named(shelf.audit(THIRD, now=later()), f"minilm/{THIRD}/01-list-embedder.json")


def test_what_was_rolled_back_is_so_in_the_ledger_and_nothing_else_is(shelf):
    shelf.rollback(THIRD, to=FIRST)
    entry = shelf.root / f"ledger/minilm/{SECOND}-rolled-back.json"
    entry.rename(shelf.root / "taken")
    assert named(shelf.audit(now=later()), f"ledger/minilm/{SECOND}-rolled-back.json")
    (shelf.root / "taken").rename(entry)
    assert shelf.audit(now=later()) == []
    shelf.book().record("rolled-back", FIRST, **about(a_release(FIRST, "1", "minilm")))
    assert named(shelf.audit(now=later()), f"ledger/minilm/{FIRST}-rolled-back.json")


# --- several models in one plan ---------------------------------------------------------------------------------------


def test_a_model_that_another_release_switched_is_whole_by_that_ones_record(tmp_path):
    shelf = Shelf(tmp_path)
    base = shelf.release_with(FIRST, "adapter", SECOND)
    assert shelf.audit() == []
    assert shelf.audit(model="adapter", now=later()) == []
    shelf.path(FIRST, "10-record.json").unlink()
    assert named(shelf.audit(SECOND, model="adapter"), f"minilm/{FIRST}/10-record.json")
    record = shelf.path(SECOND, "10-record.json", "adapter")
    rewrite(shelf, record, lambda r: r.update(revision=str(base.own.revision)), shelf.key)
    assert named(shelf.audit(SECOND, model="adapter"), f"adapter/{SECOND}/10-record.json")


# --- the program ----------------------------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, list[str]]:
    """Return exit code and lines of the program, as somebody runs it who has the folder and the public key only."""
    command = [sys.executable, "-m", "modelberth.receipts", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_the_program_judges_all_a_model_or_a_release_with_the_public_key_alone(shelf):
    folder, key = str(shelf.root), shelf.key.public_key
    assert run(folder, "--key", key) == (0, ["3 releases of 2 models: no problem."])
    shelf.path(SECOND, "06-approve.json").unlink()
    code, lines = run(folder, "--key", key)
    assert code == 1
    assert lines[0].startswith(f"minilm/{SECOND}/06-approve.json: is missing")
    assert lines[-1] == f"3 releases of 2 models: {len(lines) - 1} problems."
    assert run(folder, f"minilm/{FIRST}", "other", "--key", key) == (0, ["2 releases of 2 models: no problem."])


def test_the_program_believes_nothing_with_another_key_and_says_what_it_cannot_read(shelf, tmp_path):
    other = SigningKey(os.urandom(32)).public_key
    code, lines = run(str(shelf.root), f"minilm/{FIRST}", "--key", other)
    assert code == 1
    assert len([line for line in lines if "signature" in line]) >= len(RECEIPTS)
    assert run(str(tmp_path / "nowhere"), "--key", other)[0] == 2
    assert run(str(shelf.root), "--key", "no key")[0] == 2
    code, lines = run(str(shelf.root), "nobody", "--key", other)
    assert (code, lines[0]) == (1, "nobody: nothing is believed to be on record of it")
