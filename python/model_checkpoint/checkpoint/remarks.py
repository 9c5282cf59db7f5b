"""What is said of a checkpoint after it was saved, in the two places that hold it.

First the annotation beside the checkpoint, which is the truth, then the catalog, which can be rebuilt from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from model_checkpoint.analytics.numbers import has_utf8
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database.refs import check_alias
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.storage.annotations import Annotation, with_annotation, without_alias
from model_checkpoint.types import CheckpointInfo
from model_checkpoint.utils.clock import utc_now

__all__ = ["Remarks", "check_tags"]


class Remarks:
    """Pins, names, tags and judges checkpoints. Each method returns the checkpoint as it is then."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def introduce(self, checkpoint: CheckpointInfo, annotation: Annotation) -> None:
        """Add a new checkpoint to the catalog, with what is said of it from the start."""
        formers = [self._workspace.holder(checkpoint.experiment, alias) for alias in annotation.aliases]
        if annotation != Annotation(checkpoint.id):
            self._workspace.store.annotate(checkpoint, lambda _: annotation)
        with self._workspace.catalog.write():
            self._workspace.catalog.add(with_annotation(checkpoint, annotation))
            self._workspace.catalog.audit("save", checkpoint=checkpoint.id)
        for alias, former in zip(annotation.aliases, formers, strict=True):
            if former is not None:
                self._drop_alias(former, alias)

    def pin(self, checkpoint: CheckpointInfo, *, pinned: bool) -> CheckpointInfo:
        catalog = self._workspace.catalog

        def record() -> None:
            (catalog.pin if pinned else catalog.unpin)(checkpoint.id)

        return self._say(checkpoint, "pin" if pinned else "unpin", record, pinned=pinned)

    def tag(self, checkpoint: CheckpointInfo, tags: Mapping[str, str]) -> CheckpointInfo:
        """Add tags; one of the same key is replaced.

        Raises:
            ConfigurationError: A value is no text.
        """
        check_tags(tags)

        def record() -> None:
            for key, value in tags.items():
                self._workspace.catalog.set_tag(checkpoint.id, key, value)

        return self._say(checkpoint, "tag", record, tags=tags)

    def attach_metrics(self, checkpoint: CheckpointInfo, metrics: Mapping[str, float]) -> CheckpointInfo:
        """Add values that were measured after the save; one of the same name is replaced."""
        return self._say(
            checkpoint,
            "attach_metrics",
            lambda: self._workspace.catalog.attach_metrics(checkpoint.id, metrics),
            metrics=metrics,
        )

    def set_verified(self, checkpoint: CheckpointInfo, at: datetime) -> CheckpointInfo:
        """Note that all bytes were found intact."""
        return self._say(
            checkpoint, "verify", lambda: self._workspace.catalog.set_verified(checkpoint.id, at), verified_at=at
        )

    def set_damaged(self, checkpoint: CheckpointInfo) -> None:
        """Note that a checkpoint does not count as verified any more."""
        self._workspace.store.annotate(checkpoint, lambda annotation: dataclasses.replace(annotation, verified_at=None))
        catalog = self._workspace.catalog
        with catalog.write():
            known = catalog.get(checkpoint.id)
            catalog.remove(known.id)
            catalog.add(dataclasses.replace(known, verified_at=None))
            catalog.audit("damage", checkpoint=known.id)

    def set_alias(self, checkpoint: CheckpointInfo, alias: str) -> CheckpointInfo:
        """Name a checkpoint; another one that has the name loses it.

        Raises:
            ConfigurationError: The name could not be told from another kind of reference.
        """
        check_alias(alias)
        former = self._workspace.holder(checkpoint.experiment, alias)
        named = self._say(
            checkpoint,
            "alias",
            lambda: self._workspace.catalog.set_alias(checkpoint.id, alias),
            aliases={alias: utc_now()},
        )
        if former is not None and former.id != checkpoint.id:
            self._drop_alias(former, alias)
        return named

    def remove_alias(self, experiment: str, alias: str) -> CheckpointInfo:
        """Take a name away.

        Raises:
            CheckpointNotFoundError: Nothing in the experiment has it.
        """
        former = self._workspace.holder(experiment, alias)
        if former is None:
            raise CheckpointNotFoundError(f"experiment {experiment!r} has no alias {alias!r}", ref=alias)
        self._workspace.store.withdraw_alias(experiment, alias)
        with self._workspace.catalog.write():
            self._workspace.catalog.remove_alias(experiment, alias)
            self._workspace.catalog.audit("unalias", checkpoint=former.id, details={"alias": alias})
        return self._workspace.catalog.get(former.id)

    def _drop_alias(self, checkpoint: CheckpointInfo, alias: str) -> None:
        self._workspace.store.annotate(checkpoint, lambda annotation: without_alias(annotation, alias))

    def _say(
        self, checkpoint: CheckpointInfo, action: str, record: Callable[[], None], **news: object
    ) -> CheckpointInfo:
        """Write news into the annotation, adding to what its maps have, and let ``record`` tell the catalog."""

        def change(annotation: Annotation) -> Annotation:
            members = {
                name: MappingProxyType({**getattr(annotation, name), **value}) if isinstance(value, Mapping) else value
                for name, value in news.items()
            }
            return dataclasses.replace(annotation, **members)  # type: ignore[arg-type]

        self._workspace.store.annotate(checkpoint, change)
        with self._workspace.catalog.write():
            record()
            self._workspace.catalog.audit(action, checkpoint=checkpoint.id)
        return self._workspace.catalog.get(checkpoint.id)


def check_tags(tags: Mapping[Any, Any]) -> Mapping[str, str]:
    """Return tags, all of them texts by name.

    Raises:
        ConfigurationError: One is not.
    """
    for key, value in tags.items():
        if not isinstance(key, str) or not key or not isinstance(value, str):
            raise ConfigurationError(f"a tag is text by name, not {value!r:.40} by {key!r:.40}")
        if not has_utf8(key) or not has_utf8(value):
            raise ConfigurationError(f"the tag {key!a:.40} has a surrogate, which has no UTF-8")
    return tags
