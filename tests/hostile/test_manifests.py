"""Manifests made to deceive: well-formed digests over content that breaks a rule."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_checkpoint.errors import CorruptionError, FormatError, IntegrityError, UnsupportedVersionError
from model_checkpoint.storage import manifest as manifests

pytestmark = pytest.mark.hostile

GOOD: dict[str, Any] = {
    "format": "mckpt.manifest",
    "version": 1,
    "requires": [],
    "id": "0" * 32,
    "experiment": "e",
    "step": 1,
    "seq": 2,
    "created_at": "2026-03-01T12:00:00.000000Z",
    "parent": None,
    "backend": "safetensors",
    "metrics": {"loss": 1.5},
    "metadata": {"k": "v"},
    "files": [{"name": "model.safetensors", "bytes": 1, "digest": "a" * 64, "kind": "tensors"}],
    "state": {"a": 1},
    "content": "c" * 64,
    "environment": {},
    "durability": {"synced": True, "noreplace": True},
}
ABSENT = object()


def sealed(body: str) -> bytes:
    """A text with the digest that it needs; ``body`` follows the digest's member."""
    blank = ('{"digest":"' + "0" * 64 + '"' + body).encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(b"mckpt.manifest.1".ljust(64, b"\0") + blank).hexdigest()
    return blank.replace(b"0" * 64, digest.encode(), 1)


def forged(**changes: Any) -> bytes:
    members = {key: value for key, value in (GOOD | changes).items() if value is not ABSENT}
    return sealed("," + json.dumps(members)[1:] + "\n")


def test_the_forger_can_make_a_good_one():
    """The cases below fail for the reason they name, and no other."""
    assert manifests.decode(forged(), path="m").step == 1
    assert manifests.decode(forged(surprise={"x": 1}), path="m").step == 1


FILE = GOOD["files"][0]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *((key, ABSENT) for key in GOOD),
        *((key, 1.5) for key in GOOD if key != "state"),
        ("format", "other"),
        ("version", True),
        ("id", "0" * 31),
        ("id", "Z" * 32),
        ("id", "../../../../etc/passwd".ljust(32, "0")),
        ("experiment", ".."),
        ("experiment", "a/b"),
        ("experiment", "catalog.db"),
        ("step", -1),
        ("step", 2**63),
        ("step", True),
        ("seq", "1"),
        ("created_at", "yesterday"),
        ("created_at", "2026-03-01T12:00:00"),
        ("parent", "x"),
        ("backend", "../x"),
        ("backend", "os.system"[::-1] + "("),
        ("metrics", {"a": "1"}),
        ("metrics", {"a": True}),
        ("metrics", {"a": {"$float": "1"}}),
        ("metrics", {"a": 10**400}),
        ("metadata", {"a": 1}),
        ("files", [FILE | {"name": "../x.safetensors"}]),
        ("files", [FILE | {"name": "/etc/passwd"}]),
        ("files", [FILE | {"name": "manifest.json"}]),
        ("files", [FILE | {"name": "nul"}]),
        ("files", [FILE | {"name": "a\0b"}]),
        ("files", [FILE | {"bytes": -1}]),
        ("files", [FILE | {"bytes": True}]),
        ("files", [FILE | {"bytes": 2**63}]),
        ("files", [FILE | {"digest": "A" * 64}]),
        ("files", [FILE | {"digest": ""}]),
        ("files", [FILE | {"kind": "pickle"}]),
        ("files", [FILE, FILE]),
        ("files", [FILE | {"name": "Model.safetensors"}, FILE]),
        ("files", [FILE, FILE | {"name": "a.safetensors"}]),
        ("files", [[]]),
        ("content", "c" * 63),
        ("environment", {"a": None}),
        ("durability", {"synced": 1, "noreplace": True}),
        ("durability", {}),
    ],
    ids=lambda value: repr(value)[:48],
)
def test_a_member_that_breaks_a_rule_is_refused_by_name(member, value):
    """A valid digest does not make a manifest valid."""
    with pytest.raises(FormatError) as error:
        manifests.decode(forged(**{member: value}), path="dir/manifest.json")
    assert error.value.rule == member
    assert error.value.path == "dir/manifest.json"
    assert str(error.value).isprintable()


@pytest.mark.parametrize("change", [{"version": 2}, {"requires": ["encryption"]}, {"requires": [{"x": 1}]}])
def test_what_a_later_version_needs_is_refused_as_such(change):
    """Users learn that they need another version, not that their file is broken."""
    with pytest.raises(UnsupportedVersionError):
        manifests.decode(forged(**change), path="m")


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("}" * 2 + "\n", "json"),
        (',"a":1,"a":2}\n', "json"),
        (',"a":{"b":1,"b":2}}\n', "json"),
        (',"a":NaN}\n', "json"),
        (',"a":Infinity}\n', "json"),
        (',"a":' + "[" * 100_000 + "]" * 100_000 + "}\n", "json"),
        (',"a":' + "9" * 5000 + "}\n", "json"),
        (',"a":"\\ud800"}\n', "utf8"),
        (',"a":"\ud800"}\n', "utf8"),
        (',"a":"x\0y"}\n', "json"),
        (',"digest":"' + "1" * 64 + '"}\n', "json"),
        ('}\n{"more":1}\n', "json"),
    ],
    ids=range(12),
)
def test_json_that_others_might_read_differently_is_refused(body, rule):
    """Duplicate keys, NaN, lone surrogates, trailing values and endless nesting have no place."""
    with pytest.raises(FormatError) as error:
        manifests.decode(sealed(body), path="m")
    assert error.value.rule == rule


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"digest":"', b"\xef\xbb\xbf" + forged(), b" " + forged(), b"[]", b"\0" * 100]
)
def test_what_does_not_begin_like_a_manifest_is_none(raw):
    """The digest stands at a fixed place, so that it is checked before anything is parsed."""
    with pytest.raises(FormatError) as error:
        manifests.decode(raw, path="m")
    assert error.value.rule == "digest"


def test_nothing_is_parsed_before_the_digest_is_right(monkeypatch):
    """Random damage never reaches the parser."""
    monkeypatch.setattr(manifests.strict_json, "parse", lambda *_, **__: pytest.fail("parsed"))
    raw = bytearray(forged())
    raw[-10] ^= 1
    with pytest.raises(CorruptionError):
        manifests.decode(bytes(raw), path="m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_any_value_in_any_member_is_read_or_refused_cleanly(member, value):
    """There is no input that raises anything but an integrity error."""
    try:
        manifests.decode(forged(**{member: value}), path="m")
    except IntegrityError as error:
        assert error.rule is not None  # noqa: PT017 - either outcome is right
