"""A short run of the fuzz targets, on what every change must pass; `make fuzz` runs ten million inputs."""

from __future__ import annotations

import sys

import pytest

from model_checkpoint.errors import FormatError
from model_checkpoint.utils import strict_json
from tests.fuzz import campaign
from tests.fuzz.target import REGRESSIONS
from tests.fuzz.targets.all import TARGETS

pytestmark = pytest.mark.hostile


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_made_to_deceive_are_read_or_refused(name):
    """A value that obeys the format, or an exception of ours, in bounded time and memory."""
    tasks = campaign.tasks([TARGETS[name]], executions=1_000, seed=7)
    found = campaign.run(tasks, jobs=1, seconds=60.0, report=lambda _done, _findings: None)
    assert found[name].executions >= 1_000
    assert found[name].findings == {}


# --- what was found ---------------------------------------------------------------------------------------------------

# Each of these once raised an error of Python's own or torch's, came to something that the format does not have, or was
# read as something else than it says.
FOUND = {
    "annotation/a-metric-beyond-any-float": "refused: FormatError annotation",
    "annotation/a-pin-that-is-no-truth-value": "refused: FormatError annotation",
    "annotation/a-time-after-the-end-of-the-calendar": "refused: FormatError annotation",
    "checkpoint/a-complex-array-of-rows-of-four": "refused: FormatError state",
    "checkpoint/a-complex-array-of-rows-of-none": "refused: FormatError state",
    "checkpoint/a-complex-tensor-of-another-width": "refused: FormatError state",
    "experiment/a-config-that-is-a-list-of-pairs": "refused: FormatError experiment",
    "experiment/a-number-beyond-the-range-of-a-float": "refused: FormatError json",
    "experiment/a-time-after-the-end-of-the-calendar": "refused: FormatError experiment",
    "json/a-number-beyond-the-range-of-a-float": "refused: FormatError json",
    "load/a-stride-that-no-element-needs-for-numpy": "accepted: Mode(framework='numpy'",
    "load/a-tensor-without-elements-beyond-the-address-space-in-a-mapping": "accepted: unsupported by torch",
    "load/a-tensor-without-elements-beyond-the-address-space-in-memory": "accepted: unsupported by torch",
    "load/a-view-of-8-bit-floats": "accepted: Mode(framework='numpy'",
    "manifest/a-number-beyond-the-range-of-a-float": "refused: FormatError json",
    "manifest/a-time-after-the-end-of-the-calendar": "refused: FormatError created_at",
    "owner/a-text-in-another-encoding": "accepted: int NoneType str",
    "owner/a-process-number-nested-a-thousand-deep": "accepted: int NoneType str",
    "owner/a-process-number-that-is-infinite": "accepted: int NoneType str",
    "state/a-place-that-is-a-text": "refused: FormatError state",
    "state/a-scalar-of-an-object": "refused: FormatError state",
    "state/a-scalar-of-upper-case-digits": "refused: FormatError state",
    "state/a-set-with-a-member-beside-it": "refused: FormatError state",
    "state/bytes-with-bits-that-no-byte-needs": "refused: FormatError state",
    "state/more-bytes-than-a-tree-may-hold": "refused: FormatError state",
    "state/pairs-that-are-texts": "refused: FormatError state",
    "trash/a-time-before-the-beginning-of-the-calendar": "refused: FormatError trash",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_stays_repaired(name):
    """The input is refused by the rule that it breaks, or read as what it says; its name tells what is special."""
    target = TARGETS[name.partition("/")[0]]
    assert target.outcome((REGRESSIONS / name).read_bytes()).startswith(FOUND[name])


def test_every_input_that_was_found_has_an_expectation():
    """No file lies there untried."""
    assert {str(path.relative_to(REGRESSIONS)) for path in REGRESSIONS.glob("*/*")} == FOUND.keys()


def test_an_escaped_surrogate_nested_as_deep_as_python_goes_is_read_or_refused():
    """What looks for lone surrogates gives up a little earlier than the parser; where, depends on the stack."""
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 10):
        try:
            strict_json.parse(b"[" * depth + rb'"\ud83d\ude00"' + b"]" * depth, path="text")
        except FormatError as error:
            assert error.rule == "json"  # noqa: PT017 - what is not refused is as good
