"""What is recorded; runs in the recorder's children."""

from __future__ import annotations

from collections.abc import Callable

# Everything that may be needed: a child that is followed shall not spend its time on imports.
import model_checkpoint as mc
import model_checkpoint.checkpoint.manager
import model_checkpoint.database.migrations
import model_checkpoint.storage.safetensors.numpy_adapter
from tests.harness.operations import OPERATIONS
from tests.harness.sample_store import STORES, manager, save_one

__all__ = ["OPENED", "build", "go_on", "operate"]

OPENED = "opened"
"""What `go_on` says when the store is open, and its user may rely on what it shows."""

_STEP = 20


def build(root: str, say: Callable[[str], None], store: str) -> None:
    """Make a store."""
    STORES[store](f"{root}/runs")


def operate(root: str, say: Callable[[str], None], operation: str) -> None:
    """Do something to a store."""
    OPERATIONS[operation][1](f"{root}/runs", say)()


def go_on(root: str, say: Callable[[str], None]) -> None:
    """What follows a crash: the store is opened, the next checkpoint saved, and what is older removed."""
    with manager(f"{root}/runs", keep=mc.Keep.last(1)) as ckpts:
        say(OPENED)
        save_one(ckpts, _STEP, alias="next").result()
        say(f"exp/{_STEP} ")
        say("exp @next")
    say("")
