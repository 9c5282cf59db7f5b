"""Whether the catalog of a store says what its files say, and what can be trusted of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from model_checkpoint.checkpoint.disagreements import Disagreement, Matter, disagreements
from model_checkpoint.cli.findings import Finding, fail, ok, warn
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CatalogError, StorageError
from model_checkpoint.storage.scan import StoreScan
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointState

__all__ = ["check_agreement"]

_REMEDIES = {
    Matter.LOST: (
        fail,
        "the catalog knows them, the store has them nowhere; copy them back, or mckpt reindex drops them",
    ),
    Matter.UNKNOWN: (warn, "the catalog does not know them; mckpt reindex adds them"),
    Matter.PLACE: (warn, "the catalog says otherwise where they are; mckpt reindex corrects it"),
    Matter.MANIFEST: (fail, "the catalog says otherwise what was committed; mckpt reindex corrects it"),
    Matter.PROTECTION: (warn, "catalog and annotations protect differently; mckpt reindex goes by the annotations"),
    Matter.REMARKS: (warn, "the catalog does not say what the annotations say; mckpt reindex corrects it"),
    Matter.ORDER: (warn, "the catalog has the checkpoints in another order than they were committed; mckpt reindex"),
    Matter.SETTINGS: (warn, "the catalog has other settings than experiment.json; mckpt reindex corrects it"),
}


def check_agreement(store: Store) -> Iterator[Finding]:
    """Compare the catalog with the manifests, annotations and settings."""
    found = store.scan()
    committed = [info for info in found.checkpoints if info.state is CheckpointState.COMMITTED]
    verified = sum(info.verified_at is not None for info in committed)
    yield ok("checkpoints", f"{len(committed)} with a sound manifest, {verified} of them verified")
    for item in found.quarantined:
        yield fail("quarantined", f"{item.path}: {item.reason}")
    with suppress(CatalogError, StorageError):  # said already
        yield from _differences(store, found)


def _differences(store: Store, found: StoreScan) -> Iterator[Finding]:
    """What differs twice in the same way: once alone, somebody may have been between the files and the catalog."""
    seen = _compare(store, found)
    if seen:
        again = Counter(_compare(store, store.scan()))
        seen = tuple(one for one in seen if one in again)
    for matter, (level, remedy) in _REMEDIES.items():
        items = [str(one) for one in seen if one.matter is matter]
        if items:
            yield level(matter.value, remedy, items)
    if not seen:
        yield ok("agreement", "the catalog says what manifests, annotations and settings say")


def _compare(store: Store, found: StoreScan) -> tuple[Disagreement, ...]:
    with Listing.open(store.root) as listing:
        return disagreements(listing.list(states=tuple(CheckpointState)), listing.experiments(), found)
