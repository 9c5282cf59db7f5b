"""Peers that are missing, broken or wrong are named, and never measured."""

import importlib.util

import pytest
import torch

from benchmarks.compare import main
from benchmarks.models import llama_of
from benchmarks.peers.peer import Loader, Peer, Saver
from benchmarks.peers.registry import PEERS, Lineup, line_up
from benchmarks.peers.torch_save import Torch
from benchmarks.run import Run
from benchmarks.workloads import load, save


class Missing(Torch):
    name = "missing"
    distribution = "no-such-distribution"
    module = "no_such_module"


class Broken(Torch):
    name = "broken"

    def loaders(self):
        return (Loader("broken", self._fail),)

    def _fail(self, _path):
        raise OSError("needs a GPU")


class Wrong(Torch):
    """Loses a bit of whatever it loads."""

    name = "wrong"
    file_format = "wrong"

    def loaders(self):
        return (Loader("wrong load", self._load),)

    def savers(self):
        return (Saver("wrong save", torch.save),)

    def _load(self, path):
        state = torch.load(path)
        next(iter(state.values())).view(torch.uint8).flatten()[0] ^= 1
        return state


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        (Missing(), "not installed: pip install no-such-distribution"),
        (Broken(), "cannot take part here: OSError: needs a GPU"),
        (Wrong(), "cannot take part here: AssertionError"),
    ],
)
def test_who_cannot_take_part_is_named_with_the_reason(tmp_path, peer, reason):
    """Nobody is dropped without a word, and the others still take part."""
    lineup = line_up([Torch(), peer], ["torch", peer.name], tmp_path)
    assert [able.name for able in lineup.peers] == ["torch"]
    assert reason in lineup.absent[peer.name]
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_printed(tmp_path, capsys):
    """Whoever reads the table sees who is not in it, and how to change that."""
    main(["--size", "1", "--repeats", "1", "--only", "", "--dir", str(tmp_path)], [Missing()])
    assert "without missing: not installed: pip install no-such-distribution" in capsys.readouterr().out


@pytest.mark.parametrize("measure", [save.measure, load.measure_hot])
def test_a_wrong_answer_ends_the_run(tmp_path, measure):
    """A figure for work that was not done is worse than none; the error names whose answer it was."""
    run = Run(llama_of(1), tmp_path, 1, Lineup((Wrong(),)))
    with pytest.raises(AssertionError, match="differs") as caught:
        measure(run)
    assert any("wrong" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("name", ["torch", "safetensors", "dcp"])
def test_peers_that_the_tests_install_give_back_what_they_saved(tmp_path, name):
    """Each way of saving, loading and restoring that is measured works."""
    lineup = line_up(PEERS, [name], tmp_path)
    assert name in lineup.versions, lineup.absent[name]


def test_names_of_peers_and_rows_are_unique():
    """Rows are found by name, in JSON too."""
    installed: list[Peer] = [peer for peer in PEERS if importlib.util.find_spec(peer.module)]
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    for way in ("savers", "loaders", "restorers"):
        names = [row.name for peer in installed for row in getattr(peer, way)()]
        assert len(set(names)) == len(names)
