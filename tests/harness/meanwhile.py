"""Another process at work exactly between two steps, without another process.

A function of the one is made to call the other at a chosen place. The other is a workspace of its own, which waits for
locks hardly at all: what would wait is not done, as if it came later, and the test goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.errors import CatalogBusyError
from model_checkpoint.types import CheckpointInfo, CheckpointState

__all__ = ["agreed", "locks_of_others", "meanwhile"]


def meanwhile(
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    *,
    before: Callable[[], object] | None = None,
    after: Callable[[], object] | None = None,
) -> None:
    """Let something happen before or after a function is called, each time.

    It is not called again while it happens: what the other one calls is not interrupted.
    """
    original = getattr(owner, name)
    depth = 0

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal depth
        first = depth == 0
        depth += 1
        try:
            if first and before is not None:
                before()
            result = original(*arguments, **named)
            if first and after is not None:
                after()
            return result
        finally:
            depth -= 1

    monkeypatch.setattr(owner, name, called)


@contextlib.contextmanager
def locks_of_others() -> Iterator[None]:
    """What another process is kept from by a lock, it does not do."""
    with contextlib.suppress(CatalogBusyError):
        yield


def agreed(workspace: Workspace) -> dict[str, CheckpointInfo]:
    """What the catalog says, by id, after it was seen to be what the files say.

    Of what is in the trash, only that it is there: whoever restores it reads what was said of it.
    """
    listed = {info.id: info for info in workspace.catalog.list(states=tuple(CheckpointState))}
    found = {info.id: info for info in workspace.store.scan().checkpoints}
    assert listed.keys() == found.keys()
    for name, info in listed.items():
        assert (info.state, info.path) == (found[name].state, found[name].path)
        assert info.state is CheckpointState.TRASHED or info == found[name]
    return listed
