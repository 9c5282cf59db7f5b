"""What is done to a store, in the words in which it is reported."""

from __future__ import annotations

from collections.abc import Callable

import model_checkpoint as mc
from model_checkpoint.checkpoint.reindex import reindex
from tests.harness.sample_store import LARGE, LONG, manager, recover, save_one

__all__ = ["OPERATIONS", "Operation", "Say"]

Say = Callable[[str], None]
"""Acknowledges: what begins with this text is from now on as it will be in the end."""

Operation = Callable[[str, Say], Callable[[], None]]
"""Prepares something to do to the store at a root, and returns what does it."""


def _save(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root)

    def act() -> None:
        save_one(ckpts, 10, LARGE, alias="good", tags={"team": "red"}, files={"config.json": b"{}"}, block=True)
        say("exp/10 ")
        say("exp @good")
        ckpts.close()

    return act


def _save_and_verify(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root, verify_writes=True)

    def act() -> None:
        save_one(ckpts, 10, LARGE, block=True)
        say("exp/10 ")
        ckpts.close()

    return act


def _save_in_background(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root, keep=mc.Keep.last(2))

    def act() -> None:
        save_one(ckpts, 10, LARGE, alias="new").result()
        say("exp/10 ")
        say("exp @new")
        ckpts.close()  # the cleanup ends before this does
        say("")

    return act


def _first_save(root: str, say: Say) -> Callable[[], None]:
    def act() -> None:
        with manager(root) as ckpts:
            save_one(ckpts, 0, alias="first", block=True)
            say("")

    return act


def _prune(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root, trash_for_s=LONG)

    def act() -> None:
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1))
        say("")
        ckpts.close()

    return act


def _prune_for_good(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root)

    def act() -> None:
        ckpts.prune(dry_run=False, keep=mc.Keep.last(1))
        say("")
        ckpts.close()

    return act


def _restore(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root)

    def act() -> None:
        ckpts.restore(0)
        say("")
        ckpts.close()

    return act


def _open(root: str, say: Say) -> Callable[[], None]:
    def act() -> None:
        recover(root)
        say("")

    return act


def _reindex(root: str, say: Say) -> Callable[[], None]:
    def act() -> None:
        reindex(root)
        say("")

    return act


def _remark(root: str, say: Say) -> Callable[[], None]:
    ckpts = manager(root)

    def act() -> None:
        ckpts.pin(1)
        say("exp/1 pinned")
        ckpts.unpin(2)
        say("exp/2 pinned")
        ckpts.alias(4, "good")
        say("exp @good")
        ckpts.unalias("old")
        say("exp @old")
        ckpts.tag(3, team="green", more="x")
        say("exp/3 tag")
        ckpts.attach_metrics(3, score=0.75, loss=0.0)
        say("exp/3 metric")
        ckpts.verify(6)
        say("exp/6 verified")
        ckpts.log(6, rate=0.1)
        ckpts.close()
        say("")

    return act


# What is done, each with the stores that it is done to.
OPERATIONS: dict[str, tuple[str, Operation]] = {
    "a save": ("usual", _save),
    "a save that verifies what it wrote": ("usual", _save_and_verify),
    "a save in the background, with its cleanup": ("usual", _save_in_background),
    "the first save of a store": ("none", _first_save),
    "a cleanup into the trash": ("usual", _prune),
    "a cleanup for good": ("usual", _prune_for_good),
    "a restore from the trash": ("usual", _restore),
    "emptying the trash of what has expired": ("expired", _open),
    "a recovery": ("littered", _open),
    "a reindex": ("usual", _reindex),
    "the rebuilding of a lost catalog": ("uncataloged", _open),
    "the rebuilding of a damaged catalog": ("damaged", _open),
    "pins, aliases, tags and late metrics": ("usual", _remark),
}
