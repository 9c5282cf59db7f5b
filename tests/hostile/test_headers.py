"""Headers that are made to deceive: each rule of docs/format.md, 2.6, by name."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import socket
import tracemalloc

import numpy as np
import pytest
import safetensors

from model_checkpoint.errors import (
    CorruptionError,
    FormatError,
    IntegrityError,
    StorageError,
    UnsupportedStateError,
    UnsupportedVersionError,
    UnverifiedWarning,
)
from model_checkpoint.storage.safetensors.header import decode
from model_checkpoint.storage.safetensors.inspect import inspect_file
from model_checkpoint.storage.safetensors.plain_file import open_plain
from model_checkpoint.storage.safetensors.reader import load_file, open_file
from model_checkpoint.storage.safetensors.writer import save_file

pytestmark = pytest.mark.hostile


def foreign(text, data=b"", *, length=None):
    """A file with this header text, as any writer might make it."""
    raw = text if isinstance(text, bytes) else text.encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype='"U8"', shape="[1]", offsets="[0,1]"):
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}}}'


def one(name='"a"', data=b"\1", **fields):
    """A file of one tensor, of one byte unless told otherwise."""
    return foreign(f"{{{name}:{entry(**fields)}}}", data)


def signed(metadata, tensors, data=b"", *, capitals=False):
    """A file with digests whose file digest is right, whatever else it says: what a forger can make."""
    digits = "0" * 64
    for _ in range(2):
        members = ",".join(
            [f'"mckpt.digest":"{digits}"', *(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in metadata.items())]
        )
        text = f'{{"__metadata__":{{{members}}}{tensors}}}'.encode()
        region = (4096 - 8).to_bytes(8, "little") + text.ljust(4096 - 8)
        digits = hashlib.sha256(b"mckpt.file.1".ljust(64, b"\0") + region).hexdigest()
        digits = digits.upper() if capitals else digits
    return region + data


TABLE = base64.b64encode(bytes(36)).decode()
OURS = {"mckpt.version": "1", "mckpt.chunks": TABLE}
ONE = f',"a":{entry()}'


def aliased(text, tensors=ONE, data=b"\1", **more):
    return signed({**OURS, "mckpt.aliases": text if isinstance(text, str) else json.dumps(text)} | more, tensors, data)


def view(shape, strides, offset, of="a"):
    return {"b": {"of": of, "shape": shape, "strides": strides, "offset": offset}}


SIX = f',"a":{entry(shape="[2,3]", offsets="[0,6]")}'

I64 = f',"a":{entry(dtype=chr(34) + "I64" + chr(34), offsets="[0,8]")}'

CASES = {
    # length
    "nothing": ("length", b""),
    "seven bytes": ("length", b"\2" + bytes(6)),
    "no header": ("length", bytes(8)),
    "header of one byte": ("length", foreign(" ")),
    "header longer than the file": ("length", foreign("{}", length=3)),
    "header of 100 MB and one": ("length", foreign("{}", length=100_000_001)),
    "largest length": ("length", foreign("{}", length=2**64 - 1)),
    "negative length": ("length", foreign("{}", length=2**63)),
    # digest
    "wrong digest": (
        "digest",
        foreign(('{"__metadata__":{"mckpt.digest":"' + "0" * 64 + '","mckpt.version":"1"}}').ljust(4088)),
    ),
    "short digest": ("digest", foreign('{"__metadata__":{"mckpt.digest":""}}')),
    "text ends in the digest": ("digest", foreign('{"__metadata__":{"mckpt.digest":"')),
    "digest in capitals": (
        "digest",
        signed(OURS, ONE, b"\1", capitals=True),
    ),
    "our keys without a digest": ("digest", foreign('{"__metadata__":{"mckpt.version":"1"}}')),
    "our digest in another place": ("digest", foreign('{"__metadata__":{"a":"","mckpt.digest":"0"}}')),
    "our file with a space": ("digest", foreign('{ "__metadata__":{"mckpt.digest":"0"}}')),
    # utf8
    "latin-1": ("utf8", one(name='"ä"').replace("ä".encode(), b"\xe4 ")),
    "overlong slash": ("utf8", foreign(b'{"\xc0\xaf":{}}')),
    "encoded surrogate": ("utf8", foreign(b'{"\xed\xa0\x80":{}}')),
    "truncated character": ("utf8", foreign(b'{"a":"\xe2\x82"}')),
    "nul in the padding": ("utf8", foreign("{}\0\0")),
    "escaped half of a pair in metadata": ("utf8", foreign('{"__metadata__":{"a":"\\ud800"}}')),
    "escaped half of a pair in a name": ("utf8", one(name='"\\udc00"')),
    # json
    "byte order mark": ("json", foreign("\ufeff{}")),
    "space first": ("json", foreign(" {}")),
    "a list": ("json", foreign("[]")),
    "a number": ("json", foreign("12")),
    "spaces only": ("json", foreign("    ")),
    "unclosed": ("json", foreign('{"a":')),
    "two objects": ("json", foreign("{}{}")),
    "text after the object": ("json", foreign("{} x")),
    "newline after the object": ("json", foreign("{}\n")),
    "trailing comma": ("json", foreign(one()[8:-2] + b",}", b"\1")),
    "comment": ("json", foreign('{/*a*/"a":1}')),
    "single quotes": ("json", foreign("{'a':1}")),
    "raw newline in a name": ("json", one(name='"a\nb"')),
    "bad escape": ("json", one(name='"\\x41"')),
    "duplicate tensor": ("json", foreign(f'{{"a":{entry()},"a":{entry()}}}', b"\1")),
    "duplicate tensor by escape": ("json", foreign(f'{{"a":{entry()},"\\u0061":{entry()}}}', b"\1")),
    "duplicate metadata": ("json", foreign('{"__metadata__":{},"__metadata__":{}}')),
    "duplicate metadata key": ("json", foreign('{"__metadata__":{"a":"1","a":"2"}}')),
    "duplicate dtype": ("json", foreign('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"\1")),
    "nan": ("json", one(shape="[NaN]")),
    "infinity": ("json", one(offsets="[0,Infinity]")),
    "minus zero": ("json", one(offsets="[-0,1]")),
    "negative dimension": ("json", one(shape="[-1]")),
    "negative offset": ("json", one(offsets="[-1,0]")),
    "number with a leading zero": ("json", one(shape="[01]")),
    "number of 5000 digits": ("json", one(shape=f"[{'1' * 5000}]")),
    "offset beyond 64 bits": ("json", one(offsets=f"[0,{2**64}]")),
    "nested 100000 deep": ("json", foreign('{"a":' + "[" * 100_000)),
    "nested in closed objects": ("json", foreign('{"a":' * 5000 + "1" + "}" * 5000)),
    "tensor that is a number": ("json", foreign('{"a":1}')),
    "tensor that is null": ("json", foreign('{"a":null}')),
    "tensor that is a list": ("json", foreign('{"a":[]}')),
    "tensor that is text": ("json", foreign('{"a":"dtype"}')),
    "tensor without members": ("json", foreign('{"a":{}}')),
    "no dtype": ("json", foreign('{"a":{"shape":[1],"data_offsets":[0,1]}}', b"\1")),
    "no shape": ("json", foreign('{"a":{"dtype":"U8","data_offsets":[0,1]}}', b"\1")),
    "no offsets": ("json", foreign('{"a":{"dtype":"U8","shape":[1]}}', b"\1")),
    "one more member": ("json", foreign('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}', b"\1")),
    "one offset": ("json", one(offsets="[1]")),
    "three offsets": ("json", one(offsets="[0,1,1]")),
    "offsets as text": ("json", one(offsets='"01"')),
    "offsets as booleans": ("json", one(offsets="[false,true]")),
    "offset that is a float": ("json", one(offsets="[0,1.0]")),
    "offset with an exponent": ("json", one(offsets="[0,1e0]")),
    "metadata that is a list": ("json", foreign('{"__metadata__":[]}')),
    "metadata that is null": ("json", foreign('{"__metadata__":null}')),
    "metadata with a number": ("json", foreign('{"__metadata__":{"a":1}}')),
    "metadata with an object": ("json", foreign('{"__metadata__":{"a":{}}}')),
    # version
    "a later version": ("version", signed({"mckpt.version": "2", "mckpt.chunks": TABLE}, ONE, b"\1")),
    "no version": ("version", signed({"mckpt.chunks": TABLE}, ONE, b"\1")),
    "version with a space": ("version", signed({"mckpt.version": "1 ", "mckpt.chunks": TABLE}, ONE, b"\1")),
    # name
    "empty name": ("name", one(name='""')),
    "name of 513 bytes": ("name", one(name=f'"{"x" * 513}"')),
    "name of 514 bytes in 257 characters": ("name", one(name=f'"{"ä" * 257}"')),
    "newline by escape": ("name", one(name='"a\\nb"')),
    "nul by escape": ("name", one(name='"a\\u0000"')),
    "terminal escape": ("name", one(name='"\\u001b[2J"')),
    "delete": ("name", one(name='"\x7f"')),
    "C1 control": ("name", one(name='"\x9b"')),
    "one name in two normal forms": (
        "name",
        foreign(f'{{"\u00e9":{entry(shape="[0]", offsets="[0,0]")},"e\u0301":{entry()}}}', b"\1"),
    ),
    "alias in another normal form": ("name", aliased({"e\u0301": {"of": "\u00e9"}}, f',"\u00e9":{entry()}')),
    "alias with an empty name": ("name", aliased({"": {"of": "a"}})),
    "alias named as the metadata": ("name", aliased({"__metadata__": {"of": "a"}})),
    # dtype
    "unknown dtype": ("dtype", one(dtype='"F7"')),
    "dtype in small letters": ("dtype", one(dtype='"u8"')),
    "dtype of numpy": ("dtype", one(dtype='"|O"')),
    "dtype that is a number": ("dtype", one(dtype="8")),
    "dtype that is null": ("dtype", one(dtype="null")),
    "dtype that is a list": ("dtype", one(dtype='["U8"]')),
    # shape
    "shape that is a number": ("shape", one(shape="1")),
    "shape that is text": ("shape", one(shape='"1"')),
    "shape with a float": ("shape", one(shape="[1.0]")),
    "shape with a boolean": ("shape", one(shape="[true]")),
    "shape with null": ("shape", one(shape="[null]")),
    "shape with a list": ("shape", one(shape="[[1]]")),
    "rank 65": ("shape", one(shape=f"[{','.join('1' * 65)}]")),
    "dimension 2^63": ("shape", one(shape=f"[{2**63}]")),
    "product that wraps to one": ("shape", one(shape=f"[{2**62},4,{2**62}]")),
    "product that wraps before a zero": ("shape", one(shape=f"[{2**62},{2**62},0]", offsets="[0,0]", data=b"")),
    # size
    "one byte too many": ("size", one(offsets="[0,2]", data=b"\1\1")),
    "one byte too few": ("size", one(shape="[2]")),
    "end before begin": ("size", one(offsets="[1,0]")),
    "huge tensor in a small file": ("size", one(shape=f"[{2**40}]")),
    "odd number of 4 bit elements": ("size", one(dtype='"F4"', shape="[3]", offsets="[0,2]", data=b"\1\1")),
    "odd number of 6 bit elements": ("size", one(dtype='"F6_E2M3"', shape="[2]", offsets="[0,2]", data=b"\1\1")),
    "bytes for an empty tensor": ("size", one(shape="[0]")),
    # coverage
    "huge tensor beyond the file": ("coverage", one(shape=f"[{2**40}]", offsets=f"[0,{2**40}]")),
    "trailing byte": ("coverage", one(data=b"\1\2")),
    "missing byte": ("coverage", one(data=b"")),
    "data without tensors": ("coverage", foreign("{}", b"\1")),
    "hole at the front": ("coverage", one(offsets="[1,2]", data=b"\1\1")),
    "hole in the middle": ("coverage", foreign(f'{{"a":{entry()},"b":{entry(offsets="[2,3]")}}}', b"123")),
    "overlap": (
        "coverage",
        foreign(f'{{"a":{entry(shape="[2]", offsets="[0,2]")},"b":{entry(offsets="[1,2]")}}}', b"12"),
    ),
    "the same bytes twice": ("coverage", foreign(f'{{"a":{entry()},"b":{entry()}}}', b"1")),
    "empty tensor in the middle of another": (
        "coverage",
        foreign(f'{{"a":{entry(shape="[2]", offsets="[0,2]")},"b":{entry(shape="[0]", offsets="[1,1]")}}}', b"12"),
    ),
    "empty tensor beyond the end": ("coverage", foreign(f'{{"b":{entry(shape="[0]", offsets="[9,9]")}}}')),
    # chunks
    "no chunk table": ("chunks", signed({"mckpt.version": "1"}, ONE, b"\1")),
    "empty chunk table": ("chunks", signed({**OURS, "mckpt.chunks": ""}, ONE, b"\1")),
    "chunk table too long": ("chunks", signed({**OURS, "mckpt.chunks": TABLE * 2}, ONE, b"\1")),
    "chunk table too short": ("chunks", signed({**OURS, "mckpt.chunks": TABLE[:44]}, ONE, b"\1")),
    "chunk table that is not base64": ("chunks", signed({**OURS, "mckpt.chunks": "!" * 48}, ONE, b"\1")),
    "chunk table with a space": ("chunks", signed({**OURS, "mckpt.chunks": " " + TABLE}, ONE, b"\1")),
    "chunk table padded in the end": ("chunks", signed({**OURS, "mckpt.chunks": TABLE[:-2] + "=="}, ONE, b"\1")),
    "chunk table with padding": ("chunks", signed({**OURS, "mckpt.chunks": TABLE + "===="}, ONE, b"\1")),
    "chunk table with a strange letter": ("chunks", signed({**OURS, "mckpt.chunks": "ä" * 48}, ONE, b"\1")),
    "chunk table for no tensor": ("chunks", signed(OURS, "")),
    # aliases
    "aliases that are a list": ("json", aliased("[]")),
    "aliases that are not JSON": ("json", aliased("{")),
    "aliases with a duplicate": ("json", aliased('{"b":{"of":"a"},"b":{"of":"a"}}')),
    "aliases with a negative stride": ("json", aliased(view([1], [-1], 0))),
    "aliases nested deep": ("json", aliased('{"b":' * 500)),
    "alias that is text": ("aliases", aliased({"b": "a"})),
    "alias without a target": ("aliases", aliased({"b": {}})),
    "alias of a number": ("aliases", aliased({"b": {"of": 1}})),
    "alias with one more member": ("aliases", aliased({"b": {"of": "a", "x": 1}})),
    "alias with a shape alone": ("aliases", aliased({"b": {"of": "a", "shape": [1]}})),
    "alias of nothing": ("aliases", aliased({"b": {"of": "z"}})),
    "alias of itself": ("aliases", aliased({"b": {"of": "b"}})),
    "alias of an alias": ("aliases", aliased({"b": {"of": "a"}, "c": {"of": "b"}})),
    "alias with the name of a tensor": ("aliases", aliased({"a": {"of": "a"}})),
    "view beyond the end": ("aliases", aliased(view([2], [1], 0))),
    "view by a stride beyond the end": ("aliases", aliased(view([2, 2], [4, 2], 0), SIX, b"123456")),
    "view from beyond the end": ("aliases", aliased(view([1], [1], 6), SIX, b"123456")),
    "empty view from far beyond": ("aliases", aliased(view([0], [1], 7), SIX, b"123456")),
    "view by a huge stride": ("aliases", aliased(view([2], [2**63 - 1], 0), SIX, b"123456")),
    "view with too few strides": ("aliases", aliased(view([1, 1], [1], 0))),
    "view with a boolean offset": ("aliases", aliased(view([1], [1], True))),
    "view with a boolean stride": ("aliases", aliased(view([1], [True], 0))),
    "view into packed elements": (
        "aliases",
        aliased(view([1], [1], 0), f',"a":{entry(dtype=chr(34) + "F4" + chr(34), shape="[2]")}'),
    ),
    "view of rank 65": ("shape", aliased(view([1] * 65, [1] * 65, 0))),
    "view of more bytes than addresses": ("aliases", aliased(view([2**61], [0], 0), I64, b"12345678")),
    "empty view that cannot be counted": ("aliases", aliased(view([0, 2**40, 2**40], [1, 1, 1], 0))),
    "view of 2^80 elements": ("shape", aliased(view([2**40, 2**40], [0, 0], 0))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_header_is_refused_by_its_rule(tmp_path, name):
    """Every reader raises an IntegrityError that names the file and the rule, before it reads any data."""
    rule, raw = CASES[name]
    path = tmp_path / "file"
    path.write_bytes(raw)
    for read in (load_file, inspect_file, open_file, lambda path: load_file(path, verify="none", mmap=True)):
        with pytest.raises(IntegrityError) as caught:
            read(path)
        assert (caught.value.rule, caught.value.path) == (rule, str(path))
        assert isinstance(caught.value, UnsupportedVersionError) == (rule == "version")
        assert isinstance(caught.value, FormatError | CorruptionError)


@pytest.mark.parametrize("name", [name for name, (rule, _) in CASES.items() if rule in ("dtype", "shape", "size")])
def test_the_tensor_of_a_broken_rule_is_named(tmp_path, name):
    """Where one tensor is to blame, the error says which."""
    path = tmp_path / "file"
    path.write_bytes(CASES[name][1])
    with pytest.raises(FormatError) as caught:
        inspect_file(path)
    assert caught.value.tensor in ("a", "b")


def test_the_forger_of_these_tests_makes_valid_files(tmp_path):
    """What the signed cases start from is accepted: they are refused for what is wrong with them."""
    path = tmp_path / "file"
    save_file({"a": np.array([1], np.uint8)}, path)
    good = base64.b64encode(
        base64.b64decode(json.loads(path.read_bytes()[8:4096])["__metadata__"]["mckpt.chunks"])
    ).decode()
    path.write_bytes(signed({"mckpt.version": "1", "mckpt.chunks": good}, ONE, b"\1"))
    assert load_file(path, framework="numpy")["a"].tolist() == [1]
    path.write_bytes(aliased(view([3, 2], [1, 3], 0), SIX, b"123456"))
    assert inspect_file(path).aliases["b"].view.shape == (3, 2)
    path.write_bytes(aliased({}, "", b"", **{"mckpt.chunks": "", "mckpt.later": "optional"}))
    assert inspect_file(path).metadata == {}


def accepted(raw):
    """Whether our parser accepts a file."""
    try:
        length = int.from_bytes(raw[:8], "little")
        decode(raw[: 8 + length], len(raw), "file")
    except IntegrityError:
        return False
    return True


OURS_BEGIN = b'{"__metadata__":{"mckpt.digest"'

LENIENT = {
    "no tensors": foreign("{}"),
    "padded": foreign("{}      "),
    "members in any order": foreign('{"a":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}', b"\1"),
    "spaces and newlines": foreign('{ "a" :\n{ "dtype":\t"U8", "shape": [ 1 ], "data_offsets": [0 , 1] } }', b"\1"),
    "metadata last": foreign(f'{{"a":{entry()},"__metadata__":{{"k":"v"}}}}', b"\1"),
    "escapes": one(name='"\\u00e4\\ud83d\\ude00\\/\\""'),
    "scalar": one(shape="[]"),
    "empty tensors at both ends": foreign(
        f'{{"z":{entry(shape="[0]", offsets="[1,1]")},"a":{entry()},"y":{entry(shape="[3,0]", offsets="[0,0]")}}}',
        b"\1",
    ),
    "largest empty shape": one(shape=f"[0,{2**63 - 1}]", offsets="[0,0]", data=b""),
    "four bits": one(dtype='"F4"', shape="[2]"),
    "six bits": one(dtype='"F6_E3M2"', shape="[4]", offsets="[0,3]", data=b"123"),
    "rank 64": one(shape=f"[{','.join('1' * 64)}]"),
    "name of 512 bytes": one(name=f'"{"x" * 512}"'),
    "path as a name": one(name='"../../etc/passwd"'),
    "unaligned": foreign(
        f'{{"a":{entry()},"b":{entry(dtype=chr(34) + "F64" + chr(34), offsets="[1,9]")}}}', b"123456789"
    ),
}


@pytest.mark.parametrize("name", LENIENT)
def test_unusual_and_valid_headers_are_accepted_by_both_parsers(tmp_path, name):
    """Being strict refuses nothing that the safetensors format allows and writers do."""
    path = tmp_path / "file"
    path.write_bytes(LENIENT[name])
    safetensors.deserialize(LENIENT[name])
    report = inspect_file(path)
    assert not report.ours
    with pytest.warns(UnverifiedWarning), open_file(path) as file:
        assert len(file.keys()) == len(report.tensors)


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\d+|\s+|.', re.DOTALL)
STRINGS = [
    '""',
    '"a"',
    '"b"',
    '"\\u0061"',
    '"\\ud800"',
    '"é"',
    '"e\u0301"',
    '"\\n"',
    '"dtype"',
    '"shape"',
    '"data_offsets"',
]
STRINGS += ['"__metadata__"', '"mckpt.digest"', '"U8"', '"I8"', '"BOOL"', '"F4"', '"F6_E2M3"', '"F64"', '"F7"']
NUMBERS = ["0", "1", "2", "4", "9", "-0", "-1", "1.0", "1e0", "01", "null", "true", "NaN", str(2**63), str(2**64)]
OTHERS = ["", " ", "\n", "\0", ",", ":", "{", "}", "[", "]", "[]", "{}", "[0]", '"a":{},', "/**/", "1", "\u00a0"]


def mutated(rng, seeds):
    """A file whose header has one to three tokens exchanged, mostly for others of their kind, or put in."""
    raw = rng.choice(seeds)
    length = int.from_bytes(raw[:8], "little")
    tokens = TOKEN.findall(raw[8 : 8 + length].decode("utf-8", "surrogateescape"))
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(tokens))
        kind = STRINGS if tokens[at].startswith('"') else NUMBERS if tokens[at].isdigit() else OTHERS
        tokens[at : at + rng.choice([0, 1, 1, 1, 1])] = [rng.choice(rng.choice([kind, kind, OTHERS]))]
    data = raw[8 + length :] + rng.choice([b"", b"", b"", b"\1"])
    return foreign("".join(tokens).encode("utf-8", "surrogateescape"), data)


def test_what_our_parser_accepts_the_safetensors_package_accepts():
    """A parser differential would let a file mean one thing here and another elsewhere: ours is the stricter one."""
    rng = random.Random(20)
    unsigned = [raw for _, raw in CASES.values() if 8 < len(raw) < 3000 and OURS_BEGIN not in raw]
    seeds = [*LENIENT.values()] * 4 + unsigned
    verdicts = {True: 0, False: 0}
    for _ in range(20_000):
        raw = mutated(rng, seeds)
        verdicts[accepted(raw)] += 1
        if accepted(raw):
            safetensors.deserialize(raw)
    assert min(verdicts.values()) > 300


def test_both_parsers_see_the_same_tensors():
    """Where both accept, names, dtypes, shapes and bytes agree."""
    rng = random.Random(21)
    seen = 0
    for _ in range(10_000):
        raw = mutated(rng, [*LENIENT.values()])
        if accepted(raw):
            length = 8 + int.from_bytes(raw[:8], "little")
            header = decode(raw[:length], len(raw), "file")
            theirs = {
                name: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
                for name, tensor in safetensors.deserialize(raw)
            }
            assert theirs == {
                name: (item.dtype, item.shape, raw[length + item.begin : length + item.end])
                for name, item in header.entries.items()
            }
            seen += 1
    assert seen > 300


def test_an_empty_shape_beyond_what_numpy_counts_is_named(tmp_path):
    """A valid file may hold empty tensors that one framework has no shape for."""
    path = tmp_path / "file"
    path.write_bytes(one(dtype='"F64"', shape=f"[0,{2**61}]", offsets="[0,0]", data=b""))
    assert load_file(path, verify="none")["a"].shape == (0, 2**61)
    for mmap in (False, True):
        with pytest.raises(UnsupportedStateError, match="'a'"):
            load_file(path, framework="numpy", verify="none", mmap=mmap)


def test_refusing_takes_no_memory(tmp_path):
    """A small header that promises a terabyte costs about its own size, though the file is that large."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(one(shape=f"[{2**40}]", offsets=f"[0,{2**40}]", data=b""))
        file.truncate(2**40)  # a hole: the size is real, the blocks are not
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            inspect_file(path)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    """A FIFO without a writer, a directory, a socket and devices are refused at once, by their rule."""
    fifo, unix = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(unix))
        for path in (fifo, tmp_path, unix, "/dev/null", "/dev/zero"):
            with pytest.raises(FormatError) as caught:
                load_file(path)
            assert caught.value.rule == "regular-file"


