"""What is wrong with a store when the power is back. Mounting has emptied the page cache: all is read from the disk."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence

from model_checkpoint.checkpoint.reindex import reindex
from model_checkpoint.checkpoint.workspace import Workspace
from model_checkpoint.database import MetricTable
from tests.harness import aftermath
from tests.harness.power_cut_script import differences, part
from tests.harness.sample_store import EXPERIMENTS, View, age, manager, recover, save_one, view

__all__ = ["judge", "look"]


def judge(root: str, windows: Mapping[str, Sequence[View]]) -> tuple[list[str], View]:
    """What is wrong with a store, and what there is to see in it in the end, when it has been used again.

    Args:
        root: The store.
        windows: By experiment, what may be seen: see `Script.window`.
    """
    problems: list[str] = []
    try:
        problems.extend(_problems(root, windows))
        return problems, look(root)
    except Exception:  # noqa: BLE001 - whatever it is, this store is of no use any more
        return [*problems, traceback.format_exc()], {}


def look(root: str) -> View:
    """All that there is to see: checkpoints, what was said of them, and logged metrics; everything is verified."""
    seen = view(root)
    with Workspace.open(root) as workspace:
        for experiment in EXPERIMENTS:
            points = MetricTable(workspace.catalog).points(experiment)
            if points.size:
                seen[f"{experiment} rates"] = [int(value) for value in points["value"]]
    return seen


def _problems(root: str, windows: Mapping[str, Sequence[View]]) -> Iterator[str]:
    recover(root)
    seen = look(root)
    for experiment, window in windows.items():
        yield from differences(part(seen, experiment), window)
    recover(root)
    yield from (f"a second recovery: {problem}" for problem in differences(look(root), [seen]))
    yield from aftermath.complaints(root)
    age(root)
    recover(root)
    yield from (f"left behind: {path}" for path in aftermath.leftovers(root))
    _use(root)
    seen = look(root)
    reindex(root)
    again = look(root)  # what was being said of a checkpoint may be in its annotation, and not yet in the catalog
    for experiment, window in windows.items():
        both = [*window, part(seen, experiment)]
        yield from (f"after a reindex, {problem}" for problem in differences(part(again, experiment), both))


def _use(root: str) -> None:
    """The next save works, in each experiment, and is what comes last."""
    for experiment in EXPERIMENTS:
        with manager(root, experiment) as ckpts:
            step = ckpts.latest.step + 1 if ckpts.latest else 0
            saved = save_one(ckpts, step).result()
            assert ckpts.latest is not None
            assert ckpts.latest.id == saved.id, f"{ckpts.latest.ref} is the latest, not {saved.ref}"
            assert ckpts.load(step)["weight"][0] == step
