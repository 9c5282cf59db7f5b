from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from datetime import UTC, datetime

from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.manifest import Durability, Manifest, content_digest
from model_checkpoint.types import FileInfo

FILES = (FileInfo("config.json", 2, "a" * 64, "blob"), FileInfo("model.safetensors", 4104, "b" * 64, "tensors"))
STATE = {"step": 3, "b": {"$tuple": [1.0, "é\U0001f600"]}, "a": None}
MANIFEST = Manifest(
    id="1f3a9c2e" + "0" * 24,
    experiment="gpt2",
    step=500,
    seq=17,
    created_at=datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC),
    backend="safetensors",
    files=FILES,
    state=STATE,
    content=content_digest(FILES, STATE),
    parent="2" * 32,
    metrics={"loss": 0.5, "nan": math.nan, "inf": -math.inf, "whole": 3.0},
    metadata={"who": "me"},
    environment={"python": "3.11"},
    durability=Durability(synced=True, noreplace=False),
)


def test_a_manifest_comes_back_from_its_text():
    """Encoding and decoding are inverses, NaN metrics included."""
    raw, sealed = manifests.encode(MANIFEST)
    back = manifests.decode(raw, path="manifest.json")
    assert repr(dict(back.metrics)) == repr({"loss": 0.5, "nan": math.nan, "inf": -math.inf, "whole": 3.0})
    assert dataclasses.replace(back, metrics={}) == dataclasses.replace(sealed, metrics={})
    assert list(back.state) == ["step", "b", "a"]


def test_the_text_has_one_member_a_line_and_begins_with_its_digest():
    """The layout that docs/format.md demands, checked with nothing but the standard library."""
    raw, sealed = manifests.encode(MANIFEST)
    assert raw.startswith(b'{"digest":"')
    assert raw.endswith(b"}\n")
    assert len(raw.splitlines()) == len(json.loads(raw)) == 18
    blank = raw[:11] + b"0" * 64 + raw[75:]
    assert (
        hashlib.sha256(b"mckpt.manifest.1".ljust(64, b"\0") + blank).hexdigest() == raw[11:75].decode() == sealed.digest
    )


def test_the_content_digest_is_that_of_the_documented_text():
    """Files and state, sorted, without spaces, in ASCII; nothing else of the manifest counts."""
    pairs = [[file.name, file.digest] for file in FILES]
    text = json.dumps({"files": pairs, "state": STATE}, separators=(",", ":"), sort_keys=True)
    expected = hashlib.sha256(b"mckpt.content.1".ljust(64, b"\0") + text.encode("ascii")).hexdigest()
    assert content_digest(FILES, STATE) == content_digest(FILES[::-1], dict(reversed(STATE.items()))) == expected


def test_a_catalog_learns_all_that_it_keeps():
    """A manifest gives the row of its checkpoint."""
    info = manifests.encode(MANIFEST)[1].info("gpt2/step-00000500-1f3a9c2e")
    assert (info.ref, info.nbytes, info.seq, info.parent) == ("gpt2:500-1f3a9c2e", 4106, 17, "2" * 32)
    assert info.digest == manifests.encode(MANIFEST)[1].digest
