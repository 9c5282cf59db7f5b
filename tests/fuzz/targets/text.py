"""JSON as the format wants it, compared with the standard library's reading."""

from __future__ import annotations

import json
import random
from typing import Any

from model_checkpoint.utils import strict_json
from tests.fuzz import json_text
from tests.fuzz.target import Target, Violation
from tests.fuzz.targets.state import random_tree

__all__ = ["TARGET"]


def _seeds(rng: random.Random) -> list[bytes]:
    texts = [json.dumps(random_tree(rng), ensure_ascii=False, indent=rng.choice((None, 1))) for _ in range(60)]
    return [b"{}", b"[]", b"0", b'"a"', b"null", b"[1.5,-2,1e3]", *(text.encode() for text in texts)]


def _run(raw: bytes) -> str:
    value = strict_json.parse(raw, path="text")
    if _spelled(value) != _spelled(json.loads(raw, parse_constant=_no_constant)):
        raise Violation("another value than the standard library reads")
    text = strict_json.dump(value)
    if strict_json.dump(strict_json.parse(text.encode("ascii"), path="text")) != text:
        raise Violation("the value changes when it is written again")
    return type(value).__name__


def _spelled(value: Any) -> str:
    return json.dumps(value)


def _no_constant(name: str) -> None:
    raise Violation(f"accepted {name}")


TARGET = Target(
    name="json",
    promise="a JSON text has one meaning, the standard library's, or is refused",
    seeds=_seeds,
    read=json_text.read,
    mutate=json_text.mutated,
    run=_run,
)
