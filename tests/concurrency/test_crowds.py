"""Many processes on one store: contests for one checkpoint, and a crowd that does everything while some are killed."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest

from tests.harness import crowd_history, lying_locks
from tests.harness.history import NEVER, Flag, Register, Span, numbering_problems, presence_problems
from tests.harness.nursery import Nursery

pytestmark = pytest.mark.concurrency

CONTESTS = {
    "id": (
        "{} processes that commit a checkpoint of the same id at the same moment",
        "Exactly one wins, the others get CheckpointExistsError, and what is there and in the catalog is the winner's.",
    ),
    "step": (
        "{} processes that save the same step of the same experiment at the same moment",
        "Each gets a checkpoint with its own bytes and number, nothing is half visible, and the catalog has them all.",
    ),
}


@pytest.mark.parametrize("contest", CONTESTS)
def test_writers_of_one_checkpoint_do_not_disturb_each_other(contest, trials, evidence):
    """Of one id there is one winner; of one step everybody has a checkpoint of their own."""
    writers, rounds = trials(ci=6, proof=32, full=32), trials(ci=4, proof=20, full=1000)
    with Nursery() as nursery:
        done = nursery.ask(
            "tests.harness.contest", "hold", timeout_s=7200, contest=contest, writers=writers, rounds=rounds
        )
    threat, promise = CONTESTS[contest]
    evidence(
        threat=threat.format(writers),
        promise=promise,
        trials=rounds,
        unit="rounds",
        violations=len(done["problems"]),
        detail=_counts(done["endings"]),
    )
    assert done["problems"] == []
    expected = {"committed": rounds, "CheckpointExistsError": rounds * (writers - 1)}
    assert done["endings"] == (expected if contest == "id" else {"committed": rounds * writers})


@pytest.mark.parametrize("contest", CONTESTS)
def test_where_locks_keep_nobody_out_no_file_is_harmed(contest, trials, evidence):
    """No commit relies on a lock; the catalog, which SQLite cannot keep whole without any, is rebuilt from files."""
    if reason := lying_locks.unavailable():
        pytest.skip(reason)
    writers, rounds = trials(ci=6, proof=32, full=32), trials(ci=4, proof=20, full=1000)
    with Nursery(LD_PRELOAD=lying_locks.library()) as nursery:
        assert nursery.ask("tests.harness.lying_locks", "lie")
        done = nursery.ask(
            "tests.harness.contest",
            "hold",
            timeout_s=7200,
            contest=contest,
            writers=writers,
            rounds=rounds,
            locks_work=False,
        )
    evidence(
        threat=CONTESTS[contest][0].format(writers) + ", on a file system that grants every lock and keeps none",
        promise="No file is harmed: of one id there is at most one winner, who is told nothing else than what is "
        "there; of one step everybody who was told of success has a checkpoint with its own bytes. The catalog is not "
        "promised: SQLite needs locks, so it may be out of step or damaged; then it is rebuilt from the manifests, and "
        "has what the files have.",
        trials=rounds,
        unit="rounds",
        violations=len(done["problems"]),
        detail=_counts(done["endings"]),
    )
    assert done["problems"] == []
    assert sum(done["endings"].values()) == rounds * writers


def test_a_crowd_of_processes_with_kills_is_linearizable(tmp_path, trials, evidence):
    """What one process was told is what every later one sees, whoever is killed meanwhile; catalog and files agree."""
    operations = trials(ci=250, proof=4000, full=100_000)
    with Nursery() as nursery:
        done = _crowd(nursery, tmp_path, workers=trials(ci=6, proof=16, full=16), operations=operations)
        try:
            deeds = crowd_history.read_diaries(tmp_path)
            problems = [
                *crowd_history.unexpected(deeds),
                *crowd_history.history_problems(deeds),
                *nursery.ask(
                    "tests.harness.crowd_history", "judge", timeout_s=600, root=done["root"], diaries=str(tmp_path)
                ),
            ]
        finally:
            shutil.rmtree(done["place"])
    evidence(
        threat="processes that save, load, delete, restore, pin, name, tag and measure in one store on one SQLite "
        "catalog, one of them killed by SIGKILL about every second",
        promise="PRAGMA integrity_check is ok; numbers are in commit order; what was acknowledged is what every "
        "later read sees (a checker of linearizability reads what all of them wrote down); nothing acknowledged is "
        "lost; after recovery the catalog says what the files say.",
        trials=len(deeds),
        unit="operations",
        violations=len(problems),
        detail=f"{done['kills']} kills; {_counts(Counter(deed.name for deed in deeds))}",
    )
    assert problems == []
    assert done["kills"] > 0


def _crowd(nursery, diaries, **arguments):
    kill_every_s = 0.5 if arguments["operations"] < 1000 else 1.0
    return nursery.ask(
        "tests.harness.crowd",
        "work",
        timeout_s=7200,
        seed=1,
        kill_every_s=kill_every_s,
        diaries=str(diaries),
        **arguments,
    )


def _counts(counter):
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


# --- the checker itself -----------------------------------------------------------------------------------------------


def register(*steps):
    """A register with writes and reads, each given as its kind, value, begin and end."""
    found = Register("it")
    for kind in ("write", "read"):
        for what, value, begin, end in steps:
            if what == kind:
                getattr(found, kind)(value, Span(begin, end))
    return list(found.problems())


@pytest.mark.parametrize(
    ("steps", "is_right"),
    [
        ([("write", "a", 0, 1), ("read", "a", 2, 3)], True),
        ([("write", "a", 0, 1), ("read", None, 2, 3)], False),  # a finished write is not seen
        ([("write", "a", 0, 5), ("read", None, 2, 3), ("read", "a", 3, 4)], True),  # it happened in between
        ([("write", "a", 0, 5), ("read", "a", 1, 2), ("read", None, 3, 4)], False),  # seen, and then not any more
        ([("write", "a", 0, 1), ("write", "b", 2, 3), ("read", "a", 4, 5)], False),  # overwritten
        ([("write", "a", 0, 9), ("write", "b", 0, 9), ("read", "a", 10, 11), ("read", "b", 12, 13)], False),
        ([("write", "a", 0, NEVER), ("read", None, 5, 6), ("read", "a", 7, 8)], True),  # killed: late, or never
        ([("write", "a", 0, NEVER), ("read", "a", 5, 6), ("read", None, 7, 8)], False),
        ([("read", "z", 0, 1)], False),
        ([("write", "a", 5, 6), ("read", "a", 1, 2)], False),  # from the future
    ],
)
def test_the_checker_knows_registers(steps, is_right):
    """It finds histories of reads and writes that no order explains, and only those."""
    assert (register(*steps) == []) == is_right


def test_the_checker_knows_what_must_be_in_a_list():
    """A thing is in every list that begins after it was added and ends before its removal began."""
    flag = Flag("it")
    flag.write(True, Span(0, 10))
    flag.write(False, Span(50, 60))
    seen, missing = frozenset({"x"}), frozenset()

    def complaints(*reads):
        return list(presence_problems({"x": flag}, reads))

    assert complaints((missing, Span(5, 8)), (seen, Span(5, 8)), (seen, Span(20, 30)), (missing, Span(70, 80))) == []
    assert complaints((seen, Span(55, 58)), (missing, Span(40, 55))) == []
    assert len(complaints((missing, Span(20, 30)))) == 1
    assert len(complaints((seen, Span(70, 80)))) == 1
    assert len(complaints((frozenset({"x", "y"}), Span(20, 30)))) == 1


def test_the_checker_knows_the_order_of_numbers():
    """Numbers are unique, and grow from the end of one save to the beginning of the next."""
    assert list(numbering_problems({"a": (1, Span(0, 1)), "b": (3, Span(2, 5)), "c": (2, Span(3, 4))})) == []
    assert len(list(numbering_problems({"a": (2, Span(0, 1)), "b": (1, Span(2, 3))}))) == 1
    assert len(list(numbering_problems({"a": (1, Span(0, 5)), "b": (1, Span(2, 3))}))) == 1
