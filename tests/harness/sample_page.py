"""Pages of a report made by hand: what a store would take many runs for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from model_checkpoint.analytics.repetition import Group, Setting
from model_checkpoint.analytics.report.charts import charts_of
from model_checkpoint.analytics.report.lines import Curve
from model_checkpoint.analytics.report.page import Best, Checkpoint, Experiment, Page, Run, TradeOff
from model_checkpoint.database.metric_table import SeriesKey
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.types import CheckpointInfo, ExperimentInfo

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def experiment(name: str, *, config: Mapping[str, object] | None = None, best: float = 0.25) -> Experiment:
    info = ExperimentInfo(name, NOON, monitor="loss", mode="min", keep="last(2) | best(1)", config=config or {})
    return Experiment(info, "min", Best(best, 80), best + 0.1, 99, "improving", 3, 3_000_000, 1_000_000)


def curve(place: int, name: str = "loss", *, split: str = "", points: int = 100, gap: bool = False) -> Curve:
    steps = np.arange(points)
    values = np.exp(-steps / points * 3) + place / 10
    if gap:
        values[points // 2 : points // 2 + 5] = math.nan
    return Curve(place, SeriesKey(name, split), "logged", steps, values)


def checkpoint(place: int, step: int, *, reasons: Sequence[str] | None = ("last(2)",), **more: object) -> Checkpoint:
    number = f"{place:04x}{step:04x}"
    fields = {
        "id": number * 4, "experiment": f"exp{place}", "step": step, "seq": step, "created_at": NOON,
        "path": f"exp{place}/step-{step}", "nbytes": 1_000_000, "digest": "d", "content": "c",
        "metrics": {"loss": math.exp(-step / 33), "latency_ms": 10 + step},
    }  # fmt: skip
    info = CheckpointInfo(**{**fields, **more})  # type: ignore[arg-type]
    return Checkpoint(place, info, None if reasons is None else tuple(reasons))


def page(experiments: Sequence[Experiment], curves: Sequence[Curve], checkpoints: Sequence[Checkpoint] = ()) -> Page:
    """A page of these, with what else there is for two experiments or more."""
    infos = [one.info for one in experiments]
    values = tuple(str(place) for place in range(len(infos)))
    settings = (Setting("seed", values),) if len(infos) > 1 else ()
    groups = (
        Group("lr 1", (0,), (0.2, 0.3), 0.25, None, None, True),
        Group("lr 2", (1,), (0.4, 0.5), 0.45, 0.2, 0.3, False),
    )
    places = tuple(range(len(checkpoints)))
    operations = tuple(
        OperationTiming("save", "exp0", f"exp0:{n}-1f3a9c2e", n, NOON + timedelta(minutes=n), 0.5 + n / 10, 0.1,
                        1_000_000, {"snapshot": 0.1, "write": 0.3, "fsync": n / 20})
        for n in range(3)
    )  # fmt: skip
    return Page(
        title="runs",
        made_at=NOON,
        experiments=tuple(experiments),
        settings=settings,
        groups=groups if len(infos) > 1 else (),
        charts=charts_of(curves, infos, 400),
        checkpoints=tuple(checkpoints),
        trade_offs=(TradeOff("latency_ms", "min", "loss", "min", places),) if checkpoints else (),
        runs=(Run(0, None, places[:2]), Run(0, 0, places[2:])) if len(checkpoints) > 2 else (),
        operations=operations if checkpoints else (),
    )


def usual_page() -> Page:
    """Two experiments, a metric with a gap and two splits, checkpoints of every kind, a resumed run, timings."""
    return page(
        [experiment("exp0", config={"lr": 0.1}), experiment("exp1", best=0.35)],
        [
            curve(0, gap=True),
            curve(1),
            curve(0, "accuracy", split="train"),
            curve(0, "accuracy", split="val"),
            curve(1, "long", points=100_000),
        ],
        [
            checkpoint(0, 20, reasons=()),
            checkpoint(0, 40, reasons=("best", "best(1)")),
            checkpoint(0, 60, reasons=("pinned",), pinned=True),
            checkpoint(1, 80),
        ],
    )


def many_page() -> Page:
    """Fifty experiments whose long names begin alike."""
    names = [f"sweep-of-learning-rates-with-a-long-name-{n:02}-seed{n % 3}" for n in range(50)]
    return page(
        [experiment(name, best=0.1 + n / 100) for n, name in enumerate(names)],
        [curve(n, metric) for n in range(50) for metric in ("loss", "lr")],
        [checkpoint(n, step) for n in range(50) for step in (20, 60, 90)],
    )


def empty_page() -> Page:
    """A store without anything."""
    return page([], [])


HOSTILE = (
    "</script><script>window.harm=1</script>\"'><img src=x onerror=window.harm=2>\u202egnp.\u2028<!--${harm}\ud800"
)


def hostile_page() -> Page:
    """The usual page with names that try to be markup, script, and text of another direction."""
    name = HOSTILE
    bad = experiment(name, config={name: name})
    one = checkpoint(
        0, 20, reasons=(name, "best"), metrics={name: 1.0, "loss": 2.0}, tags={name: name}, aliases=(name,)
    )
    made = page(
        [bad, experiment("exp1")], [curve(0, name, split=name), curve(1)], [one, checkpoint(0, 40), checkpoint(1, 60)]
    )
    settings = (Setting(name, (name, None)),)
    operations = (OperationTiming(name, name, name, 1, NOON, 1.0, 0.5, 1, {name: 0.5}),)
    trade_offs = (TradeOff("latency_ms", "min", name, "min", ()), *made.trade_offs)
    fields = {f: getattr(made, f) for f in Page.__dataclass_fields__}
    changed = {"title": name, "settings": settings, "operations": operations, "trade_offs": trade_offs}
    return Page(**{**fields, **changed})
