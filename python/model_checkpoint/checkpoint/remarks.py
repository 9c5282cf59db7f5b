"""What is said of a checkpoint after it was saved, in the two places that hold it.

First the annotation beside the checkpoint, which is the truth, then the catalog, which is told what the annotation says
then. Nobody tells the catalog their own news: of two who change one annotation at the same time, the one who changed it
first may come to the catalog last, and the two places would differ for good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from model_checkpoint.analytics.numbers import has_utf8
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database.refs import check_alias
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError
from model_checkpoint.storage.annotations import Annotation, without_alias
from model_checkpoint.types import CheckpointInfo, CheckpointState
from model_checkpoint.utils.clock import utc_now

__all__ = ["Remarks", "check_tags"]

_MOMENT = timedelta(microseconds=1)


class Remarks:
    """Pins, names, tags and judges checkpoints. Each method returns the checkpoint as it is then.

    All of them raise `CheckpointNotFoundError` if it was moved to the trash meanwhile: nothing was said then.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def introduce(self, checkpoint: CheckpointInfo, annotation: Annotation) -> None:
        """Add a new checkpoint to the catalog, with what is said of it from the start.

        Others see it in its place before that: they may have adopted it, said more of it, or even removed it again.
        """
        workspace = self._workspace
        formers = [workspace.holder(checkpoint.experiment, alias) for alias in annotation.aliases]
        if annotation != Annotation(checkpoint.id):
            workspace.store.annotate(checkpoint, lambda said: _both(said, annotation))
        with workspace.catalog.write():
            workspace.enter(checkpoint)
            workspace.catalog.audit("save", checkpoint=checkpoint.id)
        for (alias, claim), former in zip(annotation.aliases.items(), formers, strict=True):
            if former is not None and former.id != checkpoint.id:
                self._drop_alias(former, alias, claim)

    def pin(self, checkpoint: CheckpointInfo, *, pinned: bool) -> CheckpointInfo:
        return self._say(checkpoint, "pin" if pinned else "unpin", pinned=pinned)

    def tag(self, checkpoint: CheckpointInfo, tags: Mapping[str, str]) -> CheckpointInfo:
        """Add tags; one of the same key is replaced.

        Raises:
            ConfigurationError: A value is no text.
        """
        return self._say(checkpoint, "tag", tags=check_tags(tags))

    def attach_metrics(self, checkpoint: CheckpointInfo, metrics: Mapping[str, float]) -> CheckpointInfo:
        """Add values that were measured after the save; one of the same name is replaced."""
        return self._say(checkpoint, "attach_metrics", metrics=metrics)

    def set_verified(self, checkpoint: CheckpointInfo, at: datetime) -> CheckpointInfo:
        """Note that all bytes were found intact."""
        return self._say(checkpoint, "verify", verified_at=at)

    def set_damaged(self, checkpoint: CheckpointInfo) -> None:
        """Note that a checkpoint does not count as verified any more."""
        self._say(checkpoint, "damage", verified_at=None)

    def set_alias(self, checkpoint: CheckpointInfo, alias: str) -> CheckpointInfo:
        """Name a checkpoint; another one that has the name loses it.

        Raises:
            ConfigurationError: The name could not be told from another kind of reference.
        """
        check_alias(alias)
        with self._workspace.catalog.write():  # outside of it, others would see the name where it has been withdrawn
            former = self._workspace.holder(checkpoint.experiment, alias)
            claim = self._now(former, alias)
            named = self._say(checkpoint, "alias", aliases={alias: claim})
            holder = self._workspace.holder(checkpoint.experiment, alias)
            if holder is not None:
                self._workspace.retell(holder.id)
        if former is not None and former.id != checkpoint.id:
            self._drop_alias(former, alias, claim)
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
            now = self._workspace.holder(experiment, alias)  # somebody may have just named another one
            for claimant in (former, now or former):
                self._workspace.retell(claimant.id)
            self._workspace.catalog.audit("unalias", checkpoint=former.id, details={"alias": alias})
        return self._workspace.catalog.get(former.id)

    def _drop_alias(self, former: CheckpointInfo, alias: str, claim: datetime) -> None:
        """Take a name from the one who had it, unless somebody has given it back after it was claimed for another."""

        def drop(said: Annotation) -> Annotation:
            return without_alias(said, alias) if said.aliases.get(alias, claim) < claim else said

        self._workspace.store.annotate(former, drop)

    def _now(self, former: CheckpointInfo | None, alias: str) -> datetime:
        """When a name is given: after the one who has it was, whatever the clock says, for the later claim wins."""
        claim = None if former is None else self._workspace.store.annotation(former).aliases.get(alias)
        return utc_now() if claim is None else max(utc_now(), claim + _MOMENT)

    def _say(self, checkpoint: CheckpointInfo, action: str, **news: object) -> CheckpointInfo:
        """Write news into the annotation, adding to what its maps have, and let the catalog know what it says then."""
        workspace = self._workspace
        _require_present(workspace.catalog.get(checkpoint.id))  # or an annotation would be left of what is gone
        workspace.store.annotate(checkpoint, _adding(news))
        with workspace.catalog.write():
            told = workspace.retell(checkpoint.id)
            workspace.catalog.audit(action, checkpoint=checkpoint.id)
        _require_present(told)  # nobody shall believe that something is pinned while it is on its way to the trash
        return told


def _adding(news: Mapping[str, object]) -> Callable[[Annotation], Annotation]:
    """A change that sets members of an annotation, and adds to those that are maps."""

    def change(annotation: Annotation) -> Annotation:
        members = {
            name: MappingProxyType({**getattr(annotation, name), **value}) if isinstance(value, Mapping) else value
            for name, value in news.items()
        }
        return dataclasses.replace(annotation, **members)  # type: ignore[arg-type]

    return change


def _both(said: Annotation, first: Annotation) -> Annotation:
    """What others have said already of a new checkpoint, together with what is said of it from the start."""
    return dataclasses.replace(
        said,
        aliases=MappingProxyType({**first.aliases, **said.aliases}),
        tags=MappingProxyType({**first.tags, **said.tags}),
    )


def _require_present(checkpoint: CheckpointInfo) -> None:
    if checkpoint.state is CheckpointState.TRASHED:
        raise CheckpointNotFoundError(f"{checkpoint.ref} was moved to the trash", ref=checkpoint.ref)


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
