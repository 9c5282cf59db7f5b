"""The harness that sets us beside others: it sees what goes wrong, and finds nothing wrong with us."""

from __future__ import annotations

import pytest

from tests.harness import strace
from tests.harness.nursery import Nursery
from tests.proof.field.measure import OURS, Cell, write_errors_to
from tests.proof.field.rows import ROWS

pytest.importorskip("torch")
BY_KEY = {row.key: row for row in ROWS}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with Nursery() as nursery:
        nursery.ask(write_errors_to.__module__, "write_errors_to", log=str(tmp_path_factory.mktemp("field") / "log"))
        yield nursery


def outcomes(nursery, row: str, peer: str) -> dict[str, int]:
    return tried(nursery, row, peer)["outcomes"]


def tried(nursery, row: str, peer: str):
    module, function = BY_KEY[row].function
    if reason := BY_KEY[row].unavailable():
        pytest.skip(reason)
    if row in {"kills-at-calls", "syncs"} and (reason := strace.unavailable()):
        pytest.skip(reason)
    return nursery.ask(f"tests.proof.field.{module}", function, peer=peer, trials=BY_KEY[row].trials["ci"])


@pytest.mark.parametrize("row", BY_KEY)
def test_we_keep_our_promises_in_every_row(nursery, row):
    """A few trials of each; `make proof` has the many."""
    counts = tried(nursery, row, OURS)
    assert counts["trials"] >= 1
    assert Cell(OURS, "", row, "ci", "", counts).violations == 0


@pytest.mark.parametrize(
    ("row", "peer", "outcome"),
    [
        ("kills-at-calls", "torch.save", "lost"),
        ("kills-at-calls", "torch.save", "half visible"),
        ("power-cuts", "torch.save + replace", "lost"),
        ("bits-of-data", "torch.save", "silently wrong"),
        ("zeroed-blocks", "safetensors", "silently wrong"),
        ("code", "DCP", "code ran"),
    ],
)
def test_the_harness_sees_what_goes_wrong(nursery, row, peer, outcome):
    """A package that promises nothing of the sort shows the outcome that we must not have."""
    assert outcomes(nursery, row, peer)[outcome] >= 1


def test_the_harness_sees_nothing_where_nothing_is_wrong(nursery):
    """torch.save with all that POSIX asks for survives a power cut, and is not accused of anything."""
    assert outcomes(nursery, "power-cuts", "torch.save + fsync + replace") == {}
    assert outcomes(nursery, "kills-at-calls", "torch.save + fsync + replace") == {}
    assert outcomes(nursery, "syncs", "torch.save + fsync + replace") == {"directories": 1, "files": 1}
