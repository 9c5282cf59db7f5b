"""What is printed: aligned tables, safe names, short ages and numbers, and JSON.

Text is for people: on a terminal it has colour and fits the width; elsewhere it is plain and as wide as it needs to be
(``COLUMNS`` bounds both, ``NO_COLOR`` is honoured). JSON is for programs: one value on standard output.

Names come from users and from files that others made. `escape` shows what would move the cursor or reorder the line as
an escape sequence. Tables are laid out here and not by rich, whose import and layout take longer than `mckpt ls` may.
"""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.strict_json import JsonValue

__all__ = [
    "Cell",
    "Column",
    "age",
    "ago",
    "count",
    "escape",
    "number",
    "print_facts",
    "print_json",
    "print_line",
    "print_rows",
    "print_table",
    "styled",
]

_AHEAD = "ahead"
_GAP = "  "
_NARROWEST = 16  # columns: below this, wrapping is worse than what the terminal does with a long line
_COMFORTABLE = 32  # columns: so much room one that wraps or clips gets before others are left out
_SHORTEST = 24  # columns: what is left of a name at least
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


class Cell(NamedTuple):
    """Text of a table.

    Attributes:
        text: What stands there.
        style: Names of `styled`, or none.
    """

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its heading.
        right: Whether it is aligned to the right, as numbers are.
        wraps: Whether it is broken over lines where the terminal is too narrow; one column of a table may be.
        drops: Whether it is left out where the terminal is too narrow; of several ones the last goes first.
        clips: Whether the middle of its texts is left out where the terminal is too narrow, as of names: they often
            begin alike, and end with what tells them apart.
    """

    title: str
    right: bool = False
    wraps: bool = False
    drops: bool = False
    clips: bool = False


# --- values as text ---------------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    r"""Show control, format, surrogate and unassigned characters as ``\xNN``, ``\uNNNN``; the rest as it is."""
    if text.isprintable() and text.isascii():
        return text
    return "".join(c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else ascii(c)[1:-1] for c in text)


def age(then: datetime, now: datetime | None = None) -> str:
    """How long ago, in one unit: ``now``, ``45s``, ``2m``, ``3h``, ``12d``; ``ahead`` if the clock went back."""
    seconds = ((now or utc_now()) - then).total_seconds()
    if seconds < -60:
        return _AHEAD
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{int(seconds)}s" if seconds >= 1 else "now"


def ago(then: datetime, now: datetime | None = None) -> str:
    """``3h ago``, ``just now``."""
    short = age(then, now)
    return {"now": "just now", _AHEAD: "ahead of this clock"}.get(short, f"{short} ago")


def number(value: float | None) -> str:
    """A metric's value with four decimals, or in scientific notation where these would say nothing."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    plain = value == 0 or 1e-3 <= abs(value) < 1e7
    return f"{value:.4f}" if plain else f"{value:.3e}"


def count(things: int, noun: str) -> str:
    """``1 file``, ``1,204 files``."""
    return f"{things:,} {noun}" if things == 1 else f"{things:,} {noun}s"


def styled(text: str, style: str) -> str:
    """``text`` in a style such as ``"bold red"`` where standard output shows colour, otherwise as it is."""
    if not style or not _has_colour():
        return text
    return f"\x1b[{';'.join(_STYLES[name] for name in style.split())}m{text}\x1b[0m"


# --- lines and tables -------------------------------------------------------------------------------------------------


