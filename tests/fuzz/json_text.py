"""JSON text that is changed as text, so that what is wrong with it can be anything, and mostly stays JSON.

A text is cut into tokens once; mutations exchange, drop, repeat and swap tokens, values and members. Bytes that are
no UTF-8 survive as surrogate escapes.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TypeAlias

from tests.fuzz.dictionary import MARKS, NUMBERS, STRINGS, WORDS

__all__ = ["JsonText", "mutated", "read"]

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|-?\d[\d.eE+-]*|[A-Za-z]+|\s+|.', re.DOTALL)
_ENOUGH = 4096
"""Tokens of a text that grows no further."""

Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class JsonText:
    """A text in tokens.

    Attributes:
        tokens: All of it, spaces included.
        atoms: Where strings, numbers and words are.
        values: The values, containers included: from their first token up to, not including, the end.
        members: What stands between commas: members of objects with their keys, elements of lists.
    """

    tokens: list[str]
    atoms: list[int]
    values: list[Range]
    members: list[Range]

    def encoded(self) -> bytes:
        return "".join(self.tokens).encode("utf-8", "surrogateescape")


def read(raw: bytes) -> JsonText:
    """Cut a text into tokens; it need not be valid."""
    tokens = _TOKEN.findall(raw.decode("utf-8", "surrogateescape"))
    atoms: list[int] = []
    values: list[Range] = []
    members: list[Range] = []
    opened: list[int] = []
    starts = [0]
    for at, token in enumerate(tokens):
        first = token[0]
        if first in "{[":
            opened.append(at)
            starts.append(at + 1)
        elif first in "}],":
            begin = starts.pop() if starts else at
            if begin < at:
                members.append((begin, at))
            if first == ",":
                starts.append(at + 1)
            elif opened:
                values.append((opened.pop(), at + 1))
        elif first == '"' or first.isalnum() or first == "-":
            atoms.append(at)
            values.append((at, at + 1))
    return JsonText(tokens, atoms, values, members)


def mutated(rng: random.Random, text: JsonText, donor: JsonText) -> bytes:
    """One to four changes, each somewhere else in the text as it was before."""
    tokens = text.tokens[:]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if len(tokens) > _ENOUGH:
            break
        (rng.choice(_CHANGES) if tokens else _damage)(rng, tokens, text, donor)
    return "".join(tokens).encode("utf-8", "surrogateescape")


# --- changes ----------------------------------------------------------------------------------------------------------
# Ranges are those of the text before its first change: later changes may hit something else, which is as good.


def _pick(rng: random.Random, items: list[Range]) -> Range:
    return items[int(rng.random() * len(items))] if items else (0, 1)


def _exchange_atom(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    if text.atoms:
        at = min(rng.choice(text.atoms), len(tokens) - 1)
        first = tokens[at][:1]
        kinds = STRINGS if first == '"' else NUMBERS if first.isdigit() or first == "-" else WORDS
        tokens[at] = rng.choice(kinds)


def _exchange_kind(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    begin, end = _pick(rng, text.values)
    tokens[begin:end] = [rng.choice(rng.choice((STRINGS, NUMBERS, WORDS, ("[]", "{}", "[0]", "[[]]"))))]


def _step_number(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    numbers = [at for at in text.atoms if at < len(tokens) and tokens[at].isdigit() and len(tokens[at]) < 30]
    if numbers:
        at = rng.choice(numbers)
        value = int(tokens[at])
        tokens[at] = str(
            rng.choice((value + 1, value - 1, value * 2, value // 2, -value, 2**63 - value, value + 2**64))
        )


def _edit_string(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    if text.atoms:
        at = min(rng.choice(text.atoms), len(tokens) - 1)
        token = tokens[at]
        cut = rng.randrange(len(token)) if token else 0
        piece = rng.choice(("", "", "a", "0", "\\", '"', "\\u0000", "\\ud800", "\x00", "\udcff", "é", "~", "x" * 600))
        tokens[at] = token[:cut] + piece + token[cut + rng.choice((0, 1, 1, 2)) :]


def _transplant(rng: random.Random, tokens: list[str], text: JsonText, donor: JsonText) -> None:
    begin, end = _pick(rng, text.values)
    from_, to = _pick(rng, donor.values)
    if to - from_ < _ENOUGH:
        tokens[begin:end] = donor.tokens[from_:to]


def _drop_member(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    begin, end = _pick(rng, text.members)
    if tokens[end : end + 1] == [","]:
        end += 1
    elif tokens[begin - 1 : begin] == [","]:
        begin -= 1
    del tokens[begin:end]


def _repeat_member(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    begin, end = _pick(rng, text.members)
    tokens[end:end] = [",", *tokens[begin:end]]


def _borrow_member(rng: random.Random, tokens: list[str], text: JsonText, donor: JsonText) -> None:
    end = _pick(rng, text.members)[1]
    from_, to = _pick(rng, donor.members)
    if to - from_ < _ENOUGH:
        tokens[end:end] = [",", *donor.tokens[from_:to]]


def _swap_members(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    (a, b), (c, d) = sorted((_pick(rng, text.members), _pick(rng, text.members)))
    if b <= c:
        tokens[a:d] = [*tokens[c:d], *tokens[b:c], *tokens[a:b]]


def _wrap(rng: random.Random, tokens: list[str], text: JsonText, _donor: JsonText) -> None:
    begin, end = _pick(rng, text.values)
    depth = rng.choice((1, 1, 1, 2, 70, 200, 950, 995, 2000))
    before, after = rng.choice((("[", "]"), ("[", "]"), ('{"a":', "}"), ('{"$tuple":[', "]}")))
    tokens[begin:end] = [before * depth, *tokens[begin:end], after * depth]


def _damage(rng: random.Random, tokens: list[str], _text: JsonText, _donor: JsonText) -> None:
    at = rng.randrange(len(tokens) + 1)
    tokens[at : at + rng.choice((0, 0, 1, 1, 2))] = rng.choice(([], [rng.choice(MARKS)]))


_CHANGES = (
    *(_exchange_atom,) * 5,
    *(_step_number,) * 3,
    *(_transplant,) * 3,
    *(_drop_member,) * 2,
    *(_repeat_member,) * 2,
    *(_borrow_member,) * 2,
    _exchange_kind,
    _edit_string,
    _swap_members,
    _wrap,
    _damage,
)
