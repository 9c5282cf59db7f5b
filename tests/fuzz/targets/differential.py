"""Our parser and the safetensors package's on the same files."""

from __future__ import annotations

from tests.fuzz import differential, plain_input
from tests.fuzz.target import Target, Violation

__all__ = ["TARGET"]


def _run(raw: bytes) -> str:
    verdict = differential.compare(raw)
    if verdict.problem:
        raise Violation(verdict.problem)
    return verdict.name


TARGET = Target(
    name="differential",
    promise="what we accept the safetensors package accepts and sees alike; what we refuse beyond it has a rule",
    seeds=differential.seeds,
    read=plain_input.read,
    mutate=differential.mutated,
    run=_run,
)
