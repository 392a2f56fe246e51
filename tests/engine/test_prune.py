"""Prune: what is named goes, in steps that can be killed and repeated; nothing else is touched."""

import errno
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from forks import FATAL, Forks
from modelberth.core.failure import Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.revision import Revision, Snapshot
from modelberth.engine import condemned, lock, prune, sync
from modelberth.engine.prune import Named
from modelberth.engine.stopping import Stop

pytestmark = pytest.mark.parametrize("bucket", ["file"], indirect=True)
DAY = 86400


@dataclass
class Claim:
    """A claim with one snapshot of each of two revisions, and the program that looks after it."""

    root: Path
    program: object
    url: str
    revisions: list

    def sync(self, which=0):
        return self.program("sync", self.url, self.root, "--revision", self.revisions[which])

    def prune(self, **steps):
        words = [word for step, named in steps.items() for word in (f"--{step}", *named)]
        return self.program("prune", self.root, *words)

    def syncs_beside(self):
        """Sync on the thread of another run."""
        return beside(sync.sync, sync.Order(BucketUrl.parse(self.url), self.root, Revision.parse(self.revisions[0])))

    def deletes_beside(self):
        return beside(prune.prune, prune.Order(self.root, delete=(Named.parse(self.name()),)))

    def name(self, which=0, copy=1):
        return f"{self.revisions[which]}.{copy}"

    def place(self, which=0, copy=1):
        return self.root / "minilm" / f"{Revision.parse(self.revisions[which]).digest.hex}.{copy}"

    def trash(self, which=0):
        return self.root / ".modelberth/trash/minilm" / self.place(which).name

    def mark(self, which=0, end=".json"):
        return self.root / ".modelberth/condemned/minilm" / f"{self.place(which).name}{end}"

    def whole(self, which=0, copy=1):
        named = ("--revision", self.revisions[which], "--snapshot", self.place(which, copy).name)
        return self.program("verify", self.root, *named).code == 0

    def rows(self):
        result = self.program("list", self.root).result
        return {row["snapshot"]: row for model in result["models"] for row in model["snapshots"]}

    def row(self, which=0):
        return self.rows()[self.place(which).name]


def beside(work, order):
    try:
        return SimpleNamespace(code=0, result=work(order, Stop()))
    except Failure as failure:
        return SimpleNamespace(code=failure.code, result={"problems": failure.problems})


@pytest.fixture
def held(tmp_path, bucket, modelberth, claim):
    revisions = []
    for number in (1, 2):
        model = tmp_path / f"model-{number}"
        (model / "sub").mkdir(parents=True)
        (model / "weights.bin").write_bytes(bytes([number]) * 300_000)
        (model / "sub/config.json").write_bytes(b"{}")
        revisions.append(modelberth.upload(model, bucket, f"u{number}").result["revision"])
    found = Claim(claim, modelberth, bucket.url, revisions)
    for which in (0, 1):
        assert found.sync(which).code == 0
    return found


# What each step does --------------------------------------------------------------------------------------------------


def test_a_condemned_snapshot_stays_where_it_is_and_serves_on(held):
    before = sorted(path for path in held.place().rglob("*"))
    ran = held.prune(condemn=[held.name()])
    assert (ran.code, ran.result["condemn"]) == (0, [held.name()])
    assert sorted(path for path in held.place().rglob("*")) == before
    assert held.whole()
    assert held.row()["state"] == "ready"
    assert held.row()["condemned"].endswith("Z")
    assert "condemned" not in held.row(1)


