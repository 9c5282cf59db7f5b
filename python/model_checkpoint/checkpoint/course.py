"""What the policies of a run are asked, and what they know: of this run, and of those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from model_checkpoint.analytics.decision import Decision
from model_checkpoint.analytics.early_stopping import EarlyStopping, Evaluation
from model_checkpoint.analytics.objective import Objective
from model_checkpoint.checkpoint.save_when import Moment, SaveHistory, SaveWhen
from model_checkpoint.checkpoint.step_clock import StepClock
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.utils.clock import utc_now

__all__ = ["Course"]


class Course:
    """The course of a run.

    Args:
        save_when: Says when to save, or None.
        stop_when: Says when to stop, or None.
        goal: What makes a checkpoint the best, or None.
        past: Reads the experiment's history so far, for a run that began at the time given.
    """

    def __init__(
        self,
        save_when: SaveWhen | None,
        stop_when: EarlyStopping | None,
        *,
        goal: Objective | None,
        past: Callable[[datetime], SaveHistory],
    ) -> None:
        self._save_when, self._stop_when, self._goal, self._past = save_when, stop_when, goal, past
        self._begun_at = utc_now()
        self._history: SaveHistory | None = None
        self._clock = StepClock()
        self._evaluations: list[Evaluation] = []
        self._verdict: Decision | None = None

    # --- saving -------------------------------------------------------------------------------------------------------

    @property
    def saves(self) -> bool:
        """Whether there is a policy that says when to save."""
        return self._save_when is not None

    def should_save(
        self, step: int, metrics: Mapping[str, float], *, is_saving: bool, notice_at: datetime | None
    ) -> Decision:
        """Whether to save a step that is done.

        Args:
            step: Which.
            metrics: What is known of it.
            is_saving: Whether a save is being written right now.
            notice_at: When notice came that the process is going to be ended, or None.

        Raises:
            ConfigurationError: There is no policy, and no notice came.
        """
        policy = self._save_when
        if policy is None:
            if notice_at is None:
                raise ConfigurationError("should_save() needs a policy: give the manager save_when")
            policy = SaveWhen.notified()
        slowed = self._clock.tick(is_saving=is_saving)
        self._history = self.history.slowed(slowed) if slowed else self.history
        return policy.decide(self._history, Moment(step, metrics, utc_now(), self._goal, notice_at))

    def saved(self, step: int, metrics: Mapping[str, float], waited_s: float) -> None:
        """Note that a save has begun, for which training has waited so long."""
        if self._save_when is not None:
            self._clock.waited(waited_s)
            self._history = self.history.after(step, metrics, utc_now(), wait=timedelta(seconds=waited_s))

    def learned(self, metrics: Mapping[str, float]) -> None:
        """Note values that were attached to a checkpoint."""
        if self._history is not None:
            self._history = self._history.knowing(metrics)

    @property
    def history(self) -> SaveHistory:
        if self._history is None:
            self._history = self._past(self._begun_at)
        return self._history

    # --- resuming and stopping ----------------------------------------------------------------------------------------

    def resumed(self, step: int, evaluations: Callable[[], Iterable[Evaluation]]) -> None:
        """Note that the run goes on after a step; ``evaluations`` reads those that were made until then."""
        if self._save_when is not None:
            self._history = self.history.after(step, {}, self._begun_at)
        if self._stop_when is not None:
            self._evaluations, self._verdict = list(evaluations()), None

    @property
    def stops(self) -> bool:
        """Whether there is a rule that says when to stop."""
        return self._stop_when is not None

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The metrics that say when to stop."""
        return () if self._stop_when is None else self._stop_when.selector.metrics

    def should_stop(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Whether to stop after a step. One without a value for any of the rule's metrics is no evaluation.

        Raises:
            ConfigurationError: There is no rule.
        """
        rule = self._stop_when
        if rule is None:
            raise ConfigurationError("should_stop() needs a rule: give the manager stop_when")
        names = rule.selector.metrics
        if any(name in metrics for name in names):
            if self._evaluations and self._evaluations[-1].step == step:
                self._evaluations.pop()
            self._evaluations.append(Evaluation(step, metrics))
            self._verdict = None
        if not self._evaluations:
            return Decision(False, (f"no step was evaluated by {', '.join(names)} yet",))
        if self._verdict is None:
            self._verdict = rule.decide(self._evaluations)
        return self._verdict
