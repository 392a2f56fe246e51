import pytest

from modelberth.core import paths

ACCEPTED = [
    "model.safetensors",
    "1/model.onnx",
    "a/b/c/d/e/f/g",
    "ünïcödé/模型.bin",
    "with space",
    "..a",
    "a..",
    "...",
    "-x",
    "x" * 255,
    "/".join(["p" * 99] * 8),
    "modelberth",
    ".modelberthx",
]

REFUSED = [
    ("", "empty"),
    ("/etc/passwd", "part ''"),
    ("a//b", "part ''"),
    ("a/", "part ''"),
    ("/", "part ''"),
    (".", "part '.'"),
    ("./a", "part '.'"),
    ("a/./b", "part '.'"),
    ("..", "part '..'"),
    ("../a", "part '..'"),
    ("a/../../b", "part '..'"),
    ("a/..", "part '..'"),
    ("a\\b", "backslash"),
    ("..\\a", "backslash"),
    ("a\x00b", "control"),
    ("a\nb", "control"),
    ("a\rb", "control"),
    ("a\tb", "control"),
    ("a\x1bb", "control"),
    ("a\x7fb", "control"),
    ("a\x85b", "control"),
    ("a\u2028b", "control"),
    ("a\udc80b", "UTF-8"),
    ("\ud800", "UTF-8"),
    ("x" * 256, "255 bytes"),
    ("é" * 128, "255 bytes"),
    ("/".join(["p" * 100] * 8), "807 bytes"),
    (".modelberth", "reserved"),
    (".modelberth/lock", "reserved"),
    ("a/.modelberth", "reserved"),
    (".ModelBerth", "reserved"),
    (".\uff4dodelberth", "reserved"),
]


@pytest.mark.parametrize("path", ACCEPTED)
def test_a_path_that_models_have_is_accepted(path):
    assert paths.refusal(path) is None


@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_a_path_that_could_do_harm_is_refused_with_the_reason(path, why):
    assert why in paths.refusal(path)


@pytest.mark.parametrize(
    ("files", "dirs", "why"),
    [
        (["a", "a"], [], "twice"),
        (["a"], ["a"], "twice"),
        (["a", "a/b"], [], "also the parent"),
        (["a/b/c", "a/b"], [], "also the parent"),
        (["a/b"], ["a"], "also the parent"),
        (["A", "a"], [], "differ only"),
        (["Dir/x", "dir/y"], [], "differ only"),
        (["é", "e\u0301"], [], "differ only"),
        (["ﬁ", "fi"], [], "differ only"),
        (["straße", "STRASSE"], [], "differ only"),
        (["x/a"], ["X"], "differ only"),
        (["\u017f", "s"], [], "differ only"),
    ],
)
def test_paths_that_cannot_lie_in_one_tree_are_named(files, dirs, why):
    assert any(why in problem for problem in paths.clashes(files, dirs))


def test_paths_that_differ_really_do_not_clash():
    assert paths.clashes(["a", "b/a", "b/c/a", "ab"], ["d", "b/d"]) == []


def test_parents_are_yielded_from_the_nearest_up():
    assert list(paths.parents("a/b/c")) == ["a/b", "a"]
