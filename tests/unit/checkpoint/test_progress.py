import logging

import pytest

from model_checkpoint.checkpoint.progress import Progress, describe
from model_checkpoint.errors import DiskFullError
from model_checkpoint.events import (
    CheckpointLoaded,
    CheckpointSaved,
    RetentionFailed,
    RetentionPlanned,
    RunResumed,
    SaveFailed,
    SaveSkipped,
)


def saved(info, **fields):
    checkpoint = info(5, metrics={"loss": 2.3142}, nbytes=1_400_000_000)
    return CheckpointSaved(
        **{"checkpoint": checkpoint, "stall_s": 0.018, "seconds": 0.7368, "background": True, "best": True}
        | {"monitor": "loss"}
        | fields
    )


def test_a_save_is_one_line(info):
    """Step, stall, size, speed, and whether it is the best."""
    assert describe(saved(info)) == (
        "saved exp:step-500 in background · stall 18 ms · 1.4 GB · 1.9 GB/s · new best (2.314)"
    )
    assert describe(saved(info, background=False, best=False)) == (
        "saved exp:step-500 · stall 18 ms · 1.4 GB · 1.9 GB/s"
    )


@pytest.mark.parametrize(
    ("make", "line", "level"),
    [
        (lambda info: SaveFailed("exp", 5, DiskFullError("no space")), "exp:step-5 was not saved: no space", "ERROR"),
        (lambda info: SaveSkipped("exp", 5), "exp:step-5 was skipped: the save before it still runs", "WARNING"),
        (lambda info: RetentionPlanned("exp", (info(1), info(2)), 2003), "exp: 2 to the trash · frees 2.0 kB", "INFO"),
        (lambda info: RetentionFailed("exp", OSError("no")), "exp: the cleanup stopped: no", "WARNING"),
        (lambda info: RunResumed(info(5), ()), "resumed from exp:step-500", "INFO"),
        (
            lambda info: RunResumed(info(5), ("rng.cuda",)),
            "resumed from exp:step-500 · not restored: rng.cuda",
            "WARNING",
        ),
    ],
)
def test_each_event_has_its_line_and_level(info, caplog, make, line, level):
    """What went wrong is a warning or an error; the rest is information."""
    with caplog.at_level(logging.INFO, "model_checkpoint"):
        Progress(shown=False).emit(make(info))
    assert [(record.levelname, record.message) for record in caplog.records] == [(level, line)]


def test_a_terminal_shows_what_the_log_does_not(info, capsys, caplog):
    """With the log at its default, progress goes to standard error; with the log on, it is not said twice."""
    caplog.set_level(logging.WARNING, "model_checkpoint")
    Progress(shown=True).emit(saved(info))
    assert capsys.readouterr().err.startswith("saved exp:step-500")
    Progress(shown=False).emit(saved(info))
    caplog.set_level(logging.INFO, "model_checkpoint")
    Progress(shown=True).emit(saved(info))
    assert capsys.readouterr().err == ""


def test_without_a_terminal_auto_is_silent(info, capsys):
    """Nothing is drawn into a file or a pipe."""
    progress = Progress("auto")
    with progress.waiting("writing"):
        progress.emit(CheckpointLoaded(info(1), 0.1, cached=False))
    assert capsys.readouterr() == ("", "")
