"""Whether the receipts of one release hang together: each there, in its order, resting on what it must rest on.

Pure: signatures are proven by the caller, who gives what is believed and the names of what is not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core import receipt as receipts
from modelberth.core.receipt import RESTS_ON, SINGLE, WHOLE, Name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


@dataclass(frozen=True, order=True, slots=True)
class Problem:
    """One thing that is missing, forged or out of order.

    :param where: The path of the file that it is about, below the receipts' prefix.
    """

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt whose signature was proven; *digest* is that of its file."""

    name: Name
    digest: str
    body: Mapping[str, Any]

    @property
    def previous(self) -> Mapping[str, str]:
        """What it rests on: the digest by the name."""
        found = self.body.get("previous")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Chain:
    """The receipts of one release.

    :param receipts: What is believed.
    :param doubtful: What is there and not believed; it is said elsewhere and not again here.
    """

    model: str
    release_id: str
    receipts: Mapping[Name, Receipt]
    doubtful: frozenset[Name] = frozenset()

    def path(self, name: Name | str) -> str:
        """Return where a receipt of this release lies, or would."""
        return f"{self.model}/{self.release_id}/{name}"

    def of(self, step: str) -> list[Receipt]:
        """Return the newest receipt of *step* for each of its targets."""
        newest: dict[str | None, Receipt] = {}
        for name in sorted(self.receipts, key=lambda name: name.attempt):
            if name.step == step:
                newest[name.target] = self.receipts[name]
        return list(newest.values())

    def newest(self, step: str, target: str | None = None) -> Receipt | None:
        """Return the newest receipt of *step*."""
        return next((one for one in self.of(step) if one.name.target == target), None)

    def has(self, stem: str) -> bool:
        """Return whether there is a file of that step and target, believed or not."""
        return any(name.stem == stem for name in (*self.receipts, *self.doubtful))


def problems(chain: Chain, elsewhere: Callable[[str, str], Chain]) -> list[Problem]:
    """Return where the receipts of *chain* do not hang together.

    :param elsewhere: Gives the chain of another release, by model and release: a plan may rest on one.

    a receipt ...                                | is said to be
    ---------------------------------------------+-----------------------------------------------------
    of attempt n, without those of 1 to n - 1    | those are missing
    of attempt 2 or more of a step that binds    | a second one of what is done once
    that must rest on X, and X is not there      | X is missing, and what rests on it
    that must rest on X, and does not name it    | out of order: it came before X
    that names X, of another digest than X has   | X was replaced
    that names X, which it cannot rest on        | out of order
    """
    return [*_attempts(chain), *_links(chain, elsewhere)]


def _attempts(chain: Chain) -> Iterator[Problem]:
    there: dict[tuple[str, str | None], set[int]] = defaultdict(set)
    for name in (*chain.receipts, *chain.doubtful):
        there[name.step, name.target].add(name.attempt)
    for (step, target), numbers in there.items():
        allowed = range(1, 2 if step in SINGLE else max(numbers) + 1)
        for number in sorted(set(allowed) - numbers):
            newest = Name(step, target, max(numbers))
            yield Problem(chain.path(Name(step, target, number)), f"is missing, since {newest} is there")
        for number in sorted(numbers - set(allowed)):
            yield Problem(chain.path(Name(step, target, number)), f"is a second {step}, which is done once a release")


def _links(chain: Chain, elsewhere: Callable[[str, str], Chain]) -> Iterator[Problem]:
    missing: dict[str, list[str]] = defaultdict(list)
    for name, receipt in sorted(chain.receipts.items(), key=lambda one: str(one[0])):
        for stem in _needed(receipt, chain):
            place, end = _placed(stem, chain, elsewhere)
            if not place.has(end):
                missing[place.path(f"{end}.json")].append(str(name))
            elif stem not in receipt.previous:
                yield Problem(chain.path(name), f"does not rest on {stem}: it is out of order")
        for stem, digest in receipt.previous.items():
            place, end = _placed(stem, chain, elsewhere)
            if not _may_rest_on(name, stem):
                yield Problem(chain.path(name), f"rests on {stem}, which a {name.step} cannot: it is out of order")
            elif not place.has(end):
                missing[place.path(f"{end}.json")].append(str(name))
            elif not _names(place, end, digest):
                yield Problem(
                    place.path(f"{end}.json"), f"is not the one that {name} rests on ({digest}): it was replaced"
                )
    for path, dependents in missing.items():
        yield Problem(path, f"is missing; {', '.join(dict.fromkeys(dependents))} rests on it")


def _placed(stem: str, chain: Chain, elsewhere: Callable[[str, str], Chain]) -> tuple[Chain, str]:
    """Return the chain that *stem* is in, and its name there."""
    place, _, end = stem.rpartition("/")
    if not place:
        return chain, stem
    model, _, release_id = place.partition("/")
    return elsewhere(model, release_id), end


def _names(chain: Chain, stem: str, digest: str) -> bool:
    """Return whether *digest* is that of an attempt of *stem*; of what is not believed nobody can say."""
    doubtful = any(name.stem == stem for name in chain.doubtful)
    return doubtful or any(one.digest == digest for name, one in chain.receipts.items() if name.stem == stem)


def _may_rest_on(name: Name, stem: str) -> bool:
    """Return whether a receipt of *name* may name *stem*: a step that comes before it."""
    _, _, end = stem.rpartition("/")
    try:
        return Name.parse(f"{end}.json").step in RESTS_ON[name.step]
    except ValueError:
        return False


def _needed(receipt: Receipt, chain: Chain) -> Iterable[str]:
    """Return the stems that *receipt* has to rest on, whatever else there is.

    a step              | must rest on, of the steps of RESTS_ON
    --------------------+------------------------------------------------------------------------------------
    any                 | those that are about the whole release; of answers, all that there are; of signatures,
                        | if it says what was found of them
    any with a target   | those of its target, but what not every release has: list, preview, soaking, and but the
                        | outcomes that a start rests on, which are of other targets, as the plan has them;
                        | a check may rest on another release's verify, or its service's, which the plan names
    record              | the outcome at every target that it names; of a model that another release switched,
                        | only that release's record
    """
    name, by = receipt.name, receipt.body.get("by")
    if name.step == "record" and isinstance(by, dict):
        yield receipts.elsewhere(str(by.get("model")), str(by.get("release_id")), name.stem)
        return
    for step in RESTS_ON[name.step]:
        if step == "approve":
            yield from {Name(step).stem, *(one.stem for one in (*chain.receipts, *chain.doubtful) if one.step == step)}
        elif step in WHOLE and step != name.step and (step != "signature" or _says_who_signed(receipt)):
            yield Name(step).stem
        elif name.target and name.step not in WHOLE and not _optional(name, step, chain):
            yield Name(step, name.target).stem
    if name.step == "record":
        targets = receipt.body.get("targets")
        yield from (Name("outcome", str(target)).stem for target in (targets if isinstance(targets, list) else []))


def _says_who_signed(receipt: Receipt) -> bool:
    """Return whether *receipt* is a plan whose own model has signatures."""
    plan = receipt.body.get("plan")
    models = plan.get("models") if isinstance(plan, dict) else None
    own = models[0] if isinstance(models, list) and models else None
    return isinstance(own, dict) and bool(own.get("signed"))


def _optional(name: Name, step: str, chain: Chain) -> bool:
    elsewhere = name.step == "check" and step == "verify" and not chain.has(Name(step, name.target).stem)
    return elsewhere or step in ("list", "preview", "soaking", "outcome")
