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
    goal: Objective | None = None,
    states: Sequence[CheckpointState] = COMMITTED,
) -> CheckpointInfo:
    """The checkpoint that a reference names, as `Lookup.resolve`; ``best`` is the best by the experiment's criterion.

    Args:
        catalog: Where to look.
        ref: The reference. An experiment that it names wins over ``experiment``.
        experiment: Where to look; None for the whole store.
        goal: What makes a checkpoint of ``experiment`` the best, as the program that trains knows it: a function of the
            user's own cannot be stored.
        states: What may be found.

    Raises:
        CheckpointNotFoundError: Nothing or more than one thing answers to it; its candidates do.
    """
    settings = _with_criterion(catalog, ref, experiment)
    if settings is None:
        return catalog.resolve(ref, experiment, states=states)
    if goal is None or settings.name != experiment:
        goal = _stored_goal(settings, str(ref))
    found = find_best(catalog, settings.name, goal, states=states)
    if found is not None:
        return found
    elsewhere = find_best(catalog, settings.name, goal, states=tuple(CheckpointState))
    if elsewhere is not None:
        raise CheckpointNotFoundError(f"{elsewhere.ref} is {elsewhere.state.value}", ref=str(ref))
    raise CheckpointNotFoundError(f"no checkpoint of {settings.name!r} satisfies {settings.criterion}", ref=str(ref))


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


def _stored_goal(settings: ExperimentInfo, ref: str) -> Objective:
    """What the experiment's criterion says.

    Raises:
        CheckpointNotFoundError: It is a function that only the program that trains knows.
    """
    try:
        goal = Objective.of(settings)
    except ConfigurationError as error:
        raise CheckpointNotFoundError(
            f"which is the best of {settings.name!r} cannot be told here: {error}",
            ref=ref,
            candidates=[f"{settings.name}:best@METRIC"],
        ) from None
    if goal is None:  # a catalog that was edited: a criterion has a metric that it looks at first
        raise CheckpointNotFoundError(f"experiment {settings.name!r} monitors no metric", ref=ref)
    return goal


def _with_criterion(catalog: Lookup, ref: str | int, experiment: str | None) -> ExperimentInfo | None:
    """The experiment whose criterion decides what a reference means; None if no criterion does."""
    parsed = parse_ref(ref)
    if parsed.selector != Best(None, None):
        return None
    name = parsed.experiment or experiment
    known = catalog.experiments() if name is None else (catalog.get_experiment(name),)
    settings = known[0] if len(known) == 1 else None  # of several, `Lookup.resolve` says that one must be named
    return settings if settings is not None and settings.criterion is not None else None
