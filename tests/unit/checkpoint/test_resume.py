import copy

import pytest
import torch

from model_checkpoint.checkpoint.parts import capture_part
from model_checkpoint.checkpoint.resume import ResumeReport, restore_run
from model_checkpoint.checkpoint.rng import capture_rng
from model_checkpoint.errors import StateMismatchError


def capture(parts):
    state = {name: capture_part(part) for name, part in parts.items()}
    return copy.deepcopy(state | {"rng": capture_rng()})


def test_a_run_that_fits_is_restored_whole(info):
    """All parts and the random state are restored, and the report says so."""
    source, target = {"model": torch.nn.Linear(2, 2)}, {"model": torch.nn.Linear(2, 2)}
    state = capture(source)
    expected = torch.rand(2)
    report = restore_run(target, state, info(5), strict=True)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(source["model"].weight, target["model"].weight)
    assert report == ResumeReport(info(5), ("model", "rng"))
    assert (report.step, report.next_step, report.is_complete) == (500, 501, True)
    assert str(report) == "resumed at step 501: model, random state"


def test_what_does_not_fit_is_reported(info):
    """Parts that one side lacks, and tensors of another shape, are named; the rest is restored."""
    state = capture({"model": torch.nn.Linear(2, 2), "old": {"a": 1}})
    del state["rng"]["torch"]
    target = {"model": torch.nn.Linear(2, 3), "ema": {"b": 1}}
    report = restore_run(target, state, info(5), strict=False)
    assert report.restored == ("model", "rng")
    assert report.missing == ("ema",)
    assert report.unexpected == ("old",)
    assert report.changed == (
        "model.weight: 2x2 in the checkpoint, 3x2 here",
        "model.bias: 2 in the checkpoint, 3 here",
        "rng.torch: not in the checkpoint",
    )
    assert not report.is_complete
    assert "old: not in this run" in str(report)


def test_strict_changes_nothing_where_something_does_not_fit(info):
    """strict=True raises before the first part is touched, and says what it found."""
    state = capture({"data": {"epoch": 5}, "model": torch.nn.Linear(2, 2)})
    target = {"data": {"epoch": 0}, "model": torch.nn.Linear(2, 3)}
    with pytest.raises(StateMismatchError, match="nothing was changed") as caught:
        restore_run(target, state, info(5), strict=True)
    assert len(caught.value.mismatched) == 2
    assert target["data"] == {"epoch": 0}


def test_strict_notices_a_part_that_refuses(info):
    """A part that refuses its state fails a strict resume, with the parts that were restored before it."""
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    state = capture({"data": {"epoch": 5}, "optimizer": torch.optim.SGD(weights[:1])})
    target = {"data": {"epoch": 0}, "optimizer": torch.optim.SGD(weights)}
    with pytest.raises(StateMismatchError, match="restored before that was found: data, rng"):
        restore_run(target, state, info(5), strict=True)


def test_strict_notices_missing_random_state(info):
    """A checkpoint without random state is no exact one."""
    state = capture({"data": {"epoch": 5}})
    del state["rng"]
    with pytest.raises(StateMismatchError, match="rng: not in the checkpoint"):
        restore_run({"data": {"epoch": 0}}, state, info(5), strict=True)


def test_nothing_to_resume_starts_at_zero():
    """The empty report starts a run."""
    assert (ResumeReport().next_step, ResumeReport().step) == (0, None)
    assert str(ResumeReport()) == "nothing to resume: starting at step 0"