def test_condemned_again_it_keeps_the_time_since_when_it_is(held):
    held.prune(condemn=[held.name()])
    older = held.mark().read_bytes().replace(held.row()["condemned"].encode(), b"2026-01-02T03:04:05Z")
    held.mark().chmod(0o644)
    held.mark().write_bytes(older)
    held.prune(condemn=[held.name()])
    assert held.row()["condemned"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("mark", [b"", b"{}", b"\xff", b'{"at":"x"}', b"[1]"])
def test_a_mark_that_tells_no_time_is_written_anew(held, mark):
    held.prune(condemn=[held.name()])
    held.mark().chmod(0o644)
    held.mark().write_bytes(mark)
    assert held.row()["condemned"] is None
    held.prune(condemn=[held.name()])
    assert held.row()["condemned"].endswith("Z")


def test_what_is_not_condemned_is_not_deleted_and_the_message_says_how(held):
    for step in ("delete", "trash"):
        ran = held.prune(**{step: [held.name()]})
        assert ran.code == 21
        assert f"--condemn {held.name()}" in ran.problem
        assert held.whole()
        assert ran.result[step] == []


def test_a_deleted_snapshot_leaves_nothing_behind_and_its_neighbour_untouched(held):
    held.prune(condemn=[held.name()])
    ran = held.prune(delete=[held.name()])
    assert (ran.code, ran.result["delete"]) == (0, [held.name()])
    assert ran.result["bytes_freed"] >= 300_000
    assert held.whole(1)
    assert not held.place().exists()
    left = {path.name for path in (held.root / ".modelberth").rglob("*") if held.place().name in path.name}
    assert left == set()
    again = held.prune(delete=[held.name()])
    assert (again.code, again.result["absent"], again.result["bytes_freed"]) == (0, [held.name()], 0)


def test_what_is_in_the_trash_comes_back_as_it_was(held):
    mode = held.place().stat().st_mode
    held.prune(condemn=[held.name()])
    assert held.prune(trash=[held.name()]).result["trash"] == [held.name()]
    assert not held.place().exists()
    [row] = held.program("list", held.root).result["trash"]
    assert (row["snapshot"], row["bytes"]) == (held.place().name, 300_002)
    assert row["condemned"]
    ran = held.prune(lift=[held.name()])
    assert (ran.code, ran.result["lift"]) == (0, [held.name()])
    assert held.place().stat().st_mode == mode
    assert held.whole()
    assert "condemned" not in held.row()
    assert held.prune(delete=[held.name()]).code == 21


def test_what_shares_bytes_with_a_deleted_snapshot_keeps_them(held, tmp_path, bucket):
    model = tmp_path / "model-3"
    shutil.copytree(tmp_path / "model-1", model)
    (model / "more.bin").write_bytes(b"more")
    revision = held.program.upload(model, bucket, "u3").result["revision"]
    held.revisions.append(revision)
    linked = held.program("sync", held.url, held.root, "--revision", revision, "--hard-links").result
    assert linked["bytes_linked"] == 300_002
    held.prune(condemn=[held.name()])
    ran = held.prune(delete=[held.name()])
    assert ran.result["bytes_freed"] < 300_000, "nothing of a file that has another name is free"
    assert held.whole(2)


def test_a_damaged_snapshot_goes_with_its_record(held):
    weights = held.place() / "files/weights.bin"
    weights.chmod(0o644)
    weights.write_bytes(b"x" * 300_000)
    assert not held.whole()
    assert held.row()["state"] == "damaged"
    held.prune(condemn=[held.name()])
    assert held.prune(delete=[held.name()]).code == 0
    assert list((held.root / ".modelberth/damaged/minilm").iterdir()) == []


@pytest.mark.parametrize("step", ["trash", "delete"])
def test_what_was_decided_before_it_was_used_and_condemned_again_is_not_done(held, step):
    held.prune(condemn=[held.name()])
    since = held.row()["condemned"]
    for moved in (False, True):
        if moved:
            held.prune(trash=[held.name()])
        ran = held.prune(**{step: [f"{held.name()}=2026-01-02T03:04:05Z"]})
        assert ran.code == 21
        assert "not condemned since 2026-01-02T03:04:05Z" in ran.problem
        assert held.trash().exists() is moved
    assert held.prune(delete=[f"{held.name()}={since}"]).result["delete"] == [held.name()]


def test_one_that_cannot_go_does_not_keep_the_others(held):
    held.prune(condemn=[held.name(1)])
    ran = held.prune(delete=[held.name(0), held.name(1)])
    assert ran.code == 21
    assert ran.result["delete"] == [held.name(1)]
    assert held.whole(0)
    assert not held.place(1).exists()


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("x", "minilm", f"{'a' * 64}.1", f"minilm@sha256:{'a' * 64}", f"minilm@sha256:{'a' * 64}.0"),
        *(f"minilm@sha256:{'a' * 64}.01", f"minilm@sha256:{'a' * 63}.1", f"../x@sha256:{'a' * 64}.1"),
        *(f"minilm@sha256:{'a' * 64}.1/..", f"minilm@sha256:{'a' * 64}.1000000", f"minilm@sha256:{'a' * 64}.²"),
    ],
)
def test_what_names_no_snapshot_is_refused(held, text):
    assert held.prune(delete=[text]).code == 21


