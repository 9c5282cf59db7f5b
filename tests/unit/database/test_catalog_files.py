"""What SQLite must not be led to."""

from __future__ import annotations

import os
import shutil

import pytest

from model_checkpoint.database.catalog import Catalog
from model_checkpoint.database.catalog_files import FILES
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CatalogError


@pytest.fixture
def root(tmp_path):
    """A store with a catalog."""
    (tmp_path / "runs").mkdir()
    with Catalog.open(tmp_path / "runs") as catalog:
        catalog.check()
    return tmp_path / "runs"


def plant(path, kind, outside):
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(outside)
    elif kind == "hard link":
        outside.write_bytes(b"")
        os.link(outside, path)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("opener", [Catalog.open, Listing.open])
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
@pytest.mark.parametrize("suffix", FILES)
def test_what_stands_for_a_file_of_the_catalog_is_refused_by_name(root, tmp_path, suffix, kind, opener):
    """SQLite would create what a link names, wait for a pipe for ever, and write into a file of another name."""
    outside = tmp_path / "outside"
    plant(root / f"catalog.db{suffix}", kind, outside)
    with pytest.raises(CatalogError, match=f"catalog.db{suffix} "):
        opener(root)
    assert not outside.exists() or outside.read_bytes() == b""


def test_a_root_may_be_reached_through_a_link(root, tmp_path):
    """How a user comes to the root is his own affair."""
    (tmp_path / "link").symlink_to(root)
    Listing.open(tmp_path / "link").close()
    Catalog.open(tmp_path / "link").close()


def test_a_copy_in_the_place_of_a_hard_link_is_as_good_as_before(root, tmp_path):
    """A store that was snapshotted with hard links opens again once the catalog is a file of its own."""
    path = root / "catalog.db"
    os.link(path, tmp_path / "snapshot")
    with pytest.raises(CatalogError, match="another name"):
        Catalog.open(root)
    shutil.copy(path, root / "copy")
    (root / "copy").replace(path)
    Catalog.open(root).close()
