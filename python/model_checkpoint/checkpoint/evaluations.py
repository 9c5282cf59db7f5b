"""The evaluations of an experiment so far, for a run that resumes: logged, or kept with checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from model_checkpoint.analytics.early_stopping import Evaluation
from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.errors import MissingDependencyError

__all__ = ["joined_evaluations", "read_evaluations"]

_log = logging.getLogger("model_checkpoint")

ByStep = Mapping[int, Mapping[str, float]]


def read_evaluations(reader: MetricsReader, experiment: str, names: Sequence[str], last_step: int) -> ByStep:
    """What was logged under some names without split and tags, by step; nothing without the extra ``analytics``."""
    known = {key.name for key in reader.series(experiment)}
    wanted = [name for name in names if name in known]
    if not wanted:
        return {}
    try:
        found = reader.metrics(experiment, *wanted, split="", tags={}, last_step=last_step).to_numpy()
    except MissingDependencyError as error:
        _log.warning("the evaluations that were logged do not count, only those of checkpoints: %s", error)
        return {}
    values: dict[int, dict[str, float]] = {}
    for name, step, value in zip(found["name"], found["step"].tolist(), found["value"].tolist(), strict=True):
        values.setdefault(step, {})[str(name)] = value
    return values


def joined_evaluations(saved: ByStep, logged: ByStep, names: Sequence[str], last_step: int) -> list[Evaluation]:
    """All that were made until a step, in order; for a step that has both, what the checkpoint has counts."""
    steps = sorted(step for step in {*saved, *logged} if step <= last_step)
    found = [Evaluation(step, {**logged.get(step, {}), **saved.get(step, {})}) for step in steps]
    return [one for one in found if any(name in one.metrics for name in names)]
