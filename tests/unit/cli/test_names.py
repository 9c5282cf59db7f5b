"""`mckpt pin`, `unpin` and `alias`."""

import pytest


def test_pin_protects_and_unpin_gives_up(mckpt, root):
    """A pinned checkpoint is kept by the plan, and an unpinned one is not."""
    assert mckpt("-C", root, "pin", "digits:30").code == 0
    assert mckpt("-C", root, "show", "digits:30", "--json").json["kept_because"] == ["pinned"]
    done = mckpt("-C", root, "unpin", "digits:30", "--json")
    assert done.json["pinned"] is False
    assert mckpt("-C", root, "show", "digits:30", "--json").json["kept_because"] == []


def test_alias_names_moves_and_lets_go(mckpt, root):
    """A name finds its checkpoint, moves to another one, and can be taken away; a rebuilt catalog agrees."""
    assert mckpt("-C", root, "alias", "digits:10", "prod").out.endswith("is @prod\n")
    assert mckpt("-C", root, "alias", "digits:40", "prod").code == 0
    assert mckpt("-C", root, "reindex").code == 0
    assert mckpt("-C", root, "show", "digits:prod", "--json").json["step"] == 40
    assert mckpt("-C", root, "alias", "digits:prod", "--json").json["aliases"] == ["prod"]
    assert mckpt("-C", root, "alias", "digits:40", "prod", "--remove").out.endswith("is without a name\n")
    assert mckpt("-C", root, "show", "digits:prod").code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["digits:10", "latest"], 2),
        (["digits:10", "../up"], 2),
        (["digits:10", "500"], 2),
        (["digits:10", "--remove"], 2),
        (["digits:10", "v1", "--remove"], 3),
        (["digits:99", "x"], 3),
    ],
)
def test_names_that_make_no_sense_are_refused(mckpt, root, words, code):
    """A name that could be taken for another reference, or that the checkpoint does not have, changes nothing."""
    done = mckpt("-C", root, "alias", *words)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert mckpt("-C", root, "show", "digits:v1", "--json").json["step"] == 20


@pytest.mark.parametrize("words", [["pin", "x"], ["alias", "x", "y"], ["prune"], ["restore"], ["reindex"]])
def test_commands_that_write_make_no_store(mckpt, tmp_path, words):
    """Commands that change a store refuse one that does not exist, and create nothing."""
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "nowhere", tmp_path / "empty"):
        assert mckpt("-C", root, *words).code == 3
    assert not (tmp_path / "nowhere").exists()
    assert list((tmp_path / "empty").iterdir()) == []
