"""What a manager holds on to: nothing longer than it must, without waiting for the garbage collector."""

from __future__ import annotations

import gc
import os
import threading
import weakref

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint.storage.store import Store

pytestmark = pytest.mark.leak


@pytest.fixture(autouse=True)
def no_collector():
    """Reference counts alone must free what is not used any more: states are large, the collector comes late."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Temporary:
    """A part whose state is made for each save."""

    def __init__(self):
        self.made = []

    def state_dict(self):
        tensor = torch.ones(1000)
        self.made.append(weakref.ref(tensor))
        return {"tensor": tensor, "nested": [{"tuple": (tensor, 1)}]}

    def load_state_dict(self, state):
        self.made.append(weakref.ref(state["tensor"]))


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("cache", [None, mc.CheckpointCache(10**9)], ids=["plain", "cached"])
def test_what_was_saved_is_let_go(tmp_path, block, cache):
    """Once a save has ended, its tensors are gone, even while its handle is kept."""
    part = Temporary()
    with mc.CheckpointManager(tmp_path / "runs", cache=cache) as ckpts:
        ckpts.track(part=part)
        handles = [ckpts.save(step, block=block) for step in range(3)]
        ckpts.wait()
        assert [made() for made in part.made] == [None] * 3
        assert all(handle.done() for handle in handles)


@pytest.mark.parametrize("options", [{}, {"mmap": True}, {"components": ["part"]}], ids=str)
def test_what_was_loaded_is_let_go(tmp_path, options):
    """When the caller drops a loaded state it is gone, and its checkpoint is not in use any more."""
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        ckpts.track(part={"w": torch.ones(1000), "n": (1, {2})})
        info = ckpts.save(0).result()
        state = ckpts.load(**options)
        tensor = weakref.ref(state["part"]["w"])
        assert not Store(ckpts.root).is_in_use(info)
        del state
        assert tensor() is None


def test_what_was_loaded_in_place_is_let_go(tmp_path):
    """After resume() and load(into=) neither the tensors read nor the checkpoint are held."""
    part, model = Temporary(), torch.nn.Linear(3, 3)
    with mc.CheckpointManager(tmp_path / "runs") as ckpts:
        ckpts.track(part=part, model=model)
        info = ckpts.save(0).result()
        ckpts.resume()
        assert not Store(ckpts.root).is_in_use(info)
        ckpts.load(into={"model": model})
        assert not Store(ckpts.root).is_in_use(info)
        with pytest.raises(mc.StateMismatchError):
            ckpts.load(into={"model": torch.nn.Linear(2, 2)})
    assert [made() for made in part.made] == [None] * len(part.made)
    assert not Store(tmp_path / "runs").is_in_use(info)


def test_many_rounds_leave_no_descriptor_thread_or_directory(tmp_path):
    """Saving, loading, removing and reopening end with what they began with."""

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    def round_of(step):
        with mc.CheckpointManager(tmp_path / "runs", keep=mc.Keep.last(1)) as ckpts:
            ckpts.track(w=torch.zeros(1000))
            ckpts.resume()
            ckpts.save(step).result()
            ckpts.load()

    round_of(0)
    before, threads = descriptors(), threading.active_count()
    for step in range(1, 12):
        round_of(step)
    gc.collect()  # the database's own objects may wait for it
    assert descriptors() <= before
    assert threading.active_count() == threads
    assert len(list((tmp_path / "runs").glob("default/step-*"))) <= 3
