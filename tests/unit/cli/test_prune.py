"""`mckpt prune` and `mckpt restore`."""

from datetime import datetime

import pytest

from model_checkpoint.storage.contents import open_contents


def steps(mckpt, root):
    """The steps of `digits` that are listed."""
    listed = mckpt("-C", root, "ls", "digits", "--json").json["experiments"][0]["checkpoints"]
    return [info["step"] for info in listed]


def test_dry_run_shows_the_plan_and_changes_nothing(mckpt, root):
    """Without --yes every checkpoint is shown with its reason, the exit code is 5, and all stay."""
    done = mckpt("-C", root, "prune", "digits")
    assert done.code == 5
    lines = {int(line.split()[1]): line for line in done.out.splitlines() if line.startswith(("keep ", "remove "))}
    assert {step for step, line in lines.items() if line.startswith("remove")} == {30, 0}
    assert "not last(2), not best(1)" in lines[30]
    assert "best, best(1)" in lines[10]
    assert "would move to the trash: 2 checkpoints, 3.0 MB" in done.out
    assert steps(mckpt, root) == [50, 40, 30, 20, 10, 0]


def test_yes_moves_to_the_trash_and_restore_brings_back(mckpt, root):
    """With --yes they go, can be listed, and come back whole with what was said of them."""
    before = mckpt("-C", root, "show", "digits:30", "--json").json
    done = mckpt("-C", root, "prune", "--yes")
    assert done.code == 0
    assert "moved to the trash: 2 checkpoints, 3.0 MB" in done.out
    assert steps(mckpt, root) == [50, 40, 20, 10]
    trash = mckpt("-C", root, "restore", "--json").json["trash"]
    assert {entry["ref"].split("-")[0] for entry in trash} == {"digits:30", "digits:0"}
    assert {tuple(entry["reasons"]) for entry in trash} == {("not kept by last(2) | best(1)",)}
    lasts = [datetime.fromisoformat(e["expires_at"]) - datetime.fromisoformat(e["trashed_at"]) for e in trash]
    assert [span.days for span in lasts] == [7, 7]
    back = mckpt("-C", root, "restore", "digits:30")
    assert (back.code, back.out) == (0, f"restored {before['ref']}\n")
    assert steps(mckpt, root) == [50, 40, 30, 20, 10]
    assert mckpt("-C", root, "show", "digits:30", "--json").json == before
    assert mckpt("-C", root, "verify", "digits:30").code == 0


def test_nothing_to_do_ends_with_0(mckpt, root):
    """A dry run that finds nothing is no change."""
    done = mckpt("-C", root, "prune", "digits", "--keep", "all()")
    assert done.code == 0
    assert done.out.endswith("nothing to remove\n")


def test_another_policy_can_be_tried(mckpt, root):
    """--keep replaces the stored policy; what is always protected stays."""
    plan = mckpt("-C", root, "prune", "digits", "-k", "last(1)", "--json")
    assert plan.code == 5
    (digits,) = plan.json["experiments"]
    assert [info["step"] for info in digits["remove"]] == [40, 30, 0]
    assert {info["step"]: info["kept_because"] for info in digits["kept"]} == {
        50: ["latest", "last(1)"],
        20: ["newest verified", "@v1"],
        10: ["best"],
    }
    assert (plan.json["done"], digits["removed"]) == (False, [])


@pytest.mark.parametrize("policy", ["last", "last(0)", "__import__('os')", "last(2) |"])
def test_a_policy_that_makes_no_sense_is_wrong_usage(mckpt, root, policy):
    """A policy that cannot be read ends with 2 and removes nothing."""
    done = mckpt("-C", root, "prune", "digits", "--keep", policy, "--yes")
    assert (done.code, done.out) == (2, "")
    assert len(steps(mckpt, root)) == 6


def test_the_last_verified_one_is_never_removed(mckpt, root):
    """What was verified last is kept, whatever the policy says."""
    assert mckpt("-C", root, "verify", "digits:30").code == 0
    kept = mckpt("-C", root, "prune", "digits", "--json").json["experiments"][0]["kept"]
    assert {30: ["newest verified"]}.items() <= {info["step"]: info["kept_because"] for info in kept}.items()


def test_a_checkpoint_in_use_is_kept(mckpt, root, directory_of):
    """What somebody reads stays, and the plan says why."""
    reader = open_contents(directory_of(30))
    done = mckpt("-C", root, "prune", "digits", "--yes")
    assert done.code == 0
    assert "in use" in done.out
    assert steps(mckpt, root) == [50, 40, 30, 20, 10]
    del reader


def test_empty_trash_deletes_for_good_after_a_dry_run(mckpt, root):
    """--empty-trash shows what it would delete, and deletes it with --yes."""
    assert mckpt("-C", root, "prune", "--yes").code == 0
    dry = mckpt("-C", root, "prune", "--empty-trash")
    assert dry.code == 5
    assert "would delete for good: 2 checkpoints, 3.0 MB" in dry.out
    assert len(list((root / ".trash").iterdir())) == 2
    assert mckpt("-C", root, "prune", "--empty-trash", "other").code == 0
    done = mckpt("-C", root, "prune", "--empty-trash", "--yes")
    assert done.code == 0
    assert "deleted for good: 2 checkpoints, 3.0 MB" in done.out
    assert list((root / ".trash").iterdir()) == []
    assert mckpt("-C", root, "restore").out == "the trash is empty\n"
    assert mckpt("-C", root, "restore", "digits:30").code == 3


def test_unknown_names_end_with_3(mckpt, root):
    """An experiment or a deleted checkpoint that does not exist is not found."""
    assert mckpt("-C", root, "prune", "digts").code == 3
    assert mckpt("-C", root, "restore", "digits:30").code == 3
