"""What a run does to its experiment while the power may fail, and what there is to see after each of its acts.

Scripts are made before they are carried out, from what there is to see in the store (`sample_store.View`) and a random
number generator. What an act leads to is worked out here, by the rules of the documentation and not by the code under
test: what retention may remove is what it was said to remove.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import model_checkpoint as mc
from model_checkpoint.events import EventSink
from tests.harness.sample_store import LARGE, LONG, SMALL, View, manager

__all__ = ["Act", "Script", "differences", "part", "write_script"]

Do = Callable[[mc.CheckpointManager], object]
"""Carries out an act; it returns when the act is acknowledged."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that a run does.

    Attributes:
        text: What, for people.
        do: Does it.
        after: What there is to see of the experiment from then on.
        goes_on: Whether the next act begins by itself, in the background, as soon as this one is done.
    """

    text: str
    do: Do
    after: View
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """What one run does, in its order.

    Attributes:
        experiment: Whose run.
        trash_for_s: How long its manager keeps what it removes.
        before: What there is to see of the experiment when it begins.
        acts: What it does.
    """

    experiment: str
    trash_for_s: float
    before: View
    acts: tuple[Act, ...]

    def manager(self, root: str, sink: EventSink) -> mc.CheckpointManager:
        """The manager that the run works with."""
        return manager(root, self.experiment, keep=_KEEP, trash_for_s=self.trash_for_s, sinks=[sink])

    def window(self, acknowledged: int, begun: int) -> list[View]:
        """What may be seen when so many acts were acknowledged, and so many begun."""
        if begun and self.acts[begun - 1].goes_on:
            begun += 1
        return [self.before, *(act.after for act in self.acts)][acknowledged : begun + 1]


_KEEP, _LAST = mc.Keep.last(2) | mc.Keep.best(1), 2
_ALIASES = ("red", "green")


def differences(seen: View, window: Sequence[View]) -> Iterator[str]:
    """What is neither as it was after the last acknowledged act, nor as one of those begun since would have it."""
    for key in sorted({key for view in (seen, *window) for key in view}):
        allowed = [view.get(key) for view in window]
        if seen.get(key) not in allowed:
            yield f"{key} is {seen.get(key)!r}, not {' or '.join(dict.fromkeys(map(repr, allowed)))}"


def part(view: View, experiment: str) -> View:
    """What concerns one experiment."""
    return {key: value for key, value in view.items() if key.startswith((f"{experiment}/", f"{experiment} "))}


def write_script(view: View, experiment: str, rng: random.Random, length: int) -> Script:
    """A script of so many acts, or a few more, for an experiment of a store that looks like this."""
    before = part(view, experiment)
    trash_for_s = rng.choice([0.0, 0.0, LONG])
    author = _Author(experiment, dict(before), rng, into_trash=bool(trash_for_s))
    while len(author.acts) < length:
        author.write_more()
    return Script(experiment, trash_for_s, before, tuple(author.acts))


# --- writing ----------------------------------------------------------------------------------------------------------


class _Author:
    """Writes acts, each for what the ones before it have led to."""

    def __init__(self, experiment: str, view: View, rng: random.Random, *, into_trash: bool) -> None:
        self.acts: list[Act] = []
        self._experiment = experiment
        self._view = view
        self._rng = rng
        self._into_trash = into_trash

    def write_more(self) -> None:
        """Saves for the most part; what is done to older checkpoints needs some."""
        remarks = [self._pin, self._unpin, self._alias, self._unalias, self._tag, self._attach, self._verify]
        others = [*remarks, self._restore, self._prune]
        if self._rng.random() < 0.5 or not self._steps():
            self._save()
        else:
            self._rng.choice(others)()

    # --- acts ---

    def _save(self) -> None:
        step = max(self._steps("committed", "trashed"), default=-1) + 1
        size, block = self._rng.choice([SMALL, SMALL, SMALL, LARGE]), self._rng.random() < 0.3
        alias = self._rng.choice([None, None, *_ALIASES])
        loss = self._rng.random()
        options: dict[str, Any] = {"metrics": {"loss": loss}, "block": block}
        self._see(f"/{step} state", "committed")
        self._see(f"/{step} content", _content(step, size))
        self._see(f"/{step} metric loss", loss)
        if alias is not None:  # else there is no annotation, whose syncs could stand in for missing ones
            options |= {"alias": alias, "tags": {"size": str(size)}}
            self._see(f" @{alias}", step)
            self._see(f"/{step} tag size", str(size))

        def save(ckpts: mc.CheckpointManager) -> None:
            ckpts.log(step, rate=float(step))
            ckpts._parts.update(weight=np.full(size, step, np.float32), meta={"step": step})
            ckpts.save(step, **options).result()

        self._add(f"save {step} {options}", save, goes_on=True)
        self._clean_up()

    def _clean_up(self) -> None:
        """What a save is followed by, in its thread: logged metrics are written, and the policy is carried out."""
        self._see(" rates", [*self._view.get(f"{self._experiment} rates", []), self._steps()[-1]])
        self._remove_all_but(_LAST)
        self._add("wait", lambda ckpts: ckpts.wait())

    def _prune(self) -> None:
        self._remove_all_but(1)
        self._add("prune", lambda ckpts: ckpts.prune(dry_run=False, keep=mc.Keep.last(1), force=True))

    def _restore(self) -> None:
        step = self._pick(self._steps("trashed"))
        if step is not None:
            self._see(f"/{step} state", "committed")
            self._add(f"restore {step}", lambda ckpts: ckpts.restore(step))

    def _pin(self) -> None:
        step = self._some_step()
        self._see(f"/{step} pinned", True)
        self._add(f"pin {step}", lambda ckpts: ckpts.pin(step))

    def _unpin(self) -> None:
        step = self._pick([step for step in self._steps() if f"{self._experiment}/{step} pinned" in self._view])
        if step is not None:
            self._see(f"/{step} pinned", None)
            self._add(f"unpin {step}", lambda ckpts: ckpts.unpin(step))

    def _alias(self) -> None:
        step, alias = self._some_step(), self._rng.choice(_ALIASES)
        self._see(f" @{alias}", step)
        self._add(f"alias {step} {alias}", lambda ckpts: ckpts.alias(step, alias))

    def _unalias(self) -> None:
        alias = self._pick([alias for alias in _ALIASES if f"{self._experiment} @{alias}" in self._view])
        if alias is not None:
            self._see(f" @{alias}", None)
            self._add(f"unalias {alias}", lambda ckpts: ckpts.unalias(alias))

    def _tag(self) -> None:
        step, value = self._some_step(), str(self._rng.random())
        self._see(f"/{step} tag note", value)
        self._add(f"tag {step}", lambda ckpts: ckpts.tag(step, note=value))

    def _attach(self) -> None:
        step, value = self._some_step(), self._rng.random()
        self._see(f"/{step} metric score", value)
        self._add(f"attach_metrics {step}", lambda ckpts: ckpts.attach_metrics(step, score=value))

    def _verify(self) -> None:
        step = self._some_step()
        self._see(f"/{step} verified", True)
        self._add(f"verify {step}", lambda ckpts: ckpts.verify(step))

    # --- what retention does ---

    def _remove_all_but(self, count: int) -> None:
        """Keep the newest ones, the best one, the newest verified one, and what is pinned or named."""
        steps = self._steps()
        kept = {*steps[-count:], *self._newest_verified(steps), *self._named()}
        kept.add(min(steps, key=lambda step: (self._of(step, "metric loss"), -step)))
        kept |= {step for step in steps if self._of(step, "pinned")}
        for step in set(steps) - kept:
            if self._into_trash:
                self._see(f"/{step} state", "trashed")
            else:
                self._forget(step)

    def _newest_verified(self, steps: Sequence[int]) -> list[int]:
        return [step for step in steps if self._of(step, "verified")][-1:]

    def _named(self) -> list[int]:
        return [value for key, value in self._view.items() if key.startswith(f"{self._experiment} @")]

    def _forget(self, step: int) -> None:
        for key in [key for key in self._view if key.startswith(f"{self._experiment}/{step} ")]:
            del self._view[key]

    # --- what there is to see ---

    def _steps(self, *states: str) -> list[int]:
        """Steps of checkpoints in one of these states, or of committed ones, in the order of their commits."""
        chosen = states or ("committed",)
        keys = [key for key, value in self._view.items() if key.endswith(" state") and value in chosen]
        return sorted(int(key.split("/")[1].split()[0]) for key in keys)

    def _some_step(self) -> int:
        return self._rng.choice(self._steps())

    def _pick(self, candidates: Sequence[Any]) -> Any:
        return self._rng.choice(candidates) if candidates else None

    def _of(self, step: int, what: str) -> Any:
        return self._view.get(f"{self._experiment}/{step} {what}")

    def _see(self, what: str, value: Any) -> None:
        if value is None:
            del self._view[f"{self._experiment}{what}"]
        else:
            self._view[f"{self._experiment}{what}"] = value

    def _add(self, text: str, do: Do, *, goes_on: bool = False) -> None:
        self.acts.append(Act(text, do, dict(self._view), goes_on))


def _content(step: int, size: int) -> str:
    """A state of this step, as `sample_store.view` describes it."""
    return f"{step} {(size,)} {hashlib.sha256(np.full(size, step, np.float32).tobytes()).hexdigest()[:16]}"
