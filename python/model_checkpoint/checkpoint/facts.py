"""What manifests say, to compare the catalog with: read once, and again only where a file has changed."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

from model_checkpoint.errors import FormatError
from model_checkpoint.storage import manifest as manifests
from model_checkpoint.storage.durable import read_small
from model_checkpoint.storage.manifest import MAX_MANIFEST_BYTES
from model_checkpoint.storage.names import MANIFEST_NAME
from model_checkpoint.storage.scan import belongs_at
from model_checkpoint.types import CheckpointInfo
from model_checkpoint.utils import real_path
from model_checkpoint.utils.storage_errors import storage_errors

__all__ = ["ManifestFacts", "agrees", "comparable", "is_in_commit_order"]


class ManifestFacts:
    """The manifests of a store, without those of checkpoints in the trash.

    Reading takes no lease: a cleanup that looks at what another one is about to remove shall not be in its way.

    Args:
        root: The store.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, tuple[tuple[int, ...], CheckpointInfo]] = {}

    def of(self, path: str) -> CheckpointInfo:
        """What a manifest says.

        Args:
            path: The checkpoint's directory, relative to the root.

        Raises:
            IntegrityError: It is damaged, or is that of another checkpoint.
            StorageError: It cannot be read.
        """
        file = os.path.join(self._root, path, MANIFEST_NAME)
        signature = _signature(file)
        known = self._known.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        manifest = manifests.decode(read_small(file, limit=MAX_MANIFEST_BYTES), path=file)
        if not belongs_at(manifest, path):
            raise FormatError(f"a copy of step {manifest.step} of {manifest.experiment}", path=file, rule="id")
        info = manifest.info(path)
        self._known[path] = signature, info
        return info


def agrees(row: CheckpointInfo, truth: CheckpointInfo) -> bool:
    """Whether a row of the catalog says the same as the files, but for the number in the commit order.

    Of checkpoints that claim the same number, the catalog counts one higher: see `is_in_commit_order`.
    """
    return comparable(row) == comparable(truth)


def is_in_commit_order(rows: Sequence[CheckpointInfo], truths: Mapping[str, CheckpointInfo]) -> bool:
    """Whether rows, newest first, are in the order that their manifests say. Rows without a truth are left out."""
    order = [(truths[row.id].seq, row.created_at, row.id) for row in rows if row.id in truths]
    return order == sorted(order, reverse=True)


def comparable(info: CheckpointInfo) -> CheckpointInfo:
    """A checkpoint without its number, where NaN equals NaN."""
    metrics = {name: "nan" if math.isnan(value) else value for name, value in info.metrics.items()}
    return dataclasses.replace(info, seq=0, metrics=metrics)  # type: ignore[arg-type]


def _signature(file: str) -> tuple[int, ...]:
    with storage_errors("cannot look at the manifest", file):
        status = real_path.lstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
