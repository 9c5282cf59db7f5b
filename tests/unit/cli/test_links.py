"""References, and what stands in the place of what they name."""

import shutil
import sqlite3

import pytest

READERS = [
    ["show", "digits:10"],
    ["inspect", "digits:10"],
    ["verify", "digits:10"],
    ["diff", "digits:10", "digits:20"],
    ["export", "digits:10", "out"],
    ["export", "digits:10", "out", "-c", "model"],
]


@pytest.mark.parametrize("words", READERS)
def test_no_reference_is_followed_through_a_link(mckpt, root, tmp_path, words):
    """An experiment whose directory was exchanged for a link is not read there, although all of it would be valid."""
    shutil.move(root / "digits", tmp_path / "outside")
    (root / "digits").symlink_to(tmp_path / "outside")
    done = mckpt("-C", root, *words)
    assert done.code in (1, 4)
    assert "link" in done.out + done.err
    assert not (tmp_path / "elsewhere" / "out").exists()


@pytest.mark.parametrize("words", READERS)
@pytest.mark.parametrize("up", [False, True])
def test_no_path_of_the_catalog_leads_out_of_the_store(mckpt, root, tmp_path, words, up):
    """A catalog that was edited names a checkpoint elsewhere, absolute or by going up: nothing is read there."""
    place = next((root / "digits").glob("step-00000010-*"))
    shutil.move(place, tmp_path / "outside")
    path = "../outside" if up else str(tmp_path / "outside")
    with sqlite3.connect(root / "catalog.db") as database:
        database.execute("UPDATE checkpoints SET path = ? WHERE step = 10", (path,))
    done = mckpt("-C", root, *words)
    assert done.code not in (0, 5)
    assert "path in a store" in done.out + done.err
    assert not (tmp_path / "elsewhere" / "out").exists()