def test_links_are_followed_for_users_and_refused_in_stores(tmp_path):
    """A user's path may be a link, as in download caches; a file of a store must not be one."""
    path, link, circle = tmp_path / "file", tmp_path / "link", tmp_path / "circle"
    save_file({"a": np.zeros(1)}, path)
    link.symlink_to(path)
    circle.symlink_to(circle)
    assert load_file(link, framework="numpy")["a"].tolist() == [0]
    for target, nofollow in ((link, True), (circle, False), (circle, True)):
        with pytest.raises(FormatError) as caught:
            open_plain(target, nofollow=nofollow)
        assert caught.value.rule == "regular-file"


def test_a_missing_file_is_an_os_error_that_names_it(tmp_path):
    """What cannot be opened raises StorageError with the system's number."""
    for path in (tmp_path / "missing", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError) as caught:
            load_file(path)
        assert caught.value.path == str(path)
        assert caught.value.errno


def test_messages_show_names_escaped(tmp_path):
    """A hostile name cannot write control characters or long text into a log."""
    path = tmp_path / "file"
    for name in ('"\\u001b]0;owned\\u0007"', '"a\\nERROR all is lost"', f'"{"x" * 100_000}"'):
        path.write_bytes(one(name=name))
        with pytest.raises(FormatError) as caught:
            inspect_file(path)
        text = str(caught.value)
        assert text.isprintable()
        assert len(text) < 500
