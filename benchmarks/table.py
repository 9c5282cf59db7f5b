"""Results as text."""

from __future__ import annotations

from benchmarks.result import Result, Row

WIDTH = 46


def of_result(result: Result) -> str:
    """A group's rows: rates, spread, against the best peer and the ceiling, and what each guarantees."""
    limit = result.limit
    ceiling = f"; ceiling: {limit.name}, {limit.rate:.2f} GB/s" if limit else ""
    head = f"{'':{WIDTH}} {'GB/s':>8} {'spread':>7} {'ms':>9} {'/ peer':>7} {'/ ceil':>6}  guarantees"
    return "\n".join([f"{result.title}{ceiling}", f"  {head}", *(f"  {_line(result, row)}" for row in result.rows)])


def _line(result: Result, row: Row) -> str:
    mark = {"ceiling": "= ", "ours": "* ", "peer": "  "}[row.role]
    ratio, share = result.ratio(row), result.share(row)
    cells = [
        f"{mark}{row.name:{WIDTH - 2}}",
        f"{row.rate:8.2f}" if row.rate >= 0.1 else f"{row.rate:8.4f}",
        f"{f'±{row.sample.spread / 2:.0%}':>7}",
        f"{row.sample.median * 1e3:9.1f}",
        f"{'' if ratio is None else f'{ratio:.2f} x':>7}",
        f"{'' if share is None else f'{share:.0%}':>6}",
        f" {'' if row.role == 'ceiling' else row.guarantee}",
    ]
    return " ".join(cells).rstrip()


LEGEND = (
    "* ours, = ceiling of the machine; GB/s: median, with half the spread; / peer: against the group's best peer;\n"
    "/ ceil: share of the group's ceiling; guarantees: what was hashed (loads: checked), and whether it was synced"
)
