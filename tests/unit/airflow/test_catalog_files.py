"""What any bytes in a catalog file become: values with their lines, or the one error of that file and of no other."""

import os
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelberth.catalog import load
from modelberth.catalog.document import LARGEST, UnreadableError, parse

MODEL = """\
source: {type: directory, path: models/minilm}
bucket: {url: s3://modelberth/models, connection: store}
receipts: {url: s3://receipts, connection: store}
"""
HUGGING = MODEL.replace("directory, path: models/minilm", "huggingface, repository: a/b, revision: {}")
LAUGHS = "a: &a [1, 1]\n" + "".join(
    f"{key}: &{key} [*{low}, *{low}]\n"
    for low, key in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
)
MERGES = "a: &a {z: 1}\n" + "".join(
    f"{key}: &{key} {{<<: [*{low}, *{low}]}}\n"
    for low, key in zip("abcdefghijklmnopqrstuvw", "bcdefghijklmnopqrstuvwx", strict=True)
)


@pytest.fixture
def root(tmp_path):
    """A catalog with one good model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/minilm.yaml").write_text(MODEL)
    return tmp_path


def problem(root, data):
    """Return what is said of a file with *data*; nothing else may change by it."""
    (root / "models/bad.yaml").write_bytes(data.encode() if isinstance(data, str) else data)
    catalog = load(root)
    assert list(catalog.models) == ["minilm"]
    [said] = catalog.problems.pop("bad")
    assert catalog.problems == {}
    return said.partition("/models/")[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bad.yaml: expected a mapping of keys to values, got nothing"),
        ("# nothing\n---\n", "bad.yaml: expected a mapping of keys to values, got nothing"),
        ("a: 1\n---\nb: 2\n", "bad.yaml line 2: cannot be read as YAML: expected a single document"),
        ("a: 1\nsize_limit: 0b_\n", "bad.yaml line 2: '0b_' is no int that can be used: in quotes it is a text"),
        ("size_limit: " + "9" * 5000, "bad.yaml line 1: '" + "9" * 100 + "' is no int that can be used"),
        ("size_limit: 0x" + "f" * 80, "bad.yaml line 1: '0x" + "f" * 80 + "' is no int"),
        ("size_limit: " + "1:" * 400 + "1.5", "1:1:1:' is no float that can be used"),
        ("size_limit: -.inf", "bad.yaml line 1: '-.inf' is no float that can be used"),
        ("size_limit: .nan", "bad.yaml line 1: '.nan' is no float that can be used"),
        ("a: !!int abc", "bad.yaml line 1: 'abc' is no int that can be used"),
        ('a: !!int ""', "bad.yaml line 1: '' is no int that can be used"),
        ("a: !!float x", "bad.yaml line 1: 'x' is no float that can be used"),
        ("a: !!bool maybe", "bad.yaml line 1: 'maybe' is no bool that can be used"),
        ("a: !!timestamp x", "bad.yaml line 1: timestamp has no place here: write a text, a number, a list or"),
        ("a: !!binary eA==", "bad.yaml line 1: binary has no place here"),
        ("a: !!set {x}", "bad.yaml line 1: set has no place here"),
        ("a: !!int [1]", "bad.yaml line 1: int has no place here"),
        ("a: !mine x", "bad.yaml line 1: !mine has no place here"),
        ("a: <<", "bad.yaml line 1: merge has no place here"),
        ("a: {b: [1,\n5: x]}", "bad.yaml line 2: a key is a text, and '5' is none"),
        ("? [a]\n: b", "bad.yaml line 1: a key is a text, and a sequence is none: put it in quotes"),
        ("a: 1\n5: b", "bad.yaml line 2: a key is a text, and '5' is none: put it in quotes"),
        ("on: b", "bad.yaml line 1: a key is a text, and 'on' is none: put it in quotes"),
        ("content: &a {code: *a}", "bad.yaml line 1: values are nested more than 50 deep: no key needs that, and an"),
        ("a: &a [*a]", "bad.yaml line 1: values are nested more than 50 deep"),
        ("a: &a {<<: *a}", "bad.yaml line 1: values are nested more than 50 deep"),
        ("a:\n  b: " + "[" * 3000, "bad.yaml line 2: values are nested more than 50 deep"),
        ("[" * 100_000, "bad.yaml line 1: values are nested more than 50 deep"),
        ("- " * 100_000, "bad.yaml line 1: values are nested more than 50 deep"),
        ("{a: " * 100_000, "bad.yaml line 1: values are nested more than 50 deep"),
        (LAUGHS, "holds more than 524288 values and characters, those that aliases repeat among them"),
        (MERGES, "holds more than 524288 values and characters, those that aliases repeat among them"),
        ("a: " + "x" * LARGEST, "bad.yaml: is larger than 524288 bytes: is it a catalog file?"),
        ("a: *nobody", "bad.yaml line 1: cannot be read as YAML: found undefined alias"),
        ("source:\n\ttype: s3\n", "bad.yaml line 2: cannot be read as YAML: while scanning for the next token, found"),
        ("source:\n\ttype: s3\n", "cannot start any token: indent with spaces, not with tabs"),
        ("a: 1\nb: \0\n", "bad.yaml line 2: cannot be read as YAML: control characters are not allowed: save it as"),
        (
            b"a: 1\nb: \xff\n",
            "bad.yaml line 2: cannot be read as YAML: invalid leading UTF-8 octet: save it as text in",
        ),
        ("a: é\n".encode("utf-16-le"), "bad.yaml line 1: cannot be read as YAML: control characters are not allowed"),
        ('a: "\\ud800"', "bad.yaml line 1: cannot be read as YAML: while parsing a quoted scalar, found invalid"),
        ("a: 1\nname: x\n", "bad.yaml line 2: the key 'name' has no place here"),
        ("<<: 3", "bad.yaml line 1: << merges a mapping, or a list of them, and this is none"),
        ("<<: [{a: 1}, b]", "bad.yaml line 1: << merges a mapping"),
        ("b: 1\n<<: {a: 1}\n<<: {c: 1}", "bad.yaml line 3: the key '<<' is repeated"),
        ("b: 1\n<<: {a: 1,\n a: 2}\n", "bad.yaml line 3: the key 'a' is repeated"),
        ("content: {code: warn,\n  code: off}", "bad.yaml line 2: the key 'content.code' is repeated"),
        ("a: [{b: 1,\n b: 2}]", "bad.yaml line 2: the key 'a[0].b' is repeated"),
    ],
)
def test_what_is_no_document_is_one_error_with_its_line(root, text, said):
    began = time.process_time()
    assert said in problem(root, text)
    assert time.process_time() - began < 5


def test_what_is_no_file_is_said_and_nobody_waits_for_it(root):
    (root / "models/folder.yaml").mkdir()
    os.mkfifo(root / "models/pipe.yaml")
    (root / "models/gone.yaml").symlink_to("nowhere")
    (root / "models/loop.yaml").symlink_to("loop.yaml")
    catalog = load(root)
    assert list(catalog.models) == ["minilm"]
    assert set(catalog.problems) == {"folder", "pipe", "gone", "loop"}
    assert {said.partition("yaml: ")[2] for [said] in catalog.problems.values()} == {
        "expected a file, and this is none: take it away"
    }


def test_a_file_that_airflows_user_may_not_read_is_said(root, monkeypatch):
    """Root may read everything: the kernel's answer to others is given in its place."""
    (root / "models/secret.yaml").write_text(MODEL)

    read = type(root).read_bytes

    def read_bytes(path):
        if path.name == "secret.yaml":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(type(root), "read_bytes", read_bytes)
    catalog = load(root)
    assert list(catalog.models) == ["minilm"]
    [said] = catalog.problems["secret"]
    assert said.endswith("secret.yaml: cannot be read: Permission denied: Airflow's own user must be able to")


