"""Headers of plain files."""

from __future__ import annotations

import json
import random

from model_checkpoint.storage.safetensors.header import Header, check_length, decode
from model_checkpoint.storage.safetensors.layout import TensorSpec, plan
from model_checkpoint.storage.safetensors.template import header_template
from tests.fuzz import plain_input
from tests.fuzz.rules import check_header
from tests.fuzz.target import Target, Violation

__all__ = ["TARGET", "decoded"]


def decoded(raw: bytes) -> Header:
    """The header of a file in memory, read as from a disk."""
    end = check_length(raw[:8], len(raw), "file")
    return decode(raw[:end], len(raw), "file")


def _seeds(rng: random.Random) -> list[bytes]:
    return [plain_input.random_file(rng, ours=ours) for ours in (False, True, True) * 40]


def _run(raw: bytes) -> str:
    header = decoded(raw)
    check_header(header, raw, json.loads(raw[8 : header.data_offset]))
    infos = [header.info(name) for name in header.names]
    _check_round_trip(header)
    return f"{header.ours} {min(len(infos), 3)} {min(len(header.aliases), 2)} {bool(header.metadata)}"


def _check_round_trip(header: Header) -> None:
    """What is written from a header reads as the same header, but for the order of the data."""
    specs = [TensorSpec(name, entry.dtype, entry.shape) for name, entry in header.entries.items()]
    layout = plan(specs)
    template = header_template(specs, layout, header.metadata, header.aliases)
    region = template.fill(bytes(template.table_bytes))
    again = decode(region, len(region) + layout.nbytes, "file")
    if (again.metadata, again.aliases) != (header.metadata, header.aliases):
        raise Violation("metadata or aliases change when they are written again")
    if {name: entry[:2] for name, entry in again.entries.items()} != {n: e[:2] for n, e in header.entries.items()}:
        raise Violation("tensors change when they are written again")


TARGET = Target(
    name="header",
    promise="a header is read by every rule of the format or refused by one",
    seeds=_seeds,
    read=plain_input.read,
    mutate=plain_input.mutated,
    run=_run,
    weight=2,
)