def test_names_round_trip(bucket):
    text = f"minilm@sha256:{'a' * 64}.12"
    assert str(Named.parse(text)) == text


def test_a_snapshot_that_is_named_twice_is_refused_before_anything_is_done(held):
    ran = held.prune(condemn=[held.name()], delete=[held.name()])
    assert ran.code == 21
    assert "condemned" not in held.row()


def test_what_is_foreign_is_never_condemned(held):
    (held.place() / "READY.json").unlink()
    ran = held.prune(condemn=[held.name()])
    assert ran.code == 24
    assert not held.mark().exists()


@pytest.mark.parametrize("what", ["model", "snapshot", "condemned", "trash"])
def test_links_are_never_followed(held, tmp_path, what):
    """Somebody put a link where a directory of ours belongs: what it leads to is not touched."""
    elsewhere = tmp_path / "elsewhere"
    places = {
        "model": held.root / "minilm",
        "snapshot": held.place(),
        "condemned": held.root / ".modelberth/condemned",
        "trash": held.root / ".modelberth/trash",
    }
    if what != "condemned":
        held.prune(condemn=[held.name()])
    if places[what].exists():
        places[what].chmod(0o755)
        places[what].rename(elsewhere)
    else:
        elsewhere.mkdir()
    places[what].symlink_to(elsewhere)
    before = contents(elsewhere)
    for step in ("condemn", "trash", "delete") if what != "trash" else ("trash", "delete"):
        assert held.prune(**{step: [held.name()]}).code in (21, 24), step
    assert contents(elsewhere) == before


def contents(directory):
    return {path: path.lstat().st_mtime_ns for path in directory.rglob("*")}


def test_a_link_in_what_is_deleted_goes_and_what_it_leads_to_stays(held, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"p")
    held.prune(condemn=[held.name()])
    (held.place() / "files").chmod(0o755)
    (held.place() / "files/directory").symlink_to(elsewhere)
    (held.place() / "files/file").symlink_to(elsewhere / "precious")
    assert held.prune(delete=[held.name()]).code == 0
    assert (elsewhere / "precious").read_bytes() == b"p"
    assert not held.place().exists()
    assert list((held.root / ".modelberth/trash/minilm").iterdir()) == []


# Syncs and checks beside a prune --------------------------------------------------------------------------------------


def test_a_sync_that_returns_a_condemned_snapshot_lifts_the_mark(held):
    held.prune(condemn=[held.name()])
    ran = held.sync()
    assert (ran.result["snapshot"], ran.result["bytes_fetched"]) == (held.place().name, 0)
    assert "condemned" not in held.row()
    assert held.prune(delete=[held.name()]).code == 21


def test_a_check_lifts_the_mark_as_well(held):
    held.prune(condemn=[held.name()])
    named = ("--revision", held.revisions[0], "--snapshot", held.place().name)
    assert held.program("check", held.root, *named).code == 0
    assert "condemned" not in held.row()


