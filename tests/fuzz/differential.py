"""Our parser against the safetensors package: where they differ, and by which of our rules.

A parser differential would let one file mean one thing here and another elsewhere. So whatever we accept, the package
must accept, with the same tensors. We refuse more than it does; each such refusal must be of a rule of `STRICTER`,
which looks at the file for itself and does not ask our parser.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors

from model_checkpoint.errors import IntegrityError
from tests.fuzz import plain_input
from tests.fuzz.plain_input import OURS, PlainInput
from tests.fuzz.targets.header import decoded

__all__ = ["STRICTER", "Verdict", "compare", "mutated", "seeds"]

_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the two made of one file.

    Attributes:
        name: ``both accept``, ``both refuse``, or the rule by which only we refuse.
        problem: What must not be; empty where all is well.
    """

    name: str
    problem: str = ""


def compare(raw: bytes) -> Verdict:
    """Let both read a file."""
    try:
        theirs = _theirs(raw)
    except safetensors.SafetensorError as error:
        theirs = None
        reason = str(error)
    try:
        ours = _ours(raw)
    except IntegrityError as error:
        if theirs is None:
            return Verdict("both refuse")
        rule = next((name for name, applies in STRICTER.items() if applies(_Seen.of(raw))), None)
        if rule is None:
            return Verdict("only ours refuses", f"we refuse a file for no listed rule: {error}")
        return Verdict(rule)
    if theirs is None:
        return Verdict("only theirs refuses", f"we accept a file that safetensors refuses: {reason}")
    return Verdict("both accept") if ours == theirs else Verdict("both accept", "the tensors differ")


def _ours(raw: bytes) -> dict[str, Any]:
    header = decoded(raw)
    base = header.data_offset
    return {
        name: (entry.dtype, entry.shape, raw[base + entry.begin : base + entry.end])
        for name, entry in header.entries.items()
    }


def _theirs(raw: bytes) -> dict[str, Any]:
    return {
        name: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
        for name, tensor in safetensors.deserialize(raw)
    }


# --- where ours is the stricter one -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as the standard library's JSON reads it, with all that appears twice.

    Attributes:
        text: The header's text.
        pairs: The members of the header's object.
        objects: The members of every object, at any depth.
    """

    text: str
    pairs: Sequence[tuple[str, Any]]
    objects: Sequence[Sequence[tuple[str, Any]]]

    @classmethod
    def of(cls, raw: bytes) -> _Seen:
        text = raw[8 : 8 + int.from_bytes(raw[:8], "little")].decode()
        objects: list[list[tuple[str, Any]]] = []
        top = json.loads(text, object_pairs_hook=lambda pairs: objects.append(pairs) or dict(pairs))
        return cls(text, objects[-1] if isinstance(top, dict) else (), objects)

    def tensors(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self.pairs if name != "__metadata__")

    def metadata(self) -> Mapping[str, Any]:
        value = dict(self.pairs).get("__metadata__")
        return value if isinstance(value, dict) else {}

    def shapes(self) -> Iterator[Sequence[int]]:
        for _, value in self.tensors():
            if isinstance(value, dict) and isinstance(value.get("shape"), list):
                yield value["shape"]


def _has_duplicates(seen: _Seen) -> bool:
    return any(len(dict(pairs)) < len(pairs) for pairs in seen.objects)


def _has_other_space(seen: _Seen) -> bool:
    return seen.text[:1] != "{" or seen.text.rstrip(" ")[-1:] != "}"


def _has_other_members(seen: _Seen) -> bool:
    members = {"dtype", "shape", "data_offsets"}
    return any(isinstance(value, dict) and value.keys() != members for _, value in seen.tensors())


def _has_lists_as_entries(seen: _Seen) -> bool:
    return any(isinstance(value, list) for _, value in seen.tensors())


def _has_null_metadata(seen: _Seen) -> bool:
    return ("__metadata__", None) in seen.pairs


def _has_illegal_names(seen: _Seen) -> bool:
    return any(
        not 1 <= len(name.encode()) <= 512 or any(unicodedata.category(character) == "Cc" for character in name)
        for name, _ in seen.tensors()
    )


def _has_names_in_two_forms(seen: _Seen) -> bool:
    names = {name for name, _ in seen.tensors()}
    return len({unicodedata.normalize("NFC", name) for name in names}) < len(names)


def _has_many_dimensions(seen: _Seen) -> bool:
    return any(len(shape) > 64 for shape in seen.shapes())


def _has_large_dimensions(seen: _Seen) -> bool:
    return any(n > _MOST for shape in seen.shapes() for n in shape)


def _overflows_before_a_zero(seen: _Seen) -> bool:
    for shape in seen.shapes():
        product = 1
        for n in shape:
            product *= n
            if product > _MOST:
                return True
    return False


def _has_our_keys(seen: _Seen) -> bool:
    return any(key.startswith("mckpt.") for key in seen.metadata())


def _has_long_numbers(seen: _Seen) -> bool:
    return re.search(r"[0-9]{20}", seen.text) is not None


STRICTER: dict[str, Callable[[_Seen], bool]] = {
    "json: a key appears twice": _has_duplicates,
    "json: white space before the object, or other than spaces after it": _has_other_space,
    "json: an entry with other members": _has_other_members,
    "json: an entry that is a list": _has_lists_as_entries,
    "json: metadata that is null": _has_null_metadata,
    "json: a number of more than 19 digits": _has_long_numbers,
    "digest: keys of ours without a digest, or with a wrong one": _has_our_keys,
    "name: empty, too long, or with control characters": _has_illegal_names,
    "name: two names that are one after normalisation": _has_names_in_two_forms,
    "shape: more than 64 dimensions": _has_many_dimensions,
    "shape: a dimension beyond 2^63": _has_large_dimensions,
    "shape: a product beyond 2^63 before a zero": _overflows_before_a_zero,
}
"""What we refuse and the safetensors package accepts; the order decides which rule a file counts for."""


# --- inputs -----------------------------------------------------------------------------------------------------------


def seeds(rng: random.Random) -> list[bytes]:
    """Valid files of any writer; what is peculiar to ours has targets of its own."""
    return [plain_input.random_file(rng, ours=ours) for ours in (False, False, False, True) * 30]


def mutated(rng: random.Random, own: PlainInput, donor: PlainInput) -> bytes:
    """As of any plain file; what begins as ours do is always forged, so that both have something to accept."""
    raw = plain_input.mutated(rng, own, donor)
    end = 8 + int.from_bytes(raw[:8], "little")
    return plain_input.forged(raw[8:end], raw[end:]) if raw.startswith(OURS, 8) and end <= len(raw) else raw
