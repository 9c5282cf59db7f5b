"""The report of the proof: what replaces what, and how figures read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness.evidence import UNFINISHED, Evidence
from tests.proof import page, results, summary
from tests.proof.field.measure import OURS, Cell
from tests.proof.field.tally import Counts
from tests.proof.figures import figure, joined, upper_bound
from tests.proof.results import Mutant, Results

LINE = Evidence("a kill", "Nothing is lost.", 1000, "kills", 0, "tests/crash/test_x.py::test_y", "full", "2030-01-02")
CELL = Cell(
    OURS, "1.0", "bits-of-data", "full", "2030-01-02", Counts(trials=10, outcomes={"refused": 10}, exhaustive=False)
)


@pytest.mark.parametrize(
    ("trials", "bound"), [(10, "30 %"), (300, "1 %"), (1000, "0.3 %"), (1001, "0.3 %"), (10_000_000, "0.00003 %")]
)
def test_no_failure_in_n_trials_bounds_the_rate_by_three_nths(trials, bound):
    """The rule of three, rounded to what the figure carries."""
    assert upper_bound(trials) == bound


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "0 of 1,000 kills (< 0.3 %)"),
        ({"exhaustive": True}, "0 of all 1,000 kills"),
        ({"trials": 3}, "0 of 3 kills"),
        ({"violations": 2}, "2 of 1,000 kills"),
        ({"violations": 1, "unit": UNFINISHED}, "failed before it gave a figure"),
    ],
)
def test_a_figure_says_how_much_it_says(change, text):
    """Only a sample without a violation has a bound; what was tried completely needs none."""
    assert figure(replace(LINE, **change)) == text


def test_a_smaller_run_does_not_replace_the_figure_of_a_thorough_one():
    """Unless it is forced to, or finds a violation."""
    known = Results().updated(Results(evidence=(LINE,), field=(CELL,)))
    smaller = Results(
        evidence=(replace(LINE, trials=20, scale="ci"),),
        field=(replace(CELL, scale="ci", counts=Counts(trials=3, outcomes={"refused": 3}, exhaustive=False)),),
    )
    assert [line.trials for line in known.updated(smaller).evidence] == [1000]
    assert [cell.counts["trials"] for cell in known.updated(smaller).field] == [10]
    assert [line.trials for line in known.updated(smaller, force=True).evidence] == [20]
    assert [cell.counts["trials"] for cell in known.updated(smaller, force=True).field] == [3]
    violated = Results(
        evidence=(replace(LINE, trials=20, scale="ci", violations=1),),
        field=(replace(CELL, scale="ci", counts=Counts(trials=3, outcomes={"silently wrong": 1}, exhaustive=False)),),
    )
    assert summary.violations(known.updated(violated)) == 2


def test_a_run_replaces_only_what_it_has_tried():
    """The other figures, mutants and rows stay."""
    other = replace(LINE, test="tests/crash/test_x.py::test_z")
    known = Results().updated(Results((LINE, other), (CELL,), (Mutant("m", "a bug", "a test", "2030-01-02"),)))
    later = known.updated(Results(evidence=(replace(LINE, date="2031-01-01"),)))
    assert [(line.test[-1], line.date) for line in later.evidence] == [("y", "2031-01-01"), ("z", "2030-01-02")]
    assert (later.field, later.mutants) == (known.field, known.mutants)
    assert [line.test[-1] for line in later.without_tests_but({LINE.test}).evidence] == ["y"]


def test_a_test_that_failed_without_a_figure_is_a_violation_in_its_own_words():
    """The last success does not stand any more, but says what the test is about."""
    unfinished = Evidence("", "A docstring.", 1, UNFINISHED, 1, LINE.test, "ci", "2030-01-03")
    (line,) = Results().updated(Results(evidence=(LINE,))).updated(Results(evidence=(unfinished,))).evidence
    assert (line.violations, line.threat, line.promise) == (1, LINE.threat, LINE.promise)


def test_results_survive_being_stored(tmp_path):
    """What is read back is what was written."""
    stored = Results((LINE,), (CELL,), (Mutant("m", "a bug", "", "2030-01-02"),))
    stored.save(tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == stored
    assert results.load(tmp_path / "none") == Results()


def test_parameters_that_a_reader_does_not_see_are_one_figure():
    """Trials add up where test, threat and promise are the same, and a violation is not lost in the sum."""
    first, second = (replace(LINE, test=f"{LINE.test}[{name}]") for name in "ab")
    (line,) = joined([replace(first, violations=1, detail="a"), replace(second, detail="b")])
    assert (line.trials, line.violations, line.detail) == (2000, 1, "a; b")
    assert len(joined([first, replace(second, threat="another kill")])) == 2


def test_a_page_keeps_what_is_written_by_hand():
    """Only what stands between the marks of a block is made anew, and it is the same the next time."""
    blocks = "".join(f"Words.\n<!-- generated: {name} -->\nold\n<!-- end: {name} -->\n" for name in page.BLOCKS)
    shown = Results((LINE,), (CELL,), (Mutant("m", "a bug", "a test", "2030-01-02"),))
    text = page.render(shown, blocks)
    assert text.count("Words.") == len(page.BLOCKS)
    assert "old" not in text
    for words in ("0 of 1,000 kills (< 0.3 %)", "10 of 10", "**1 of 1 noticed**"):
        assert words in text
    assert page.render(shown, text) == text
    with pytest.raises(ValueError, match="no block"):
        page.render(shown, "Words.")


def test_the_page_in_the_repository_shows_the_stored_figures():
    """docs/reliability.md is what `make proof` writes, figures by hand there are none."""
    text = page.PATH.read_text(encoding="utf-8")
    assert page.render(results.load(), text) == text


def test_the_figures_in_the_repository_tell_of_no_violation():
    """A broken promise is repaired before it is published."""
    assert summary.violations(results.load()) == 0
