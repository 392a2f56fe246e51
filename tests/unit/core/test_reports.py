"""What a report names: as any JSON, as vLLM's list of models, as Triton's repository index."""

from __future__ import annotations

import pytest

from modelberth.core.reports import Named, path_problem, triton_problem, vllm_problem

OLD, BASE, ADAPTER = "/models/m/0a.1/files", "/models/m/1f.1/files", "/models/adapter/2e.1/files"
REVISION, SECOND = "m@sha256:" + "1f" * 32, "adapter@sha256:" + "2e" * 32
ONE, TWO = [Named(BASE, REVISION, OLD)], [Named(BASE, REVISION, OLD), Named(ADAPTER, SECOND)]


def judged(problem: str | None, said: str | None) -> None:
    assert (problem is None) if said is None else (problem is not None and said in problem), problem


@pytest.mark.parametrize(
    ("document", "named", "said"),
    [
        ({"path": "elsewhere", "revision": REVISION}, ONE, None),
        ({"models": [{"path": BASE}, {"path": ADAPTER}]}, TWO, None),
        ({"models": [{"revision": REVISION}, {"path": ADAPTER}]}, TWO, None),
        (REVISION, ONE, None),
        ({"path": BASE}, TWO, f"names neither {SECOND} nor {ADAPTER}"),
        ({"note": f"not {REVISION}"}, ONE, "names neither"),
        ({REVISION: True}, ONE, "names neither"),
        (None, ONE, "names neither"),
        (7, ONE, "names neither"),
    ],
)
def test_any_json_has_to_name_the_revision_or_the_path_of_each_binding(document, named, said):
    judged(path_problem(document, named), said)


def test_a_report_may_be_nested_as_deeply_as_it_parses():
    document = BASE
    for _ in range(20_000):
        document = [document]
    judged(path_problem(document, ONE), None)


def card(id_: str, root: str | None, parent: str | None = None) -> dict[str, object]:
    return {"id": id_, "object": "model", "owned_by": "vllm", "root": root, "parent": parent, "max_model_len": 512}


def models(*cards: object) -> dict[str, object]:
    return {"object": "list", "data": list(cards)}


@pytest.mark.parametrize(
    ("document", "named", "said"),
    [
        (models(card("m", BASE)), ONE, None),
        (models(card("m", f"{BASE}/")), ONE, None),
        (models(card("m", f"{BASE}/model.gguf")), ONE, None),
        (models(card("m", "/other"), card("alias", BASE)), ONE, None),
        (models(card("m", BASE), card("a", ADAPTER, "m")), TWO, None),
        (models(card("m", BASE), card("a", ADAPTER, "gone")), TWO, f"root is {ADAPTER}"),
        (models(card("m", BASE)), TWO, f"root is {ADAPTER}"),
        (models(card("m", OLD)), ONE, f"names {OLD}, which it had before"),
        (models(card("m", BASE), card("old", OLD)), ONE, "which it had before"),
        (models(card("m", f"{BASE}2")), ONE, "no model whose root"),
        (models(card(BASE, "m")), ONE, "no model whose root"),
        (models(card("m", None)), ONE, "no model whose root"),
        (models({"id": BASE}), ONE, "no model whose root"),
        (models({"id": ["m"], "root": BASE}), ONE, None),
        (models(), ONE, "no model whose root"),
        (models(BASE), ONE, "not vLLM's"),
        ({"data": {}}, ONE, "not vLLM's"),
        ([card("m", BASE)], ONE, "not vLLM's"),
        (BASE, ONE, "not vLLM's"),
    ],
)
def test_vllm_names_a_path_as_a_models_root(document, named, said):
    judged(vllm_problem(document, named), said)


def test_a_path_that_stays_the_same_is_not_held_against_vllm():
    judged(vllm_problem(models(card("m", BASE)), [Named(BASE, REVISION, None)]), None)


def model(name: str, state: str | None = "READY", version: str | None = "1", reason: str = "") -> dict[str, str]:
    found = {"name": name, "version": version, "state": state, "reason": reason}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([model("a")], None),
        ([{"name": "a", "version": "1", "state": "READY"}], None),
        ([model("a"), model("b", version="3")], None),
        ([model("a", "UNAVAILABLE", "1", "unloaded"), model("a", version="2")], None),
        ([model("a"), {"name": "never-loaded"}], None),
        ([model("a"), model("b", "LOADING")], "b version 1 LOADING"),
        ([model("a"), model("b", "UNAVAILABLE", "1", "internal: cannot load")], "b version 1 UNAVAILABLE"),
        ([model("a", "UNLOADING", None)], "a UNLOADING"),
        ([model("a", "UNAVAILABLE", "1", "unloaded")], "no model READY"),
        ([{"name": "never-loaded"}], "no model READY"),
        ([], "no model READY"),
        ({"models": [model("a")]}, "not Triton's"),
        ([{"state": "READY"}], "not Triton's"),
        (["a"], "not Triton's"),
        (None, "not Triton's"),
    ],
)
def test_triton_shows_that_what_it_was_started_with_is_loaded(document, said):
    judged(triton_problem(document, ONE), said)
