"""What a test has shown, in figures: docs/reliability.md is made of it.

A test that proves a promise asks for two fixtures. ``trials(ci=…, proof=…, full=…)`` says how often to try: a little in
`make test`, more in `make proof`, as much as was promised in `make proof SCALE=full`. ``evidence(…)`` writes down what
was tried and what came of it, where ``--evidence`` says; it asserts nothing, that is the test's own business.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

__all__ = ["SCALES", "UNFINISHED", "Evidence", "Scale", "append", "read"]

Scale = Literal["ci", "proof", "full"]
SCALES: tuple[Scale, ...] = get_args(Scale)
UNFINISHED = "unfinished run"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of the proof.

    Attributes:
        threat: What was done to us, a noun phrase: "a kill at every system call of a save".
        promise: What held nevertheless, a sentence.
        trials: How often it was tried.
        unit: What was counted: "kills", "bits", "states".
        violations: How often the promise did not hold.
        test: The test's id.
        scale: How thorough the run was.
        date: The day, UTC.
        detail: What else is worth knowing: a breakdown, versions.
        exhaustive: Whether all there is was tried, every bit, every call: no bound is derived then, as from a sample.
        commit: Of the sources that were tested; the report fills it in.
        machine: Where; the report fills it in.
    """

    threat: str
    promise: str
    trials: int
    unit: str
    violations: int
    test: str
    scale: Scale
    date: str
    detail: str = ""
    exhaustive: bool = False
    commit: str = ""
    machine: str = ""

    @staticmethod
    def today() -> str:
        return time.strftime("%Y-%m-%d", time.gmtime())


def append(path: str | os.PathLike[str], evidence: Evidence) -> None:
    """Add a line to a file of evidence; processes may do so at once."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(evidence)) + "\n")


def read(path: str | os.PathLike[str]) -> Iterable[Evidence]:
    """The evidence in a file, in its order."""
    names = {field.name for field in fields(Evidence)}
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield Evidence(**{name: value for name, value in json.loads(line).items() if name in names})
