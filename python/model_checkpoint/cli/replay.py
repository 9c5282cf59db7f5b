"""`mckpt replay`: what other ways to save would have cost in a run that was recorded."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import Cell, Column, count, escape, print_json, print_line, print_table
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.monitoring.timing_log import TimingLog
from model_checkpoint.types import ExperimentInfo
from model_checkpoint.utils.duration import format_duration, parse_duration
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from model_checkpoint.analytics.objective import Objective
    from model_checkpoint.checkpoint.recording import Recording
    from model_checkpoint.checkpoint.replay import Outcome
    from model_checkpoint.checkpoint.save_when import SaveWhen
    from model_checkpoint.database.catalog import Catalog

__all__ = ["replay_command"]

_MOST_STEPS = 2000  # of a longer run, neighbouring steps are taken together: a replay asks a policy after each
_MOST_TIMES = 20  # as long as the run without failures: whoever needs more does not get to its end
_ALL = 1_000_000  # more saves than a timing log has
_LAST_SAVES = 100
_BAR_WIDTH = 30
_COLUMNS = (
    Column("POLICY", clips=True), Column("SAVES", right=True), Column("SAVING", right=True), Column("LOST", right=True),
    Column("OVERHEAD", right=True), Column(""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Question:
    """What is replayed.

    Attributes:
        experiment: Whose run.
        recording: The run, without failures.
        between: The mean time between two failures.
        between_is: Where that comes from.
        save_s_is: Where it comes from what a save costs.
        trials: How often it is replayed, with other failures each time.
    """

    experiment: str
    recording: Recording
    between: timedelta
    between_is: str
    save_s_is: str
    trials: int

    @property
    def title(self) -> str:
        """What was replayed, in a line."""
        run = self.recording
        return (
            f"{self.experiment} · {count(len(run.step_s), 'step')} in {format_duration(run.work_s)}"
            f" · a save costs {format_duration(run.save_s)} ({self.save_s_is})"
            f" · a failure every {format_duration(self.between.total_seconds())} ({self.between_is})"
        )


@command("replay")
@click.argument("experiment")
@click.option("-p", "--policy", "policies", multiple=True, metavar="POLICY",
              help="'every(steps=500)', 'budget(0.02) | improved()'; may be given several times.")  # fmt: skip
@click.option("--mtbf", metavar="TIME", help="Mean time between failures. Default: that between its resumes, or 1d.")
@click.option("--save-cost", metavar="TIME", help="What a save costs training. Default: the median of the last ones.")
@click.option("--restart", metavar="TIME", default="30s", show_default=True, help="What a restart takes.")
@click.option("--trials", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many failing runs.")
@click.option("--png", type=click.Path(dir_okay=False), help="Draw it, too. Needs matplotlib.")
def replay_command(
    session: Session,
    *,
    experiment: str,
    policies: tuple[str, ...],
    mtbf: str | None,
    save_cost: str | None,
    restart: str,
    trials: int,
    png: str | None,
) -> ExitCode:
    """Replay a run with other policies: what saving costs against what failures lose.

    The steps are those that were logged, or else saved. Failures come at random, the same ones for each policy; after
    each the run goes on from its last save. Without --policy, the usual ones are compared.
    """
    with Listing.open(session.store_root) as listing:
        view = read_views(listing, experiment)[0]
    question = _question(session, view, mtbf, save_cost, parse_duration(restart), trials)
    outcomes = _outcomes(question, policies or _usual(question), view.info)
    if session.as_json:
        print_json(_as_json(question, outcomes))
    else:
        _print(question, outcomes)
    if png is not None:
        _draw(question, outcomes, png)
    return ExitCode.OK


# --- what is replayed -------------------------------------------------------------------------------------------------


def _question(
    session: Session, view: ExperimentView, mtbf: str | None, save_cost: str | None, restart_s: float, trials: int
) -> _Question:
    from model_checkpoint.analytics.reader import MetricsReader
    from model_checkpoint.cli.recorded_run import recorded_run
    from model_checkpoint.database.catalog import Catalog

    saves = TimingLog(session.store_root).read(experiment=view.info.name, kind="save", limit=_ALL)
    save_s, save_s_is = _save_cost(view.info.name, saves, save_cost)
    with Catalog.open(session.store_root) as catalog:
        reader = MetricsReader(session.store_root, catalog)
        run = recorded_run(reader, view, saves, save_s=save_s, restart_s=restart_s, most=_MOST_STEPS)
        between, between_is = _between(catalog, view.info.name, mtbf, run.ended_at)
    return _Question(view.info.name, run.recording, between, between_is, save_s_is, trials)


def _save_cost(experiment: str, saves: Sequence[OperationTiming], given: str | None) -> tuple[float, str]:
    if given is not None:
        return parse_duration(given), "given"
    stalls = [timing.stall_s for timing in saves[-_LAST_SAVES:] if timing.stall_s is not None]
    if not stalls:
        raise ConfigurationError(f"what a save of {experiment!r} costs was not measured; say it with --save-cost")
    return statistics.median(stalls), f"median of {len(stalls)}"


def _between(catalog: Catalog, experiment: str, given: str | None, ended_at: datetime) -> tuple[timedelta, str]:
    from model_checkpoint.analytics.save_interval import FailureRecord
    from model_checkpoint.checkpoint.starts import read_starts

    if given is not None:
        return timedelta(seconds=parse_duration(given)), "given"
    seen = FailureRecord.of(read_starts(catalog, experiment)).mean_time_between(now=ended_at)
    return (timedelta(days=1), "assumed") if seen is None else (seen, "observed")


def _usual(question: _Question) -> tuple[str, ...]:
    """A budget, the interval of Young and Daly, and a good deal more and less often than that."""
    from model_checkpoint.analytics.save_interval import daly_interval

    minutes = daly_interval(timedelta(seconds=question.recording.save_s), question.between).total_seconds() / 60
    hours = f"{question.between.total_seconds() / 3600:.3g}"
    often, seldom = (f"every(minutes={minutes * factor:.3g})" for factor in (0.2, 5))
    return (f"young_daly(mtbf_hours={hours})", "budget(0.02)", often, seldom)


def _outcomes(question: _Question, policies: Sequence[str], info: ExperimentInfo) -> list[Outcome]:
    """What each policy did on the average, the least overhead first, and those that never end at the end.

    Raises:
        ConfigurationError: A policy is none, or the run gets to its end with none of them.
    """
    from model_checkpoint.analytics.objective import Objective
    from model_checkpoint.checkpoint.save_when import SaveWhen

    _check_hope(question)
    goal = Objective.of(info)
    found = [_outcome(question, policy, goal) for policy in dict.fromkeys(map(SaveWhen.parse, policies))]
    if not any(outcome.is_finished for outcome in found):
        raise ConfigurationError(
            f"with {found[0].policy} the run takes {_MOST_TIMES} times as long and more: it fails before it saves"
        )
    return sorted(found, key=lambda outcome: (not outcome.is_finished, outcome.overhead))


def _check_hope(question: _Question) -> None:
    """Raises: ConfigurationError: Hardly any step gets done and saved between two failures, by whatever policy."""
    run, between_s = question.recording, question.between.total_seconds()
    least_s = run.work_s / len(run.step_s) + run.save_s
    if between_s * 10 < least_s:
        raise ConfigurationError(
            f"with a failure every {format_duration(between_s)} it fails before it saves: a step and its save take "
            f"{format_duration(least_s)}"
        )


def _outcome(question: _Question, policy: SaveWhen, goal: Objective | None) -> Outcome:
    """The mean of all trials; if one of them never ends, that one."""
    from model_checkpoint.checkpoint.replay import mean_outcome, random_failures, replay

    run = question.recording
    until_s = _MOST_TIMES * (run.work_s + run.save_s * len(run.step_s))
    found: list[Outcome] = []
    for seed in range(question.trials):
        failing = dataclasses.replace(run, failures_s=random_failures(question.between, until_s, seed))
        outcome = replay(failing, policy, goal=goal, until_s=until_s)
        if not outcome.is_finished:
            return outcome
        found.append(outcome)
    return mean_outcome(found)


# --- output -----------------------------------------------------------------------------------------------------------


def _print(question: _Question, outcomes: Sequence[Outcome]) -> None:
    print_line(escape(question.title), style="bold")
    finished = [outcome for outcome in outcomes if outcome.is_finished]
    most = max(outcome.overhead for outcome in finished)
    print_table(_COLUMNS, [_row(outcome, most) for outcome in outcomes])
    failures = statistics.fmean(outcome.failures for outcome in finished)
    runs = f"means of {count(question.trials, 'run')} with {failures:.1f} failures each"
    print_line(f"█ saving  ░ doing lost steps again  · {runs}", style="dim")


def _row(outcome: Outcome, most: float) -> list[str | Cell]:
    if not outcome.is_finished:
        return [outcome.policy, "", "", "", "", Cell("never ends: it fails before it saves", "yellow")]
    saving = outcome.waited_s / outcome.total_s if outcome.total_s else 0.0
    return [
        outcome.policy,
        f"{outcome.saves:.0f}",
        format_duration(outcome.waited_s),
        format_duration(outcome.lost_s),
        f"{outcome.overhead:.2%}",
        Cell(_stacked(saving / most, outcome.overhead / most) if most else "", "cyan"),
    ]


def _stacked(first: float, both: float) -> str:
    """A bar whose first part is filled and whose second one is not; what is not nothing shows."""
    filled, empty = (max(round(share * _BAR_WIDTH), 1 if share > 0 else 0) for share in (first, both - first))
    return "█" * filled + "░" * empty


def _as_json(question: _Question, outcomes: Sequence[Outcome]) -> JsonValue:
    run = question.recording
    return {
        "experiment": question.experiment,
        "steps": len(run.step_s),
        "work_seconds": run.work_s,
        "save_seconds": run.save_s,
        "restart_seconds": run.restart_s,
        "between_failures_seconds": question.between.total_seconds(),
        "trials": question.trials,
        "policies": [
            {
                "policy": outcome.policy,
                "finished": outcome.is_finished,
                "saves": outcome.saves,
                "failures": outcome.failures,
                "saving_seconds": outcome.waited_s,
                "lost_seconds": outcome.lost_s,
                "restart_seconds": outcome.restarts_s,
                "total_seconds": outcome.total_s,
                "overhead": outcome.overhead,
            }
            for outcome in outcomes
        ],
    }


def _draw(question: _Question, outcomes: Sequence[Outcome], path: str) -> None:
    """What each policy loses against what it costs, with lines of the same overhead."""
    from model_checkpoint.utils.optional_import import require

    require("matplotlib", extra="plot").use("Agg")
    figure, axes = require("matplotlib.pyplot", extra="plot").subplots(figsize=(8, 5), layout="constrained")
    drawn = [one for one in outcomes if one.is_finished and one.total_s]
    points = [(100 * one.waited_s / one.total_s, 100 * one.lost_s / one.total_s) for one in drawn]
    largest = max(itertools.chain.from_iterable(points), default=1.0) or 1.0
    for share in (0.25, 0.5, 0.75, 1.0):
        axes.plot([0, largest * share], [largest * share, 0], color="0.85", linewidth=1, zorder=0)
    for outcome, (saving, lost) in zip(drawn, points, strict=True):
        axes.scatter(saving, lost, zorder=2, label=f"{outcome.policy}: {outcome.overhead:.2%}")
    axes.legend(fontsize=9)
    axes.set(xlabel="saving, % of the time", ylabel="lost work, % of the time", title=question.title)
    axes.title.set_fontsize(9)
    figure.savefig(path, dpi=150)