def test_a_check_on_a_claim_that_it_cannot_write_refuses_what_is_condemned(held, monkeypatch):
    held.prune(condemn=[held.name()])
    real = Path.unlink

    def read_only(path, *arguments, **named):
        if ".modelberth/condemned" in str(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "unlink", read_only)
    named = ("--revision", held.revisions[0], "--snapshot", held.place().name)
    ran = held.program("check", held.root, *named)
    assert ran.code == 12
    assert f"--lift {held.name()}" in ran.problem


def test_a_sync_stages_another_copy_of_what_is_in_the_trash_under_another_name(held):
    held.prune(condemn=[held.name()])
    held.prune(trash=[held.name()])
    ran = held.sync()
    assert ran.result["snapshot"] == held.place(copy=2).name
    assert held.whole(copy=2)
    assert held.prune(lift=[held.name()]).code == 0
    assert held.whole(copy=1)


class Interleaved:
    """Does something else once: before or after the call that changes a name whose turn it is."""

    def __init__(self, patch, turn, do):
        self.seen, self.done = 0, None
        for name in ("rename", "unlink", "mkdir", "rmdir", "replace"):
            patch.setattr(Path, name, self._wrapped(getattr(Path, name), turn, do))

    def _wrapped(self, real, turn, do):
        def call(path, *arguments, **named):
            if "claim" in str(path):
                self._next(turn, do)
            found = real(path, *arguments, **named)
            if "claim" in str(path):
                self._next(turn, do)
            return found

        return call

    def _next(self, turn, do):
        self.seen += 1
        if self.seen == turn:
            self.done = do()


@pytest.mark.parametrize("first", ["sync", "delete"])
def test_whatever_the_order_a_snapshot_is_never_both_returned_and_deleted(held, first):
    """Each of the two runs as a whole between any two steps of the other."""
    turn = 0
    outcomes = set()
    while True:
        turn += 1
        held.prune(condemn=[held.name()])
        runs = {"sync": held.sync, "delete": lambda: held.prune(delete=[held.name()])}
        outer, inner = runs[first], held.deletes_beside if first == "sync" else held.syncs_beside
        with pytest.MonkeyPatch.context() as patch:
            between = Interleaved(patch, turn, inner)
            ran = outer()
        if between.done is None:
            break
        synced, deleted = (ran, between.done) if first == "sync" else (between.done, ran)
        assert synced.code == 0, synced.result
        copy = Snapshot.parse(synced.result["snapshot"]).copy
        assert held.whole(copy=copy), turn
        kept = synced.result["bytes_fetched"] == 0 and copy == 1
        assert (deleted.code != 0) == kept, (turn, deleted.result)
        outcomes.add(kept)
        start_again(held)
    assert outcomes == {True, False}


