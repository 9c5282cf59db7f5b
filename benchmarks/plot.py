"""A run as horizontal bars, a panel for each group. Needs matplotlib (dependency group ``bench``)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.result import Result, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, PEER, CEILING = "#1f6f8b", "#c9cfd4", "#c0392b"
BAR_INCHES = 0.27
TITLE_INCHES = 0.95


def draw(results: list[Result], path: Path, caption: str) -> None:
    """Draw the groups that compare us with peers; the suffix of ``path`` says in which format."""
    from matplotlib import pyplot as plt

    panels = [result for result in results if any(row.role == "ours" for row in result.rows)]
    if not panels:
        return
    heights = [TITLE_INCHES + BAR_INCHES * len(_bars(result)) for result in panels]
    with plt.rc_context({"font.size": 9, "font.family": "DejaVu Sans", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(
            len(panels),
            figsize=(9, sum(heights) + 0.6),
            gridspec_kw={"height_ratios": heights},
            squeeze=False,
            layout="constrained",
        )
        for result, panel in zip(panels, axes[:, 0], strict=True):
            _panel(panel, result)
        figure.get_layout_engine().set(h_pad=0.1)
        figure.supxlabel(caption, fontsize=7.5, color="#555555")
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _bars(result: Result) -> list[Row]:
    """The rows but for ceilings, fastest first."""
    return sorted((row for row in result.rows if row.role != "ceiling"), key=lambda row: -row.rate)


def _panel(axes: Axes, result: Result) -> None:
    bars = _bars(result)
    limit = result.limit
    width = max([row.rate for row in bars] + ([limit.rate] if limit else []))
    axes.barh(
        [_label(row) for row in bars],
        [row.rate for row in bars],
        height=0.72,
        color=[OURS if row.role == "ours" else PEER for row in bars],
        xerr=[_error(row, bars) for row in (0, 1)],
        error_kw={"ecolor": "#444444", "elinewidth": 0.8},
    )
    for index, row in enumerate(bars):
        fastest = row.sample.nbytes / min(row.sample.seconds) / 1e9
        axes.text(max(row.rate, fastest) + 0.01 * width, index, _figure(row), va="center", fontsize=8)
    if limit is not None:
        axes.axvline(limit.rate, color=CEILING, linewidth=1.2, linestyle="--")
    _dress(axes, result, width)


def _error(side: int, bars: list[Row]) -> list[float]:
    """How far the slowest (0) or fastest (1) run is from the median, in GB/s."""
    if side == 0:
        return [row.rate - row.sample.nbytes / max(row.sample.seconds) / 1e9 for row in bars]
    return [row.sample.nbytes / min(row.sample.seconds) / 1e9 - row.rate for row in bars]


def _figure(row: Row) -> str:
    return f"{row.rate:.2f}" if 0.1 <= row.rate < 100 else f"{row.sample.median * 1e3:.1f} ms"


def _label(row: Row) -> str:
    guarantee = str(row.guarantee)
    return row.name if guarantee == "none" else f"{row.name}  [{guarantee}]"


def _dress(axes: Axes, result: Result, width: float) -> None:
    axes.invert_yaxis()
    axes.set_xlim(0, width * 1.12)
    axes.set_title(f"{result.title}, GB/s", loc="left", fontweight="bold", fontsize=10)
    if (limit := result.limit) is not None:
        axes.set_xlabel(f"ceiling: {limit.name}, {limit.rate:.2f} GB/s", loc="right", fontsize=8, color=CEILING)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for tick, row in zip(axes.get_yticklabels(), _bars(result), strict=True):
        if row.role == "ours":
            tick.set_color(OURS)
            tick.set_fontweight("bold")
