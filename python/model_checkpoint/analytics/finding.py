"""Finding checkpoints in a catalog, where what is the best may be more than SQL can tell."""

from __future__ import annotations

from collections.abc import Sequence

from model_checkpoint.analytics.objective import Objective
from model_checkpoint.database.lookup import COMMITTED, Lookup
from model_checkpoint.database.refs import Best, parse_ref
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, MetricNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo

__all__ = ["find", "find_best"]


def find(
    catalog: Lookup,
    ref: str | int,
    experiment: str | None = None,
    *,
    states: Sequence[CheckpointState] = COMMITTED,
) -> CheckpointInfo:
    """The checkpoint that a reference names, as `Lookup.resolve`; ``best`` is the best by the experiment's criterion.

    Raises:
        CheckpointNotFoundError: Nothing or more than one thing answers to it; its candidates do.
    """
    settings = _with_criterion(catalog, ref, experiment)
    if settings is None:
        return catalog.resolve(ref, experiment, states=states)
    try:
        goal = Objective.of(settings)
    except ConfigurationError as error:
        raise CheckpointNotFoundError(
            f"which is the best of {settings.name!r} cannot be told here: {error}",
            ref=str(ref),
            candidates=[f"{settings.name}:best@METRIC"],
        ) from None
    found = None if goal is None else find_best(catalog, settings.name, goal, states=states)
    if found is None:
        raise CheckpointNotFoundError(
            f"no checkpoint of {settings.name!r} satisfies {settings.criterion}", ref=str(ref)
        )
    return found


def find_best(
    catalog: Lookup, experiment: str, goal: Objective, *, states: Sequence[CheckpointState] = COMMITTED
) -> CheckpointInfo | None:
    """The best checkpoint of an experiment, as of now; None if none can be chosen."""
    if goal.selector is None and tuple(states) == COMMITTED:
        return catalog.best(experiment, goal.metric, goal.mode)
    from model_checkpoint.analytics.candidates import Candidates

    selector = goal.as_selector()
    candidates = Candidates.of_catalog(catalog, experiment, selector.metrics, states=states)
    try:
        found = selector.rank(candidates, limit=1)
    except MetricNotFoundError:
        return None
    return catalog.get(found[0].id) if found else None


def _with_criterion(catalog: Lookup, ref: str | int, experiment: str | None) -> ExperimentInfo | None:
    """The experiment whose criterion decides what a reference means; None if no criterion does."""
    parsed = parse_ref(ref)
    if parsed.selector != Best(None, None):
        return None
    name = parsed.experiment or experiment
    known = catalog.experiments() if name is None else (catalog.get_experiment(name),)
    settings = known[0] if len(known) == 1 else None  # of several, `Lookup.resolve` says that one must be named
    return settings if settings is not None and settings.criterion is not None else None