def test_what_is_said_of_a_file_with_any_name_is_text(root):
    (root / os.fsdecode(b"models/\xff.yaml")).write_text("source: 3")
    catalog = load(root)
    for said in catalog.problems.values():
        assert all("models/?.yaml" in line.encode().decode() for line in said)
    assert list(catalog.models) == ["minilm"]


@pytest.mark.parametrize("revision", ["2024-02-30", "2024-02-01", "2001-12-14t21:59:43.10-05:00", "v1"])
def test_a_branch_that_looks_like_a_date_is_a_text(root, revision):
    (root / "models/minilm.yaml").write_text(HUGGING.replace("{}", revision, 1))
    assert load(root).model("minilm").source.revision == revision


def test_what_several_keys_have_in_common_is_written_once_and_merged(root):
    text = MODEL.replace("bucket: {", "bucket: &b {").replace(
        "{url: s3://receipts, connection: store}", "{<<: *b, url: s3://receipts}"
    )
    (root / "models/minilm.yaml").write_text(text)
    receipts = load(root).model("minilm").receipts
    assert (receipts.url, receipts.connection) == ("s3://receipts", "store")


def test_a_mapping_has_its_own_keys_and_of_those_that_it_merges_the_first():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2, z: 2}\nc:\n  <<: [*b, *a, {w: 4}]\n  z: 3\n"
    document, lines = parse(text.encode())
    assert document == yaml.safe_load(text)
    assert document["c"] == {"x": 1, "y": 2, "z": 3, "w": 4}
    assert [lines[("c", key)] for key in "xyzw"] == [1, 2, 5, 4]


