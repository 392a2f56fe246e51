"""Whether a container's command line and environment use what a binding sets."""

from __future__ import annotations

import pytest

from modelberth.core.variable import Container, expand, names_in_command, problems

OLD, NEW, OTHER = (f"/models/minilm/{digit * 64}.1/files" for digit in "abc")
BOUND = {("server", "MODEL_PATH"): NEW}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("--model=$(MODEL_PATH)", "--model=/m"),
        ("$(MODEL_PATH)/$(MODEL_PATH)", "/m//m"),
        ("$$(MODEL_PATH)", "$(MODEL_PATH)"),
        ("$$$(MODEL_PATH)", "$/m"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$MODEL_PATH ${MODEL_PATH}", "$MODEL_PATH ${MODEL_PATH}"),
        ("$(MODEL_PATH", "$(MODEL_PATH"),
        ("costs 5$", "costs 5$"),
        ("", ""),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text, expanded):
    assert expand(text, {"MODEL_PATH": "/m"}) == expanded


@pytest.mark.parametrize(
    ("words", "env", "named"),
    [
        (("--model", "$(MODEL_PATH)"), (), True),
        (("--model-repository=$(MODEL_PATH)/repository",), (), True),
        (("$(ARGS)",), (("ARGS", "--model $(MODEL_PATH)"),), True),
        (("sh", "-c", "exec serve $MODEL_PATH"), (), True),
        (("sh", "-c", 'exec serve "${MODEL_PATH:?}"'), (), True),
        (("sh", "-c", "exec serve $MODEL_PATHS"), (), False),
        (("--model", "$$(MODEL_PATH)"), (), False),
        (("--model", "$(MODEL)"), (), False),
        (("serve",), (), False),
        ((), (), False),
    ],
)
def test_a_command_line_names_the_variable_or_not(words, env, named):
    one = Container("server", words, (("MODEL_PATH", NEW), *env))
    assert names_in_command(one, "MODEL_PATH", NEW) is named


def server(*words: str, before=(), after=()) -> Container:
    return Container("server", words, (*before, ("MODEL_PATH", NEW), *after))


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ([server()], None),
        ([server("--model", "$(MODEL_PATH)")], None),
        ([server("--model", NEW)], None),
        ([server("--model", OLD)], "fixed in its command or args"),
        ([server("--model", OLD, "--name", "$(MODEL_PATH)")], "Write $(MODEL_PATH)"),
        ([server("sh", "-c", f"exec serve --model={OLD} --port 8000")], "fixed in its command or args"),
        ([server(after=[("TOKENIZER", f"{OLD}/tokenizer.json")])], "fixed in variable TOKENIZER"),
        ([server("--model", OLD.replace("minilm", "another"))], None),
        ([server("--model", "/models/minilm/latest/files")], None),
        ([server(after=[("SECRET", None)])], None),
        ([server(), Container("sidecar", ("--model", OLD))], "container 'sidecar'"),
        ([server(before=[("ARGS", "--model $(MODEL_PATH)")])], "move ARGS behind MODEL_PATH"),
        ([server(before=[("ARGS", "--model $$(MODEL_PATH)")])], None),
        ([server(after=[("ARGS", "--model $(MODEL_PATH)")])], None),
        ([server(), Container("sidecar", (), (("ARGS", "$(MODEL_PATH)"),))], None),
    ],
)
def test_what_would_stay_when_the_variable_changes_is_a_problem(containers, said):
    found = problems(containers, BOUND, "minilm")
    assert (not found) if said is None else (len(found) == 1 and said in found[0])


def test_a_variable_that_is_not_set_yet_comes_after_all_others():
    one = Container("server", (), (("ARGS", "--model $(MODEL_PATH)"),))
    assert "move ARGS behind MODEL_PATH" in problems([one], BOUND, "minilm")[0]


def test_another_path_of_the_plan_is_no_fixed_one():
    one = server("--model", OTHER)
    assert not problems([one], BOUND | {("server", "SECOND"): OTHER}, "minilm")
