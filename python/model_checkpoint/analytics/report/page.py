"""What a report shows, as frozen values. Nothing here is laid out, and nothing is escaped: both is for who shows it.

Experiments and checkpoints are referred to by their places in `Page.experiments` and `Page.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats
from model_checkpoint.analytics.repetition import Group, Setting
from model_checkpoint.monitoring.stages import STAGES
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.types import CheckpointInfo, ExperimentInfo, Mode

__all__ = [
    "BEST",
    "Best",
    "Chart",
    "Checkpoint",
    "Experiment",
    "Line",
    "Mark",
    "Page",
    "Run",
    "Subject",
    "TradeOff",
]


BEST = "best"
"""The reason that retention gives for the best checkpoint."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An experiment that is reported about.

    Attributes:
        info: Its settings.
        checkpoints: Its checkpoints, in commit order.
        reasons: By id, why each is kept: empty if the next prune takes it. Those of which nobody can tell are missing.
    """

    info: ExperimentInfo
    checkpoints: tuple[CheckpointInfo, ...]
    reasons: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Best:
    """The best value of a monitored metric, and its step."""

    value: float
    step: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.

    Attributes:
        info: Its settings.
        mode: Which values of the monitored metric are better, if that is known.
        best: The best value of the monitored metric.
        last: Its last value.
        last_step: The last step of anything that was logged or saved.
        lately: Where the monitored metric goes: ``"improving"``, ``"worsening"``, ``"flat"``, or empty.
        checkpoints: How many there are.
        nbytes: How much they take.
        freed_bytes: How much of it the next prune frees.
    """

    info: ExperimentInfo
    mode: Mode | None
    best: Best | None
    last: float | None
    last_step: int | None
    lately: str
    checkpoints: int
    nbytes: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Something about a line that a reader should see.

    Attributes:
        kind: What it is.
        step: Where it is, or begins.
        text: In words.
    """

    kind: Literal["plateau", "divergence", "spike", "not finite"]
    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series, with few enough points to draw.

    Attributes:
        experiment: Whose.
        split: Of which split; empty if that was not said.
        tags: Its tags as text; empty if it has none.
        source: Where the values are from: logged during the run, or given at the saves.
        points: How many it has in truth.
        steps: Places of those that are drawn.
        values: Their values; a gap where one is not finite.
        mean_steps: Places of the means that smoothing goes by.
        means: These means.
        marks: What is to be seen in it.
    """

    experiment: int
    split: str
    tags: str
    source: Literal["logged", "saved"]
    points: int
    steps: NDArray[np.int64]
    values: Floats
    mean_steps: Floats
    means: Floats
    marks: tuple[Mark, ...]

    @property
    def is_reduced(self) -> bool:
        """Whether it was downsampled."""
        return len(self.steps) < self.points


@dataclass(frozen=True, slots=True)
class Chart:
    """All lines of one metric.

    Attributes:
        metric: Its name.
        mode: Which values are better, if that is known.
        is_monitored: Whether an experiment goes by it.
        lines: By experiment, split and tags.
    """

    metric: str
    mode: Mode | None
    is_monitored: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        experiment: Whose.
        info: What the catalog knows.
        reasons: Why it is kept; empty if the next prune takes it, None if that cannot be told.
    """

    experiment: int
    info: CheckpointInfo
    reasons: tuple[str, ...] | None

    @property
    def is_best(self) -> bool:
        """Whether it is the best of its experiment, which is a reason to keep it."""
        return BEST in (self.reasons or ())


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Two metrics of checkpoints against each other.

    Attributes:
        x: One metric.
        x_mode: Which of its values are better.
        y: The other one.
        y_mode: Which of its values are better.
        front: The checkpoints that no other beats in both.
    """

    x: str
    x_mode: Mode
    y: str
    y_mode: Mode
    front: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Checkpoints of one experiment that were saved one after the other, without a resume between them.

    Attributes:
        experiment: Whose.
        parent: The checkpoint that the run resumed from, if it is known and still there.
        checkpoints: In commit order.
    """

    experiment: int
    parent: int | None
    checkpoints: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Attributes:
        title: What it is about.
        made_at: When it was made.
        experiments: In the order in which they were given.
        settings: What they do not have in common.
        groups: The best first; none where nothing was repeated with another seed.
        charts: Monitored metrics first.
        checkpoints: By experiment, in commit order.
        trade_offs: For each pair of metrics of checkpoints.
        runs: By experiment, in commit order.
        operations: The last ones, newest last.
    """

    title: str
    made_at: datetime
    experiments: tuple[Experiment, ...]
    settings: tuple[Setting, ...]
    groups: tuple[Group, ...]
    charts: tuple[Chart, ...]
    checkpoints: tuple[Checkpoint, ...]
    trade_offs: tuple[TradeOff, ...]
    runs: tuple[Run, ...]
    operations: tuple[OperationTiming, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """What operations spend time on, in the usual order; those of a later version of us come last."""
        return tuple(dict.fromkeys([*STAGES, *(stage for one in self.operations for stage in one.stages)]))
