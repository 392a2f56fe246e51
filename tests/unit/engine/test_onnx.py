"""Where an ONNX model's tensors lie, wherever in the model they are named."""

import io
import resource
import time

import pytest

from modelberth.engine.onnx import NotOnnxError, external_files


def varint(value):
    found = b""
    while value >= 0x80:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def field(number, data):
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(location=b"../../../etc/passwd"):
    return field(8, b"w") + field(13, field(1, b"location") + field(2, location))


def attribute(*fields):
    return field(1, b"value") + b"".join(fields)


def graph(*fields):
    return field(2, b"g") + b"".join(fields)


def node(*attributes):
    return field(4, b"Constant") + b"".join(field(5, one) for one in attributes)


def model(*fields):
    return field(1, 8) + b"".join(fields)


def nested(levels, innermost):
    found = graph(innermost)
    for _ in range(levels):
        found = graph(field(1, node(attribute(field(6, found)))))
    return found


OUT = tensor()
CONSTANT = field(1, node(attribute(field(5, OUT))))
TWO_GRAPHS = attribute(field(11, graph()), field(11, graph(CONSTANT)))
MODELS = {
    "an initializer": model(field(7, graph(field(5, OUT)))),
    "a sparse initializer's values": model(field(7, graph(field(15, field(1, OUT))))),
    "a sparse initializer's indices": model(field(7, graph(field(15, field(2, OUT))))),
    "a constant": model(field(7, graph(CONSTANT))),
    "a node's second attribute": model(field(7, graph(field(1, node(attribute(), attribute(field(5, OUT))))))),
    "a list of tensors": model(field(7, graph(field(1, node(attribute(field(10, tensor(b"m")), field(10, OUT))))))),
    "a sparse attribute": model(field(7, graph(field(1, node(attribute(field(22, field(1, OUT)))))))),
    "a list of sparse tensors": model(field(7, graph(field(1, node(attribute(field(23, field(2, OUT)))))))),
    "a branch of If": model(field(7, nested(1, field(5, OUT)))),
    "one of several graphs": model(field(7, graph(field(1, node(TWO_GRAPHS))))),
    "a loop in a loop in a loop": model(field(7, nested(3, CONSTANT))),
    "a function's body": model(field(7, graph()), field(25, field(1, b"f") + field(7, node(attribute(field(5, OUT)))))),
    "a function's default": model(field(7, graph()), field(25, field(11, attribute(field(5, OUT))))),
    "a training's start": model(field(7, graph()), field(20, field(1, graph(field(5, OUT))))),
    "a training's step": model(field(7, graph()), field(20, field(2, graph(CONSTANT)))),
    "the first of two graphs": model(field(7, graph(field(5, OUT))), field(7, graph())),
    "the second of two graphs": model(field(7, graph()), field(7, graph(field(5, OUT)))),
}  # fmt: skip


@pytest.mark.parametrize("data", MODELS.values(), ids=MODELS)
def test_a_path_is_found_wherever_the_model_names_it(data):
    assert "../../../etc/passwd" in external_files(io.BytesIO(data), len(data))


@pytest.mark.parametrize("data", MODELS.values(), ids=MODELS)
def test_a_model_that_is_cut_is_none(data):
    for length in range(1, len(data)):
        try:
            found = external_files(io.BytesIO(data), length)
        except NotOnnxError:
            continue
        assert data[:length].startswith(model(field(7, b"")[:1]))  # cut between two whole fields
        assert set(found) <= {"../../../etc/passwd", "m"}


def test_each_path_is_named_once_and_in_order():
    data = model(field(7, graph(*(field(5, tensor(name)) for name in (b"b", b"a", b"b")))))
    assert external_files(io.BytesIO(data), len(data)) == ["b", "a"]


def test_a_field_of_another_kind_than_a_message_is_passed_over_as_parsers_do():
    data = model(field(7, graph(varint(5 << 3 | 1) + b"\xff" * 8, field(1, 3), field(5, OUT))))
    assert external_files(io.BytesIO(data), len(data)) == ["../../../etc/passwd"]


BROKEN = {
    "graphs nested deeper than protocol buffers may be": model(field(7, nested(50, field(5, OUT)))),
    "a tag of 64 bits": model(field(7, graph()), varint(2**40 | 7 << 3 | 2) + varint(0)),
    "a tag without a number": model(field(7, graph()), b"\x02\x00"),
    "a group": model(field(7, graph()), b"\x3b\x3c"),
    "an ir_version that is a text": field(1, b"8") + field(7, graph()),
    "a graph that is a number": model(field(7, 1)),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_a_parser_might_read_otherwise_is_refused(data):
    with pytest.raises(NotOnnxError):
        external_files(io.BytesIO(data), len(data))


class Sparse(io.RawIOBase):
    """A model with raw data of *size* bytes, which says how many bytes were read."""

    def __init__(self, before, size, after):
        self.before, self.size, self.after, self.at, self.read_bytes = before, size, after, 0, 0

    def seek(self, offset, whence=io.SEEK_SET):
        assert whence == io.SEEK_SET
        self.at = offset
        return offset

    def tell(self):
        return self.at

    def read(self, length=-1):
        behind = self.at - len(self.before) - self.size
        data = (self.before[self.at : self.at + length] if self.at < len(self.before)
                else self.after[behind : behind + length] if behind >= 0 else bytes(length))  # fmt: skip
        self.at += len(data)
        self.read_bytes += len(data)
        return data


def test_large_tensors_are_passed_over_and_not_read():
    size = 40 * 2**30
    after = field(13, field(1, b"location") + field(2, b"../x"))
    raw = varint(9 << 3 | 2) + varint(size)
    initializer = varint(5 << 3 | 2) + varint(len(raw) + size + len(after)) + raw
    whole = varint(7 << 3 | 2) + varint(len(initializer) + size + len(after)) + initializer
    stream = Sparse(model() + whole, size, after)
    assert external_files(stream, len(model() + whole) + size + len(after)) == ["../x"]
    assert stream.read_bytes < 2**20


def test_of_fields_without_end_only_so_many_are_read(monkeypatch):
    monkeypatch.setattr("modelberth.engine.onnx._MOST_FIELDS", 100_000)
    data = model(field(7, graph(field(1, node(attribute(b"\x40\x00" * 2_000_000))))))
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NotOnnxError, match="more than 100000 fields"):
        external_files(io.BytesIO(data), len(data))
    assert time.process_time() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
