"""A training's past as values, drawn by a seed: what was saved, said and lost, and what a cleanup may not take of it.

What must stay is stated here anew, by definition and by counting, not by the code that plans.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model_checkpoint.checkpoint.keep import Keep
from model_checkpoint.checkpoint.retention import RetentionPlan, check_plan, plan_retention
from model_checkpoint.errors import RetentionError
from model_checkpoint.types import CheckpointInfo, CheckpointState, Mode

__all__ = ["Past", "Rules"]

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_VALUES = (math.nan, math.inf, -math.inf, 0.0, -0.0, 0.5, 0.5, 1.0)
_NAMES = ("prod", "v2")


class Past:
    """One experiment; each `live` does something to it at random, and `prune` cleans it up.

    Attributes:
        checkpoints: All that is there, in any state.
        removals: How many checkpoints cleanups have removed.
        refusals: How many cleanups the circuit breakers have refused.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._clock = _EPOCH
        self._step = self._seq = 0
        self._in_use: set[str] = set()
        self._resumed_from: str | None = None
        self._mode: Mode = self._random.choice(("min", "max"))
        self.checkpoints: list[CheckpointInfo] = []
        self.removals = self.refusals = 0

    def live(self) -> None:
        """Mostly save; else change what is known of a checkpoint, or restart, or set the clock."""
        if not self.checkpoints or self._random.random() < 0.6:
            self._save()
        else:
            self._random.choice(_CHANGES)(self, self._random.randrange(len(self.checkpoints)))

    def prune(self) -> Iterator[str]:
        """Clean up by a policy drawn at random; yields what it did that it must not do."""
        keep, last, best = self._policy()
        plan = plan_retention(
            self._random.sample(self.checkpoints, len(self.checkpoints)),
            keep,
            monitor="loss",
            mode=self._mode,
            in_use=self._in_use,
            resumed_from=self._resumed_from,
        )
        try:
            check_plan(plan, now=self._clock, force=self._random.random() < 0.5)
        except RetentionError:
            self.refusals += 1
            return
        yield from self._wrongs(plan, last, best)
        removed = {checkpoint.id for checkpoint in plan.removed}
        self.removals += len(removed)
        self.checkpoints = [one for one in self.checkpoints if one.id not in removed]

    def _wrongs(self, plan: RetentionPlan, last: int, best: int) -> Iterator[str]:
        there = [one for one in self.checkpoints if one.state is CheckpointState.COMMITTED]
        if plan.removed and self._clock < max(one.created_at for one in there) - timedelta(minutes=5):
            yield "it removed something while the clock stood in the past"
        rules = Rules(last, best, self._mode, self._in_use, self._resumed_from)
        yield from (f"{wrong}, and was removed by {plan.policy}" for wrong in rules.broken_by(plan.removed, there))
        for decision in plan.decisions:
            is_number = not math.isnan(decision.checkpoint.metrics.get("loss", math.nan))
            if not is_number and any(reason.startswith("best") for reason in decision.reasons):
                yield f"{decision.checkpoint.ref} has no number and counted as best"

    def _policy(self) -> tuple[Keep, int, int]:
        """A policy, how many of the newest it keeps, and how many of the best."""
        last, best = self._random.randrange(4), self._random.randrange(4)
        keep = Keep.none()
        keep = keep | Keep.last(last) if last else keep
        keep = keep | Keep.best(best) if best else keep
        extra = self._random.randrange(6)
        keep = keep | Keep.every(self._random.randint(1, 50)) if extra == 0 else keep
        keep = keep | Keep.every(minutes=self._random.randint(1, 90)) if extra == 1 else keep
        return keep, last, best

    # --- what happens -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        draw = self._random
        self._seq += 1
        self._step += draw.choice((0, 1, 1, 10))  # equal steps too
        self._clock += timedelta(minutes=draw.randrange(30))
        value = draw.choice((*_VALUES, draw.uniform(-1, 1), None))
        info = CheckpointInfo(
            id=f"{self._seq:032x}", experiment="e", step=self._step, seq=self._seq, created_at=self._clock,
            path=f"e/{self._seq}", nbytes=draw.randrange(10**9), digest="d", content="c",
            metrics={} if value is None else {"loss": value}, parent=self._resumed_from,
            verified_at=self._clock if draw.random() < 0.3 else None,
        )  # fmt: skip
        self.checkpoints.append(info)

    def _change(self, index: int, **news: object) -> None:
        self.checkpoints[index] = dataclasses.replace(self.checkpoints[index], **news)  # type: ignore[arg-type]

    def _pin(self, index: int) -> None:
        self._change(index, pinned=not self.checkpoints[index].pinned)

    def _name(self, index: int) -> None:
        name = self._random.choice(_NAMES)
        for other, one in enumerate(self.checkpoints):
            aliases = set(one.aliases) - {name} | ({name} if other == index else set())
            self._change(other, aliases=tuple(sorted(aliases)))

    def _use(self, index: int) -> None:
        self._in_use ^= {self.checkpoints[index].id}

    def _verify(self, index: int) -> None:
        """Checked and found intact, or damaged."""
        self._change(index, verified_at=self._random.choice((None, self._clock)))

    def _set_state(self, index: int) -> None:
        self._change(index, state=self._random.choice(tuple(CheckpointState)))

    def _measure(self, index: int) -> None:
        """A value that comes after the save."""
        self._change(index, metrics={"loss": self._random.choice(_VALUES)})

    def _restart(self, index: int) -> None:
        """The program runs again in the same directory: from a checkpoint, or from the beginning."""
        is_fresh = self._random.random() < 0.3
        self._resumed_from = None if is_fresh else self.checkpoints[index].id
        self._step = 0 if is_fresh else self.checkpoints[index].step
        self._in_use.clear()

    def _set_clock(self, _index: int) -> None:
        self._clock += timedelta(minutes=self._random.choice((-3000, -60, -4, 60, 3000)))


