"""Rendering on hand-made values."""

import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from model_checkpoint.cli import render
from model_checkpoint.cli.render import Cell, Column

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain/name.weight", "plain/name.weight"),
        ("größe 模型", "größe 模型"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("line\u2028sep", "line\\u2028sep"),
        ("bad\udcff", "bad\\udcff"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_escape_shows_what_would_move_the_cursor(hostile, shown):
    """Characters that control a terminal or reorder a line are shown as escapes, all others as they are."""
    assert render.escape(hostile) == shown


@pytest.mark.parametrize(
    ("passed", "shown"),
    [(0, "now"), (45, "45s"), (120, "2m"), (7199, "1h"), (3 * 86400 + 5, "3d"), (400 * 86400, "400d")],
)
def test_age_is_one_unit_rounded_down(passed, shown):
    """An age is given in its largest unit, rounded down, and a clock that went back is said to."""
    assert render.age(NOW - timedelta(seconds=passed), NOW) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (2.361, "2.3610"),
        (-0.5, "-0.5000"),
        (1.25e-7, "1.250e-07"),
        (3e9, "3.000e+09"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_number_keeps_four_decimals_where_they_say_something(value, shown):
    """Metrics line up by their decimal point, except where four decimals would hide the value."""
    assert render.number(value) == shown


def test_json_has_no_value_that_json_lacks(capsys):
    """NaN and infinities become strings, at any depth, so that strict parsers read the output."""
    render.print_json({"metrics": {"a": math.nan, "b": [math.inf, 1.5]}, "none": None, "flag": True})
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed == {"metrics": {"a": "nan", "b": ["inf", 1.5]}, "none": None, "flag": True}


def test_json_escapes_lone_surrogates(capsys):
    """A name that is not valid text is still valid JSON, in ASCII."""
    render.print_json(["bad\udcff", "größe"])
    assert capsys.readouterr().out.isascii()


def test_table_is_aligned_and_plain_in_a_pipe(capsys):
    """Without a terminal a table has aligned columns, no escape sequences and no trailing spaces."""
    columns = [Column("STEP", right=True), Column("NAME"), Column("STATE")]
    render.print_table(columns, [["5", "short", Cell("verified", "green")], ["1000", "[red]" + "x" * 300, "lost"]])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.startswith("STEP  NAME")
    assert first.startswith("   5  short")
    assert second.startswith("1000  [red]xxx")
    assert heading.index("STATE") == first.index("verified") == second.index("lost") > 300
    assert "\x1b" not in heading + first + second
    assert first == first.rstrip()


def test_table_leaves_out_empty_columns(capsys):
    """A column without content costs no width."""
    render.print_table([Column("A"), Column("EMPTY"), Column("B")], [["1", "", "2"], ["3", Cell(""), "4"]])
    assert capsys.readouterr().out == "A  B\n1  2\n3  4\n"


def test_table_fits_the_columns_that_are_asked_for(capsys, monkeypatch):
    """COLUMNS bounds the width in a pipe too, and nothing of a wrapping column is lost."""
    monkeypatch.setenv("COLUMNS", "30")
    render.print_table([Column("STEP"), Column("WHY", wraps=True)], [["12", "last(3), best(2), every(10000), pinned"]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 30
    assert " ".join(line[4:].strip() for line in lines[1:]) == "last(3), best(2), every(10000), pinned"


def test_names_lose_their_middle_where_the_terminal_is_narrow(capsys, monkeypatch):
    """Beginning and end stay, of wide characters too; other columns stay whole, and in a pipe all of it does."""
    columns = [Column("NAME", clips=True), Column("BEST", right=True), Column("模型" * 20, right=True, clips=True)]
    names = ["sweep-of-learning-rates-seed1:199-976907c5", "模型" * 20, "short"]
    rows = [[name, "0.25", "1"] for name in names]
    render.print_table(columns, rows)
    assert names[0] in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "60")
    render.print_table(columns, rows)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "BEST", "模型模型模型…模型模型模型"]
    assert lines[0].startswith("sweep-of-lear…199-976907c5  ")
    assert lines[1].startswith("模型模型模型…模型模型模型 ")
    assert all(line.split()[-2:] == ["0.25", "1"] for line in lines)
    assert all(_columns(line) <= 60 for line in lines)


def test_what_wraps_gives_way_before_names_do(capsys, monkeypatch):
    """A text over two lines loses nothing; only then names lose their middle."""
    columns = [Column("NAME", clips=True), Column("WHY", wraps=True)]
    monkeypatch.setenv("COLUMNS", "76")
    render.print_table(columns, [["n" * 40, "w " * 40]])
    assert "n" * 40 in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "66")
    render.print_table(columns, [["n" * 40, "w " * 40]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("n" * 16 + "…" + "n" * 15 + "  w")
    assert max(map(len, lines)) <= 66


def _columns(line):
    return sum(2 if ord(c) > 0x2FFF else 1 for c in line)


def test_table_has_colour_only_where_it_is_wanted(capsys, monkeypatch):
    """A forced terminal gets colour, and NO_COLOR takes it away."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    render.print_table([Column("STATE")], [[Cell("lost", "red")]])
    assert "\x1b[31mlost" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    render.print_table([Column("STATE")], [[Cell("lost", "red")]])
    assert "\x1b[31m" not in capsys.readouterr().out


def test_facts_are_aligned_and_empty_ones_left_out(capsys):
    """Facts are name and value in two columns; what has no value is not mentioned."""
    render.print_facts([("id", "1f3a"), ("parent", ""), ("backend", "safe\ntensors")])
    assert capsys.readouterr().out == "id       1f3a\nbackend  safe\\ntensors\n"


def test_age_says_when_the_clock_went_back():
    """A checkpoint of the future is not given an age."""
    assert render.age(NOW + timedelta(hours=1), NOW) == "ahead"


def test_wide_characters_keep_a_table_aligned(capsys):
    """Characters that take two columns of a terminal are counted as two, combining ones as none."""
    render.print_table([Column("NAME"), Column("X")], [["模型", "1"], ["cafe\u0301", "2"]])
    assert capsys.readouterr().out == "NAME  X\n模型  1\ncafe\u0301  2\n"


def test_what_may_be_left_out_is_where_the_terminal_is_narrow(capsys, monkeypatch):
    """Of several columns the last one first, and no more than is needed."""
    columns = [Column("A"), Column("B", drops=True), Column("C", drops=True), Column("D")]

    def headings(width):
        monkeypatch.setenv("COLUMNS", str(width))
        render.print_table(columns, [["aaaaa", "bbbbb", "ccccc", "ddddd"]])
        return capsys.readouterr().out.splitlines()[0].split()

    assert [headings(width) for width in (26, 25, 18, 12)] == [list("ABCD"), list("ABD"), list("AD"), list("AD")]
