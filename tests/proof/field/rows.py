"""The rows of the table of the field: what is tried, how often, and how the outcome reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.harness.evidence import Scale
from tests.proof.field import full_disk, power_cuts
from tests.proof.field.tally import Counts

__all__ = ["ROWS", "Row"]


def _always() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is done to all peers.

    Attributes:
        key: Names it in the results.
        table: The table that shows it.
        heading: Of its column.
        function: Module below `tests.proof.field`, and function.
        trials: How often at each scale.
        cell: The outcome in words.
        harmful: The outcomes that break a promise, if it is ours.
        unavailable: Why it cannot be tried here, or None.
    """

    key: str
    table: str
    heading: str
    function: tuple[str, str]
    trials: dict[Scale, int]
    cell: Callable[[Counts], str]
    harmful: frozenset[str] = frozenset()
    unavailable: Callable[[], str | None] = _always


# --- outcomes in words ------------------------------------------------------------------------------------------------


def _lost(counts: Counts) -> str:
    """How many acknowledged checkpoints are lost, and what else happened."""
    outcomes = counts["outcomes"]
    lost, nothing = outcomes.get("lost", 0), outcomes.get("nothing left", 0)
    others = ("half visible", "silently wrong", "next save fails", "unclear error", "leftovers")
    words = [f"lost {lost:,} of {'all ' if counts['exhaustive'] else ''}{counts['trials']:,}"]
    if lost:
        words.append(f"nothing left {nothing:,}" if nothing else "an older one left")
    words += [f"{name} {outcomes[name]:,}" for name in others if outcomes.get(name)]
    return "; ".join(words)


def _full(counts: Counts) -> str:
    outcomes = counts["outcomes"]
    words = f"{_lost(counts)}; error at {_of(outcomes.get('failed', 0), counts['trials'])} levels"
    return words if outcomes.get("failed") else f"{_lost(counts)}; needed no space"


def _refused(counts: Counts) -> str:
    """How much of what is not harmless was found."""
    outcomes = counts["outcomes"]
    refused, crashed = outcomes.get("refused", 0), outcomes.get("crash", 0)
    relevant = refused + crashed + outcomes.get("silently wrong", 0)
    if not relevant:
        return f"no effect, {counts['trials']:,} times"
    words = [_of(refused, relevant)]
    words += [f"crash {crashed:,}"] if crashed else []
    harmless = counts["trials"] - relevant
    return "; ".join([*words, *([f"no effect {harmless:,}"] if harmless else [])])


def _ran(counts: Counts) -> str:
    return f"in {_of(counts['outcomes'].get('code ran', 0), counts['trials'])} places"


def _synced(counts: Counts) -> str:
    outcomes = counts["outcomes"]
    return f"{outcomes['files']:,} of files, {outcomes['directories']:,} of directories"


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,}"


# --- the rows ---------------------------------------------------------------------------------------------------------

_LOSSES = frozenset({"lost", "half visible", "silently wrong", "next save fails", "leftovers", "unclear error"})
_DAMAGE = frozenset({"silently wrong", "crash"})
_FEW: dict[Scale, int] = {"ci": 3, "proof": 100, "full": 2000}
_FIXED: dict[Scale, int] = {"ci": 1, "proof": 1, "full": 1}

CRASHES, DAMAGE, DISKS = "Crashes", "Damage", "Full disks, and code in files"

ROWS: tuple[Row, ...] = (
    Row(
        "kills-at-random",
        CRASHES,
        "SIGKILL at a random moment",
        ("kills", "kills_at_random"),
        {"ci": 2, "proof": 20, "full": 200},
        _lost,
        _LOSSES,
    ),
    Row(
        "kills-at-calls",
        CRASHES,
        "SIGKILL at each system call that changes something",
        ("kills", "kills_at_calls"),
        {"ci": 3, "proof": 16, "full": 200},
        _lost,
        _LOSSES,
    ),
    Row(
        "power-cuts",
        CRASHES,
        "power cut after the save returned (ext4)",
        ("power_cuts", "power_cuts"),
        {"ci": 1, "proof": 4, "full": 50},
        _lost,
        _LOSSES,
        power_cuts.unavailable,
    ),
    Row("syncs", CRASHES, "syncs in one save", ("syncs", "syncs"), _FIXED, _synced),
    Row("bits-of-data", DAMAGE, "a bit of the data flipped", ("damage", "bits_of_data"), _FEW, _refused, _DAMAGE),
    Row(
        "bits-of-metadata",
        DAMAGE,
        "a bit of anything else flipped",
        ("damage", "bits_of_metadata"),
        _FEW,
        _refused,
        _DAMAGE,
    ),
    Row(
        "zeroed-blocks",
        DAMAGE,
        "a block of 4 KiB zeroed",
        ("damage", "zeroed_blocks"),
        {"ci": 3, "proof": 50, "full": 500},
        _refused,
        _DAMAGE,
    ),
    Row("cut-by-a-byte", DAMAGE, "a file cut by a byte", ("damage", "cut_by_a_byte"), _FIXED, _refused, _DAMAGE),
    Row("cut-to-half", DAMAGE, "a file cut to half", ("damage", "cut_to_half"), _FIXED, _refused, _DAMAGE),
    Row(
        "full-disks",
        DISKS,
        "disk full, at each level",
        ("full_disk", "full_disks"),
        {"ci": 2, "proof": 6, "full": 24},
        _full,
        _LOSSES,
        full_disk.unavailable,
    ),
    Row("code", DISKS, "a pickle in a file ran", ("code", "code_in_files"), _FIXED, _ran, frozenset({"code ran"})),
)