def start_again(held):
    for path in (held.root, *held.root.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    for path in held.root.iterdir():
        shutil.rmtree(path)
    for which in (0, 1):
        assert held.sync(which).code == 0
    assert held.place().exists()


# Killed, and misreported ----------------------------------------------------------------------------------------------

RUN = f"""
from pathlib import Path
from modelberth.engine import filesystem, prune
{FATAL}

def run(words):
    fatal(int(words[0]), [
        (os, "fsync"), (os, "fchmod"), (os, "unlink"), (os, "rmdir"), (os, "open"), (os, "link"),
        (filesystem, "sync_directory"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"),
        (Path, "unlink"), (Path, "rmdir"),
    ])
    return cli.run(words[1:])
"""


@pytest.fixture
def killed(held):
    """Says whether a prune was killed at its n-th call of those that matter, or had fewer."""

    def prune(turn, step):
        code = forks.ends(turn, "prune", held.root, f"--{step}", held.name())
        assert code in (0, -signal.SIGKILL)
        return code != 0

    with Forks(RUN) as forks:
        yield prune


@pytest.mark.parametrize("step", ["condemn", "trash", "lift", "delete"])
def test_killed_at_any_step_a_prune_leaves_a_whole_snapshot_or_none_and_can_go_on(held, killed, step):
    turn = 0
    while True:
        turn += 1 if turn < 12 else 3  # odd and even in turn
        prepare(held, step)
        if not killed(turn, step):
            break
        places = [held.place().exists(), held.trash().exists()]
        assert places.count(True) <= 1
        assert places.count(True) == 1 or step == "delete"
        if any(places) and turn % 2:  # one half is used after all, the other goes on
            assert held.prune(lift=[held.name()]).result["lift"] == [held.name()]
            assert held.whole()
            assert "condemned" not in held.row()
        else:
            ran = held.prune(**{step: [held.name()]})
            assert ran.code == 0, ran.result
            assert held.place().exists() == (step in ("condemn", "lift"))
            assert held.trash().exists() == (step == "trash")
        assert held.whole(1)
        if step == "delete" and not any(places):
            assert bytes_in_trash(held) == 0
        start_again(held)
    assert turn > 5


def prepare(held, step):
    if step != "condemn":
        held.prune(condemn=[held.name()])
    if step == "lift":
        held.prune(trash=[held.name()])


def bytes_in_trash(held):
    trash = held.root / ".modelberth/trash"
    return sum(path.lstat().st_size for path in trash.rglob("*") if path.is_file())


REPLAYED = {"rename": errno.ENOENT, "replace": errno.ENOENT, "unlink": errno.ENOENT, "mkdir": errno.EEXIST}


@pytest.mark.parametrize("step", ["condemn", "trash", "lift", "delete"])
def test_a_call_that_was_done_but_reports_an_error_does_no_harm(held, step):
    """NFS answers the second of two equal requests."""
    turn = 0
    while True:
        turn += 1
        prepare(held, step)
        with pytest.MonkeyPatch.context() as patch:
            told = misreporting(patch, turn)
            ran = held.prune(**{step: [held.name()]})
        if not told:
            break
        if ran.code:  # said so, and the same again does it
            assert ran.code in (14, 21), (told, ran.result)
            ran = held.prune(**{step: [held.name()]})
            assert ran.code == 0, (told, ran.result)
        assert held.place().exists() == (step in ("condemn", "lift")), told
        if held.place().exists():
            assert held.whole()
        assert held.whole(1)
        start_again(held)
    assert turn > 2


def misreporting(patch, turn):
    seen, told = [], []

    def meddled(name):
        real = getattr(Path, name)

        def call(path, *arguments, **named):
            found = real(path, *arguments, **named)
            if "claim" in str(path):
                seen.append(name)
                if len(seen) == turn:
                    told.append(f"{name} {path}")
                    raise OSError(REPLAYED[name], os.strerror(REPLAYED[name]), str(path))
            return found

        return call

    for name in REPLAYED:
        patch.setattr(Path, name, meddled(name))
    return told


def test_an_interrupted_delete_is_told_as_such_and_the_next_run_ends_it(held, tmp_path, bucket):
    model = tmp_path / "many"
    model.mkdir()
    for number in range(3000):
        (model / f"{number}.json").write_bytes(b"{}")
    held.revisions[0] = held.program.upload(model, bucket, "many").result["revision"]
    assert held.sync().code == 0
    held.prune(condemn=[held.name()])
    process = held.program.start("prune", held.root, "--delete", held.name())
    while not list((held.root / ".modelberth/trash").glob("*/.*")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    ran = held.program.end(process)
    assert (ran.code, ran.result["outcome"]) == (10, "interrupted")
    assert bytes_in_trash(held) > 0
    assert held.prune().code == 0
    assert bytes_in_trash(held) == 0


def test_a_claim_that_cannot_be_written_is_told_as_denied(held, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "x")

    monkeypatch.setattr(Path, "mkdir", read_only)
    ran = held.prune(condemn=[held.name()])
    assert (ran.code, ran.result["outcome"]) == (25, "denied")


# What killed runs leave -----------------------------------------------------------------------------------------------


@pytest.fixture
def staged(held):
    """The staging directory of a sync that was ended before it was done."""
    revision = Revision.parse(held.revisions[0])
    held.prune(condemn=[held.name()])
    held.prune(delete=[held.name()])
    staging = held.root / ".modelberth/staging/minilm" / revision.digest.hex
    for directory in ("journal", "snapshot/files"):
        (staging / directory).mkdir(parents=True)
    (staging / "snapshot/files/weights.bin").write_bytes(b"w" * 100_000)
    (staging / "journal/0123456789abcdef").write_bytes(b"...")
    return staging


def make_old(directory, seconds=DAY + 60):
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (time.time() - seconds,) * 2)


def test_what_nobody_has_staged_for_a_day_goes(held, staged):
    make_old(staged)
    [row] = held.program("list", held.root).result["staging"]
    assert row["idle_seconds"] > DAY
    ran = held.prune(staging=[held.revisions[0]])
    assert (ran.code, ran.result["staging"]) == (0, [held.revisions[0]])
    assert ran.result["bytes_freed"] >= 100_000
    assert not staged.exists()
    assert held.sync().code == 0


def test_what_somebody_staged_within_a_day_stays(held, staged):
    make_old(staged)
    os.utime(staged / "journal/0123456789abcdef")
    ran = held.prune(staging=[held.revisions[0]])
    assert ran.code == 12
    assert "may go on with it" in ran.problem
    assert (staged / "snapshot/files/weights.bin").exists()


def test_what_a_living_writer_stages_stays(held, staged, monkeypatch):
    make_old(staged)
    monkeypatch.setattr(lock, "WAIT", 0.1)
    holder = held.root / ".modelberth/lock/minilm"
    holder.mkdir(parents=True)
    (holder / "owner").write_text('{"nonce": "x", "pid": 1, "host": "h", "place": "elsewhere"}')
    assert held.prune(staging=[held.revisions[0]]).code == 12
    assert staged.exists()


def test_what_killed_runs_left_is_cleared_after_a_day_and_not_before(held):
    hidden = held.root / ".modelberth"
    old, young = hidden / "trial-0123456789abcdef", hidden / "trial-fedcba9876543210"
    taken_over = hidden / "lock/.minilm-0123456789abcdef"
    for directory in (old / "full/x", young / "full", taken_over):
        directory.mkdir(parents=True)
    make_old(old)
    make_old(taken_over)
    doomed = hidden / "trash/minilm/.x-0123456789abcdef"
    doomed.mkdir(parents=True)
    (doomed / "weights.bin").write_bytes(b"w" * 5000)
    assert held.prune().result["bytes_freed"] >= 5000
    assert [path.exists() for path in (old, young, taken_over, doomed)] == [False, True, False, False]


def test_marks_of_what_is_gone_are_cleared(held):
    held.prune(condemn=[held.name()])
    start_again_without(held)
    assert held.prune().code == 0
    assert not held.mark().exists()


def start_again_without(held):
    for path in (held.place(), *held.place().rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(held.place())


def test_nothing_is_cleared_on_a_claim_that_has_never_been_written(modelberth, claim, bucket):
    ran = modelberth("prune", claim)
    assert (ran.code, ran.result["bytes_freed"]) == (0, 0)
    assert list(claim.iterdir()) == []


def test_a_claim_that_is_not_there_is_told(modelberth, tmp_path, bucket):
    assert modelberth("prune", tmp_path / "none").code == 23


def test_only_snapshots_are_names_that_no_other_may_get(held):
    held.prune(condemn=[held.name()])
    (held.mark().parent / "stranger.json").touch()
    names = condemned.names(held.root, "minilm")
    assert {str(one) for one in names} == {held.place().name}
