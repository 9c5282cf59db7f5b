"""Does opening a checkpoint run code that somebody has put into it?

Each file of a checkpoint, and each member of one that is a zip file, is replaced by a pickle that creates an empty file
when it is loaded. That is all it does; if the file is there afterwards, anything could have been done.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.harness.nursery import isolated
from tests.proof.field.peers.peer import Peer
from tests.proof.field.registry import peer_named
from tests.proof.field.saved import Saved, saved_once
from tests.proof.field.tally import Counts, counted

__all__ = ["code_in_files"]

Change = Callable[[Path], None]


def code_in_files(peer: str, trials: int) -> Counts:
    """One trial for each place where a pickle can be put."""
    who = peer_named(peer)
    with saved_once(who) as saved:
        marker = saved.place / "marker"
        ran = [_ran(who, saved, change, marker) for change in _changes(saved, marker)]
    return counted(({"code ran"} if one else set() for one in ran), exhaustive=True)


def _pickle(marker: Path) -> bytes:
    """Calls ``open(marker, "w")`` when it is loaded; written by hand, in the oldest protocol."""
    return f"cbuiltins\nopen\n(V{marker}\nVw\ntR.".encode()


def _changes(saved: Saved, marker: Path) -> Iterator[Change]:
    for path in sorted(path.relative_to(saved.root) for path in saved.root.rglob("*") if path.is_file()):
        yield lambda root, path=path: _overwrite(root / path, _pickle(marker))
        if zipfile.is_zipfile(saved.root / path):
            with zipfile.ZipFile(saved.root / path) as archive:
                names = archive.namelist()
            for name in names:
                yield lambda root, path=path, name=name: _overwrite_member(root / path, name, _pickle(marker))


def _overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def _overwrite_member(path: Path, member: str, content: bytes) -> None:
    new = path.with_suffix(".new")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as changed:
        for name in old.namelist():
            changed.writestr(name, content if name == member else old.read(name))
    shutil.move(new, path)


def _ran(peer: Peer, saved: Saved, change: Change, marker: Path) -> bool:
    marker.unlink(missing_ok=True)
    with saved.copy() as root:
        change(root)
        with contextlib.suppress(RuntimeError):  # it refuses, or dies: it is not what is asked here
            isolated(_load, peer, root)
    return marker.exists()


def _load(peer: Peer, root: Path) -> None:
    for candidate in peer.candidates(root):
        peer.load(root, candidate)