_CHANGES: tuple[Callable[[Past, int], None], ...] = (
    Past._pin, Past._name, Past._use, Past._verify, Past._set_state, Past._measure, Past._restart, Past._set_clock,
)  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What must stay.

    Attributes:
        last: How many of the newest.
        best: How many of the best by ``loss``; one stays even if it is 0.
        mode: Whether less or more of it is better.
        in_use: Ids that somebody reads.
        resumed_from: Id that the run resumed from.
    """

    last: int
    best: int
    mode: Mode
    in_use: AbstractSet[str] = frozenset()
    resumed_from: str | None = None

    def broken_by(self, removed: Iterable[CheckpointInfo], there: Sequence[CheckpointInfo]) -> Iterator[str]:
        """What was removed of the committed checkpoints that were there, and must not have been, and why."""
        newest = max((one.seq for one in there), default=-1)
        verified = max((one.seq for one in there if one.verified_at is not None), default=-1)
        best = max(self.best, 1)
        for one in removed:
            reasons = {
                "was not committed": one.state is not CheckpointState.COMMITTED,
                "was the newest": one.seq == newest,
                "was the newest verified": one.seq == verified,
                f"was among the newest {self.last}": sum(other.seq > one.seq for other in there) < self.last,
                f"was among the best {best}": _is_among_best(one, there, self.mode, best),
                "was pinned": one.pinned,
                "had a name": bool(one.aliases),
                "was in use": one.id in self.in_use,
                "was what the run resumed from": one.id == self.resumed_from,
            }
            yield from (f"{one.ref} {why}" for why, is_so in reasons.items() if is_so)


def _is_among_best(one: CheckpointInfo, there: Sequence[CheckpointInfo], mode: Mode, count: int) -> bool:
    """Whether fewer than ``count`` checkpoints come before one: by their metric, and of equal ones by being later."""
    value = one.metrics.get("loss", math.nan)

    def comes_before(other: CheckpointInfo) -> bool:
        theirs = other.metrics.get("loss", math.nan)
        is_better = theirs < value if mode == "min" else theirs > value
        return is_better or (theirs == value and other.seq > one.seq)

    return not math.isnan(value) and sum(map(comes_before, there)) < count