def print_line(text: str = "", style: str = "") -> None:
    """Print a line; escape names in it beforehand."""
    print(styled(text, style))


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print aligned ``name  value`` lines; empty values are left out."""
    known = [(escape(name), escape(value)) for name, value in facts if value]
    width = max((_width(name) for name, _ in known), default=0)
    for name, value in known:
        print(_pad(name, width) + _GAP + value)


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
    """Print rows under headings; columns without any content are left out."""
    body = [[_escaped(cell) for cell in row] for row in rows]
    shown = _without_dropped(
        [index for index in range(len(columns)) if any(row[index].text for row in body)], columns, body
    )
    columns = [columns[index] for index in shown]
    heading = [Cell(escape(column.title), "bold") for column in columns]
    table = [heading, *([row[index] for index in shown] for row in body)]
    widths = _fit([max(_width(row[index].text) for row in table) for index in range(len(columns))], columns)
    for row in table:
        for line in _lines(row, widths, columns):
            print(line)


def print_rows(columns: Sequence[Column], rows: Sequence[Sequence[str | Cell]]) -> None:
    """Print a table; where its lines do not fit the terminal, each row as lines of ``name  value``."""
    if _fits(columns, rows):
        print_table(columns, rows)
        return
    for at, row in enumerate(rows):
        if at:
            print_line()
        print_facts((column.title, _escaped(cell).text) for column, cell in zip(columns, row, strict=True))


def _fits(columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> bool:
    available = _line_width()
    if available is None:
        return True
    table = [[Cell(column.title) for column in columns], *rows]
    widths = [max(_width(_escaped(row[index]).text) for row in table) for index in range(len(columns))]
    return sum(widths) + len(_GAP) * (len(widths) - 1) <= available


def _escaped(cell: str | Cell) -> Cell:
    text, style = cell if isinstance(cell, Cell) else (cell, "")
    return Cell(escape(text), style)


def _without_dropped(shown: list[int], columns: Sequence[Column], body: Sequence[Sequence[Cell]]) -> list[int]:
    """Leave out what may be left out until the lines fit, and the column that wraps has room for some words."""
    available = _line_width()
    if available is None:
        return shown
    widths = {n: max(_width(columns[n].title), *(_width(row[n].text) for row in body)) for n in shown}
    for n in shown:
        widths[n] = min(widths[n], _COMFORTABLE) if columns[n].wraps or columns[n].clips else widths[n]
    for n in reversed([n for n in shown if columns[n].drops]):
        if sum(widths.values()) + len(_GAP) * (len(widths) - 1) > available:
            del widths[n]
    return [n for n in shown if n in widths]


def _fit(widths: list[int], columns: Sequence[Column]) -> list[int]:
    """Take what the lines are too long by from the columns that wrap or clip; a name that is too long keeps most."""
    available = _line_width()
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - available if available is not None else 0
    wrapping = [n for n, column in enumerate(columns) if column.wraps]
    clipping = [n for n, column in enumerate(columns) if column.clips]
    for which, least in ((wrapping, _COMFORTABLE), (clipping, _SHORTEST), (wrapping, _NARROWEST)):
        widths, excess = _narrowed(widths, which, least, excess)
    return widths


def _narrowed(widths: list[int], which: Sequence[int], least: int, excess: int) -> tuple[list[int], int]:
    """Some columns with ``excess`` less, the widest first, but not below a width; and what is still too much."""
    narrowed = list(widths)
    while excess > 0 and any(narrowed[n] > least for n in which):
        narrowed[max(which, key=narrowed.__getitem__)] -= 1
        excess -= 1
    return narrowed, excess


def _lines(row: Sequence[Cell], widths: Sequence[int], columns: Sequence[Column]) -> Iterator[str]:
    """The lines of one row: one, unless a cell is wider than its column."""
    wrapped = [
        [_clip(cell.text, width)] if column.clips else _wrap(cell.text, width)
        for cell, width, column in zip(row, widths, columns, strict=True)
    ]
    for at in range(max(map(len, wrapped), default=0)):
        texts = [lines[at] if at < len(lines) else "" for lines in wrapped]
        last = max((index for index, text in enumerate(texts) if text), default=0)
        yield _GAP.join(
            _aligned(texts[index], widths[index], row[index].style, right=columns[index].right, last=index == last)
            for index in range(last + 1)
        )


def _wrap(text: str, width: int) -> list[str]:
    if _width(text) <= width:
        return [text]
    import textwrap

    return textwrap.wrap(text, width)


def _clip(text: str, width: int) -> str:
    """A text without its middle, if it is too long."""
    if _width(text) <= width:
        return text
    tail = (width - 1) // 2
    return _start(text, width - 1 - tail) + "…" + _start(text[::-1], tail)[::-1]


def _start(text: str, width: int) -> str:
    """The longest beginning that fits."""
    return next(text[:n] for n in range(len(text), -1, -1) if _width(text[:n]) <= width)


def _aligned(text: str, width: int, style: str, *, right: bool, last: bool) -> str:
    """Styled and padded; the style stops at the text, and the last cell of a line ends with it."""
    space = " " * (width - _width(text))
    shown = styled(text, style) if text else ""
    if right:
        return space + shown
    return shown if last else shown + space


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """How many columns a terminal needs for printable text."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else unicodedata.combining(c) == 0 for c in text)


# --- the terminal -----------------------------------------------------------------------------------------------------


def _has_colour() -> bool:
    """By the usual conventions: no-color.org, force-color.org."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def _line_width() -> int | None:
    """Columns of a line, or None where there is no limit. (`shutil` would ask the same, and costs its import.)"""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return (os.get_terminal_size(sys.stdout.fileno()).columns or None) if sys.stdout.isatty() else None


# --- JSON -------------------------------------------------------------------------------------------------------------


def print_json(value: JsonValue) -> None:
    """Print one JSON value; what JSON numbers cannot say becomes ``"nan"``, ``"inf"`` or ``"-inf"``."""
    print(json.dumps(_strict(value), indent=2, allow_nan=False))


def _strict(value: JsonValue) -> JsonValue:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | str() | int() | float():
            return value
        case Mapping():
            return {key: _strict(item) for key, item in value.items()}
        case _:
            return [_strict(item) for item in value]