def test_a_wrong_value_that_was_merged_is_said_where_it_is_written(root):
    text = MODEL.replace("bucket: {url: s3://modelberth/models", "bucket: &b {url: s3://modelberth/models,\n  paht: 3")
    said = load_problems(root, text.replace("{url: s3://receipts, connection: store}", "{<<: *b, url: s3://receipts}"))
    assert [line.partition("'; expected")[0] for line in said] == [
        "line 3: bucket.paht: unknown key 'paht",
        "line 3: receipts.paht: unknown key 'paht",
    ]


def load_problems(root, text):
    (root / "models/bad.yaml").write_text(text)
    return [line.partition("bad.yaml ")[2] for line in load(root).problems["bad"]]


def test_a_wrong_value_is_shown_only_as_far_as_it_helps(root):
    (said,) = load_problems(root, MODEL + f"size_limit: {'x' * 5000}\n")
    assert said.endswith(f"got '{'x' * 199}...")


def test_good_documents_are_what_yaml_says_and_have_the_line_of_every_key_and_item():
    text = "a: yes\nb: [1, 0x10, 1.5, ~, '5', off]\nc:\n- x: |\n    text\n- !!str 7\n"
    document, lines = parse(text.encode())
    assert (
        document
        == yaml.safe_load(text)
        == {"a": True, "b": [1, 16, 1.5, None, "5", False], "c": [{"x": "text\n"}, "7"]}
    )
    assert lines[("a",)] == 1
    assert lines[("b", 3)] == 2
    assert [lines[loc] for loc in (("c",), ("c", 0), ("c", 0, "x"), ("c", 1))] == [3, 4, 4, 6]


PIECES = st.sampled_from(
    [
        *(
            "a",
            "b: ",
            "- ",
            "? ",
            ": ",
            "\n",
            "\n  ",
            "\t",
            "[",
            "]",
            "{",
            "}",
            ",",
            "&a ",
            "*a",
            "<<: ",
            "!!int ",
            "!!float ",
        ),
        *(
            "!!bool ",
            "!!set ",
            "!!timestamp ",
            "!!str ",
            "! ",
            "0b_",
            "1:2",
            "2024-02-30",
            ".nan",
            "1e9",
            "'",
            '"',
            "|\n",
            ">\n",
            "#",
        ),
        *("---\n", "...\n", "%YAML 1.1\n", "\\x", "=", "~", "\0", "é", "\ud800"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode(errors="surrogatepass")) | st.binary())
def test_any_bytes_are_a_document_or_one_error(data):
    try:
        document, lines = parse(data)
    except UnreadableError as error:
        said, lines = str(error), {(): error.line or 1}
    else:
        said = repr(document)
    assert said
    assert all(1 <= line <= len(data) + 1 for line in lines.values())
