"""From references to checkpoints."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from model_checkpoint.database import queries
from model_checkpoint.database.metric_mode import usual_mode
from model_checkpoint.database.refs import Best, Latest, Name, Ref, Step, StepAndId, parse_ref
from model_checkpoint.database.rows import Fetch, Row, read_checkpoints, read_experiments
from model_checkpoint.errors import CheckpointNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState, ExperimentInfo, Mode

__all__ = ["Resolver", "state_parameters"]

_SHORTEST_PREFIX = 4
_AFTER_HEX = "g"  # sorts after every hexadecimal digit: prefix <= id < prefix + "g"
_HEX = frozenset("0123456789abcdef")
_NEAR = 3  # candidates to propose
_AMBIGUOUS = 10  # candidates to list
_RECENT = 200  # checkpoints among which to look for candidates


def state_parameters(states: Sequence[CheckpointState]) -> dict[str, object]:
    """The parameters ``:state0``, ``:state1``, ... of a selection."""
    return {f"state{number}": state.value for number, state in enumerate(states)}


@dataclass(frozen=True, slots=True)
class Resolver:
    """Finds the one checkpoint that a reference names.

    Attributes:
        fetch: Runs statements inside one transaction, so that all answers are of one moment.
        states: What may be found.
    """

    fetch: Fetch
    states: tuple[CheckpointState, ...]

    def resolve(self, ref: str | int, experiment: str | None) -> CheckpointInfo:
        """The checkpoint that ``ref`` names, in ``experiment`` unless ``ref`` names another one.

        Raises:
            CheckpointNotFoundError: There is none, or more than one; the nearest references are its candidates.
        """
        parsed = parse_ref(ref)
        scope = parsed.experiment or experiment
        found = self._find(parsed, scope, str(ref)) if _is_storable(str(ref)) else ()
        if not found:
            self._refuse(parsed, scope, str(ref))
        if len(found) > 1:
            raise CheckpointNotFoundError(
                f"{str(ref)!r} is ambiguous", ref=str(ref), candidates=[info.ref for info in found]
            )
        return found[0]

    def newest(self, experiment: str | None, limit: int) -> tuple[CheckpointInfo, ...]:
        return self._select(queries.CHECKPOINTS, experiment, limit)

    def best(self, experiment: str, metric: str, mode: Mode) -> tuple[CheckpointInfo, ...]:
        """The best one, or nothing if no checkpoint has a number for the metric."""
        return self._read(queries.best(mode, states=len(self.states)), experiment=experiment, metric=metric, limit=1)

    # --- one method for each kind of reference ------------------------------------------------------------------------

    def _find(self, parsed: Ref, scope: str | None, ref: str) -> tuple[CheckpointInfo, ...]:
        """All that the reference may mean: one checkpoint if all is well."""
        match parsed.selector:
            case Latest():
                return self.newest(scope, limit=1)
            case Best(metric, mode):
                return self._find_best(scope, metric, mode, ref)
            case Step(step, text):
                return self._find_step(step, scope) or self._find_prefix(text, scope)
            case StepAndId(step, prefix):
                return self._select(
                    queries.OF_STEP_AND_PREFIX, scope, step=step, first=prefix, last=prefix + _AFTER_HEX
                )
            case Name(text):
                return self._find_alias(text, scope) or self._find_prefix(text, scope)

    def _find_best(
        self, scope: str | None, metric: str | None, mode: Mode | None, ref: str
    ) -> tuple[CheckpointInfo, ...]:
        experiment = self._only_experiment(scope, ref)
        if experiment is None:
            return ()
        metric = experiment.monitor if metric is None else metric
        if metric is None:
            raise CheckpointNotFoundError(
                f"experiment {experiment.name!r} monitors no metric; name one", ref=ref, candidates=["best@METRIC"]
            )
        mode = mode or (experiment.mode if metric == experiment.monitor else None) or usual_mode(metric)
        if mode is None:
            candidates = [f"best@{metric}:min", f"best@{metric}:max"]
            raise CheckpointNotFoundError(f"which {metric!r} is best is not known", ref=ref, candidates=candidates)
        return self.best(experiment.name, metric, mode)

    def _find_step(self, step: int, scope: str | None) -> tuple[CheckpointInfo, ...]:
        """The newest of the step in each experiment that has one."""
        newest: dict[str, CheckpointInfo] = {}
        for info in self._select(queries.OF_STEP, scope, step=step):
            newest.setdefault(info.experiment, info)
        return tuple(newest.values())

    def _find_alias(self, alias: str, scope: str | None) -> tuple[CheckpointInfo, ...]:
        in_scope = () if scope is None else ("a.experiment = :experiment",)
        selection = queries.select(queries.BY_ALIAS, *in_scope, states=len(self.states), source=queries.WITH_ALIASES)
        return self._read(selection, alias=alias, experiment=scope, limit=_AMBIGUOUS)

    def _find_prefix(self, prefix: str, scope: str | None) -> tuple[CheckpointInfo, ...]:
        if len(prefix) < _SHORTEST_PREFIX or not _HEX.issuperset(prefix):
            return ()
        return self._select(queries.OF_PREFIX, scope, limit=_AMBIGUOUS, first=prefix, last=prefix + _AFTER_HEX)

    # --- what to say when there is none -------------------------------------------------------------------------------

    def _refuse(self, parsed: Ref, scope: str | None, ref: str) -> NoReturn:
        names = [info.name for info in self._experiments()]
        if scope is not None and scope not in names:
            near = difflib.get_close_matches(scope, names, n=_NEAR)
            raise CheckpointNotFoundError(f"there is no experiment {scope!r}", ref=ref, candidates=near)
        elsewhere = Resolver(self.fetch, tuple(CheckpointState))
        if self.states != elsewhere.states and _is_storable(ref) and (other := elsewhere._find(parsed, scope, ref)):
            raise CheckpointNotFoundError(f"{other[0].ref} is {other[0].state.value}", ref=ref)
        where = "" if scope is None else f" in experiment {scope!r}"
        raise CheckpointNotFoundError(
            f"no checkpoint {ref!r}{where}", ref=ref, candidates=self._near(parsed, scope, names)
        )

    def _near(self, parsed: Ref, scope: str | None, names: Sequence[str]) -> list[str]:
        """References that do work and look like the one that did not."""
        if isinstance(parsed.selector, Step):
            return [
                f"{name}:{step}"
                for name in (names if scope is None else [scope])[:_NEAR]
                for (step,) in self._fetch_near_steps(name, parsed.selector.step)
            ][:_NEAR]
        if isinstance(parsed.selector, StepAndId):
            return self._look_alikes(f"{parsed.selector.step}-{parsed.selector.prefix[:8]}", scope)
        if isinstance(parsed.selector, Name):
            text = parsed.selector.text
            return [f"{text}:latest"] if scope is None and text in names else self._look_alikes(text, scope)
        return []

    def _look_alikes(self, text: str, scope: str | None) -> list[str]:
        words = {"latest": "latest", "best": "best"}
        for info in self.newest(scope, _RECENT):
            words[info.id[:8]] = words[f"{info.step}-{info.id[:8]}"] = info.ref
            words.update((alias, f"{info.experiment}:{alias}") for alias in info.aliases)
        return list(dict.fromkeys(words[word] for word in difflib.get_close_matches(text, words, n=_NEAR)))

    def _fetch_near_steps(self, experiment: str, step: int) -> Iterable[Row]:
        parameters = {"experiment": experiment, "step": step, "state0": self.states[0].value, "limit": _NEAR}
        return self.fetch(queries.NEAREST_STEPS, parameters)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _only_experiment(self, scope: str | None, ref: str) -> ExperimentInfo | None:
        """The experiment of that name, or the store's only one."""
        if scope is not None:
            found = read_experiments(self.fetch(queries.EXPERIMENT, {"experiment": scope}))
            return found[0] if found else None
        found = self._experiments()
        if len(found) > 1:
            candidates = [f"{info.name}:{ref}" for info in found[:_NEAR]]
            raise CheckpointNotFoundError(f"{ref!r} needs an experiment", ref=ref, candidates=candidates)
        return found[0] if found else None

    def _experiments(self) -> tuple[ExperimentInfo, ...]:
        return read_experiments(self.fetch(queries.EXPERIMENTS, {}))

    def _select(
        self, source: str, scope: str | None, limit: int = queries.NO_LIMIT, **parameters: object
    ) -> tuple[CheckpointInfo, ...]:
        conditions = () if scope is None else (queries.IN_EXPERIMENT,)
        selection = queries.select(*conditions, states=len(self.states), source=source)
        return self._read(selection, experiment=scope, limit=limit, **parameters)

    def _read(self, selection: str, **parameters: object) -> tuple[CheckpointInfo, ...]:
        used = {name: value for name, value in parameters.items() if value is not None}
        return read_checkpoints(self.fetch, selection, used | state_parameters(self.states))


def _is_storable(text: str) -> bool:
    """Whether the text is Unicode; arguments of a command line need not be."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
