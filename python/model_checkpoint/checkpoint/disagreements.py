"""What the catalog of a store says otherwise than its files: a comparison of two lists, which changes nothing.

`Workspace` corrects most of it by itself: what came and went, whenever an experiment is opened; what is said wrongly,
before anything is removed. A rebuild corrects all of it.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_checkpoint.checkpoint.facts import comparable, is_in_commit_order
from model_checkpoint.storage.scan import StoreScan
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo

__all__ = ["Disagreement", "Matter", "disagreements"]


class Matter(enum.Enum):
    """What it is about."""

    LOST = "lost"
    """The catalog has a checkpoint, and the store has no such directory, not even in its trash."""
    UNKNOWN = "unknown"
    """The store has a checkpoint, and the catalog has not."""
    PLACE = "place"
    """The checkpoint is somewhere else, or in the trash, or not there any more."""
    MANIFEST = "manifest"
    """What was committed: digests, sizes, step."""
    PROTECTION = "protection"
    """Pins and names, which keep a checkpoint from every cleanup."""
    REMARKS = "remarks"
    """What else was said of a checkpoint."""
    ORDER = "order"
    """Which checkpoint is newer."""
    SETTINGS = "settings"
    """What an experiment monitors and keeps."""


_FIELDS = {
    Matter.PLACE: ("state", "path"),
    Matter.MANIFEST: ("step", "created_at", "nbytes", "digest", "content", "backend", "parent"),
    Matter.PROTECTION: ("pinned", "aliases"),
    Matter.REMARKS: ("metrics", "tags", "verified_at"),
}
_GONE = frozenset({CheckpointState.LOST, CheckpointState.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One thing that catalog and files say differently.

    Attributes:
        matter: What it is about.
        what: The checkpoint's reference, or the experiment's name.
        text: How they differ, in words for people; empty if the matter says it.
    """

    matter: Matter
    what: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.text})" if self.text else self.what


def disagreements(
    rows: Sequence[CheckpointInfo], experiments: Iterable[ExperimentInfo], found: StoreScan
) -> tuple[Disagreement, ...]:
    """Compare what a catalog lists with what a scan of its store has found.

    What the scan cannot trust contradicts nobody: it is in the scan's own list.

    Args:
        rows: All checkpoints of the catalog, in every state.
        experiments: All experiments of the catalog.
        found: What the files say.
    """
    truths = {info.id: info for info in found.checkpoints}
    distrusted = {item.path for item in found.quarantined}
    return (
        *_rows(rows, truths, distrusted),
        *_unknown(rows, truths.values()),
        *_order(rows, truths),
        *_settings(experiments, found.experiments),
    )


def _rows(
    rows: Iterable[CheckpointInfo], truths: Mapping[str, CheckpointInfo], distrusted: set[str]
) -> Iterator[Disagreement]:
    for row in rows:
        truth = truths.get(row.id)
        if truth is not None:
            yield from _differences(row, truth, distrusted)
        elif row.state is CheckpointState.TRASHED:
            yield Disagreement(Matter.PLACE, row.ref, "in the trash only by the catalog")
        elif row.path not in distrusted:
            yield Disagreement(Matter.LOST, row.ref)


def _differences(row: CheckpointInfo, truth: CheckpointInfo, distrusted: set[str]) -> Iterator[Disagreement]:
    known, right = comparable(row), comparable(truth)
    for matter, fields in _FIELDS.items():
        if matter in {Matter.PROTECTION, Matter.REMARKS} and not _counts(truth, distrusted):
            continue
        differing = [name for name in fields if getattr(known, name) != getattr(right, name)]
        if differing:
            yield Disagreement(matter, row.ref, ", ".join(_difference(name, row, truth) for name in differing))


def _counts(truth: CheckpointInfo, distrusted: set[str]) -> bool:
    """Whether what was said of a checkpoint can be compared: of what is in the trash, the catalog may know less."""
    annotation = f"{truth.experiment}/.annotations/{truth.id}.json"
    return truth.state is CheckpointState.COMMITTED and annotation not in distrusted


def _difference(name: str, row: CheckpointInfo, truth: CheckpointInfo) -> str:
    match name:
        case "state":
            return f"{_state(truth)}, not {_state(row)}"
        case "pinned":
            return "pinned in the catalog alone" if row.pinned else "pinned by its annotation alone"
        case "aliases":
            return f"{_names(truth)} by the annotations, {_names(row)} by the catalog"
        case "nbytes":
            return f"{truth.nbytes} bytes, not {row.nbytes}"
        case _:
            return name


def _state(info: CheckpointInfo) -> str:
    return "in the trash" if info.state is CheckpointState.TRASHED else info.state.value


def _names(info: CheckpointInfo) -> str:
    return " ".join(f"@{alias}" for alias in info.aliases) or "no name"


def _unknown(rows: Iterable[CheckpointInfo], truths: Iterable[CheckpointInfo]) -> Iterator[Disagreement]:
    known = {row.id for row in rows}
    for truth in truths:
        if truth.id not in known:
            yield Disagreement(Matter.UNKNOWN, truth.ref)


def _order(rows: Iterable[CheckpointInfo], truths: Mapping[str, CheckpointInfo]) -> Iterator[Disagreement]:
    """One for each experiment whose checkpoints the catalog has in another order than their manifests."""
    by_experiment: dict[str, list[CheckpointInfo]] = {}
    for row in sorted(rows, key=lambda row: row.seq, reverse=True):
        if row.state not in _GONE:
            by_experiment.setdefault(row.experiment, []).append(row)
    for experiment, listed in by_experiment.items():
        created = [dataclasses.replace(row, created_at=truths[row.id].created_at) for row in listed if row.id in truths]
        if not is_in_commit_order(created, truths):
            yield Disagreement(Matter.ORDER, experiment)


def _settings(listed: Iterable[ExperimentInfo], stored: Iterable[ExperimentInfo]) -> Iterator[Disagreement]:
    """Where an experiment has no file of settings, the catalog's are those that count."""
    known = {info.name: info for info in listed}
    for right in stored:
        info = known.get(right.name)
        if info is None:
            yield Disagreement(Matter.SETTINGS, right.name, "not in the catalog")
            continue
        differing = [
            field.name for field in dataclasses.fields(right) if getattr(info, field.name) != getattr(right, field.name)
        ]
        if differing:
            yield Disagreement(Matter.SETTINGS, right.name, ", ".join(differing))
