"""A page as JSON for the script in it: short keys for what there are many of, numbers with as many digits as show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_checkpoint.analytics.curve import Floats
from model_checkpoint.analytics.report.page import Chart, Checkpoint, Experiment, Line, Page
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.utils.clock import format_rfc3339
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["payload_of"]


def payload_of(page: Page) -> dict[str, JsonValue]:
    """What the script of the page reads."""
    return {
        "title": page.title,
        "made_at": format_rfc3339(page.made_at),
        "experiments": [_experiment(one) for one in page.experiments],
        "settings": [{"name": one.name, "values": list(one.values)} for one in page.settings],
        "groups": [
            {
                "settings": one.settings,
                "outcomes": [_number(value) for value in one.outcomes],
                "median": _number(one.median),
                "difference": _number(one.difference),
                "p_value": _number(one.p_value),
                "is_decidable": one.is_decidable,
            }
            for one in page.groups
        ],
        "charts": [_chart(one) for one in page.charts],
        "checkpoints": [_checkpoint(one) for one in page.checkpoints],
        "trade_offs": [
            {"x": one.x, "x_mode": one.x_mode, "y": one.y, "y_mode": one.y_mode, "front": list(one.front)}
            for one in page.trade_offs
        ],
        "runs": [
            {"experiment": one.experiment, "parent": one.parent, "checkpoints": list(one.checkpoints)}
            for one in page.runs
        ],
        "stages": list(page.stages),
        "operations": [_operation(one) for one in page.operations],
    }


def _experiment(one: Experiment) -> JsonValue:
    return {
        "name": one.info.name,
        "monitor": one.info.monitor,
        "mode": one.mode,
        "keep": one.info.keep,
        "created_at": format_rfc3339(one.info.created_at),
        "best": None if one.best is None else _number(one.best.value),
        "best_step": None if one.best is None else one.best.step,
        "last": _number(one.last),
        "last_step": one.last_step,
        "lately": one.lately,
        "checkpoints": one.checkpoints,
        "bytes": one.nbytes,
        "freed_bytes": one.freed_bytes,
    }


def _chart(chart: Chart) -> JsonValue:
    lines: list[JsonValue] = [_line(line) for line in chart.lines]
    return {"metric": chart.metric, "mode": chart.mode, "is_monitored": chart.is_monitored, "lines": lines}


def _line(line: Line) -> JsonValue:
    has_means_of_its_own = line.is_reduced
    return {
        "experiment": line.experiment,
        "split": line.split,
        "tags": line.tags,
        "source": line.source,
        "points": line.points,
        "x": _integers(line.steps),
        "y": _floats(line.values),
        "mean_x": [round(step) for step in line.mean_steps.tolist()] if has_means_of_its_own else None,
        "mean_y": _floats(line.means) if has_means_of_its_own else None,
        "marks": [{"kind": mark.kind, "step": mark.step, "text": mark.text} for mark in line.marks],
    }


def _checkpoint(one: Checkpoint) -> JsonValue:
    info = one.info
    return {
        "experiment": one.experiment,
        "ref": info.ref,
        "id": info.id[:8],
        "step": info.step,
        "at": format_rfc3339(info.created_at),
        "bytes": info.nbytes,
        "metrics": {name: _number(value) for name, value in sorted(info.metrics.items())},
        "reasons": None if one.reasons is None else list(one.reasons),
        "state": info.state.value,
        "best": one.is_best,
        "pinned": info.pinned,
        "aliases": list(info.aliases),
        "tags": dict(sorted(info.tags.items())),
        "verified": info.verified_at is not None,
    }


def _operation(one: OperationTiming) -> JsonValue:
    label = one.checkpoint or one.experiment or ""
    return {
        "kind": one.kind,
        "label": label,
        "experiment": one.experiment,
        "step": one.step,
        "at": format_rfc3339(one.at),
        "seconds": _number(one.seconds),
        "stall_s": _number(one.stall_s),
        "bytes": one.nbytes,
        "stages": [[name, _number(seconds)] for name, seconds in one.stages.items()],
    }


def _integers(values: NDArray[np.int64]) -> list[JsonValue]:
    found: list[JsonValue] = values.tolist()
    return found


def _floats(values: Floats) -> list[JsonValue]:
    return [_number(value) for value in values.tolist()]


def _number(value: Any) -> JsonValue:
    """With six digits, a whole number without a point; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.6g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
