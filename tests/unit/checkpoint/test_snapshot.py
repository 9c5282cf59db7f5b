import os

import pytest
import torch

import model_checkpoint as mc
from model_checkpoint import _native
from model_checkpoint.checkpoint import snapshot
from model_checkpoint.checkpoint.snapshot import SnapshotArena, state_of
from model_checkpoint.errors import ConfigurationError
from model_checkpoint.storage.staged_files import blob_files, component_files
from model_checkpoint.storage.state_tree import flatten


def state():
    base = torch.arange(6.0)
    return {
        "model": {"a": base, "view": base[2:], "tied": base, "t": torch.ones(3, 4).t(), "empty": torch.empty(0, 3)},
        "rng": {"x": torch.zeros((), dtype=torch.bfloat16), "p": torch.nn.Parameter(torch.ones(2))},
        "meta": {"n": 1, "l": [1.5, None]},
    }


def take(arena, value):
    flat = flatten(value)
    return flat.tree, arena.take([*component_files(flat), *blob_files({"b.bin": b"x"})])


def test_the_copy_is_the_state_and_no_part_of_it():
    """Every kind of tensor is copied, sharing included; what changes in the state afterwards is not in the copy."""
    value = state()
    tree, files = take(SnapshotArena(), value)
    value["model"]["a"].fill_(9)
    value["model"]["t"].zero_()
    copy = state_of(tree, files)
    expected = state()
    for component in ("model", "rng"):
        for name, tensor in expected[component].items():
            assert torch.equal(copy[component][name], tensor), name
            assert type(copy[component][name]) is type(tensor)
    assert copy["meta"] == expected["meta"]
    copy["model"]["a"].fill_(7)
    assert copy["model"]["view"].tolist() == [7.0] * 4
    assert [file.name for file in files] == ["model.safetensors", "rng.safetensors", "b.bin"]


def test_memory_is_reused_and_grows_when_needed():
    """A second snapshot of the same size takes no new memory; a larger one does, once."""
    arena = SnapshotArena()
    assert arena.nbytes == 0
    take(arena, state())
    first, size = arena._memory, arena.nbytes
    take(arena, state())
    assert arena._memory is first
    large = {"model": {"w": torch.zeros(100_000)}, "meta": {}}
    take(arena, large)
    assert arena.nbytes > max(size, 400_000 - 1)
    grown = arena._memory
    take(arena, state())
    assert arena._memory is grown


def test_a_budget_is_kept():
    """A state fits if its files, each in whole pages, keep within the budget."""
    files = component_files(flatten({"model": {"w": torch.zeros(1025)}, "meta": {}}))
    assert SnapshotArena(2 * 4096).has_room(files)
    assert not SnapshotArena(2 * 4096 - 1).has_room(files)
    assert SnapshotArena().has_room(files)
    assert SnapshotArena(0).has_room([])
    with pytest.raises(ConfigurationError, match="memory_budget_bytes"):
        SnapshotArena(-1)


def test_a_state_without_tensors_takes_a_page():
    """There may be nothing to copy."""
    tree, files = take(SnapshotArena(), {"meta": {"n": 1}, "more": {"m": "x"}})
    assert state_of(tree, files) == {"meta": {"n": 1}, "more": {"m": "x"}}


def device_state(devices):
    """Tensors on two devices and on the host, of every awkward kind."""
    first, second = devices
    base = first.own(torch.arange(6.0))
    return {
        "model": {
            "a": base,
            "tied": base,
            "t": second.own(torch.arange(12.0).view(3, 4).t()),
            "scalar": first.own(torch.tensor(3, dtype=torch.int64)),
            "empty": torch.empty(0, 3),
            "host": torch.full((5,), 7.0),
            "host_t": torch.arange(4.0).view(2, 2).t(),
        },
        "optimizer": {"exp": second.own(torch.ones(3, dtype=torch.bfloat16)), "host": torch.zeros(2)},
    }


def test_tensors_of_devices_are_enqueued_first_and_waited_for_once(devices, monkeypatch):
    """All copies of all files are under way before the host's tensors are copied, in one call, and before any wait."""
    copy_buffers = _native.copy_buffers

    def copy_and_tell(memory, offsets, sources):
        devices[0].log.append(f"host {len(sources)}")
        copy_buffers(memory, offsets, sources)

    monkeypatch.setattr(_native, "copy_buffers", copy_and_tell)
    arena = SnapshotArena()
    tree, files = take(arena, device_state(devices))
    assert devices[0].log == [
        *("gpu0 pin", "gpu0 follow", "gpu0 copy", "gpu1 follow", "gpu1 copy", "gpu0 copy", "gpu1 copy"),
        "host 2",
        *("gpu0 wait", "gpu1 wait"),
    ]
    copy = state_of(tree, files)
    for component, tensors in device_state(devices).items():
        for name, tensor in tensors.items():
            assert torch.equal(copy[component][name], tensor), name
    arena.close()


def test_a_state_that_is_not_copied_can_be_had_from_devices_too(devices):
    """A save in the foreground leaves the tensors where they are; the state that it stores is on the host."""
    flat = flatten(device_state(devices))
    value = state_of(flat.tree, component_files(flat))
    for component, tensors in device_state(devices).items():
        for name, tensor in tensors.items():
            assert torch.equal(value[component][name], tensor), name


def test_what_training_changes_after_a_snapshot_of_a_device_is_not_in_it(devices):
    """The values are those at the call."""
    value = device_state(devices)
    arena = SnapshotArena()
    tree, files = take(arena, value)
    value["model"]["a"].fill_(9)
    value["model"]["host"].fill_(9)
    copy = state_of(tree, files)
    assert copy["model"]["tied"].tolist() == [0, 1, 2, 3, 4, 5]
    assert copy["model"]["host"].tolist() == [7.0] * 5
    arena.close()


def test_memory_is_locked_once_until_it_is_resized_or_closed(devices):
    """Reuse locks nothing again; larger memory is locked anew, after the old is unlocked."""
    arena, log = SnapshotArena(), devices[0].log
    for _ in range(2):
        take(arena, device_state(devices))
    assert [line for line in log if "pin" in line] == ["gpu0 pin"]
    large = {"model": {"w": devices[1].own(torch.zeros(100_000))}, "meta": {}}
    take(arena, large)
    assert [line for line in log if "pin" in line] == ["gpu0 pin", "gpu0 unpin", "gpu1 pin"]
    arena.close()
    arena.close()
    assert [line for line in log if "pin" in line] == ["gpu0 pin", "gpu0 unpin", "gpu1 pin", "gpu1 unpin"]
    assert arena.nbytes == 0


def test_old_memory_is_given_back_before_more_is_taken(monkeypatch):
    """Both at once could be more than there is."""
    arena = SnapshotArena()
    take(arena, state())
    held = []
    make = snapshot.HostMemory
    monkeypatch.setattr(snapshot, "HostMemory", lambda nbytes: held.append(arena.nbytes) or make(nbytes))
    take(arena, {"model": {"w": torch.zeros(100_000)}, "meta": {}})
    assert held == [0]


def test_a_manager_saves_from_devices_and_unlocks_its_memory_when_it_closes(devices, tmp_path):
    """The checkpoint has the values at the call, and nothing stays locked for a manager that is closed."""
    value = device_state(devices)
    manager = mc.CheckpointManager(tmp_path, experiment="e", progress=False)
    manager.track(model=value["model"], optimizer=value["optimizer"])
    for step in range(2):
        handle = manager.save(step)
        value["model"]["a"].add_(1)
        handle.result()
        assert manager.load(step)["model"]["tied"].tolist() == [step + n for n in range(6)]
    assert devices[0].log.count("gpu0 pin") == 1
    assert devices[0].locked
    manager.close()
    assert not devices[0].locked
    assert devices[0].log.count("gpu0 unpin") == 1


def test_a_device_that_fails_fails_one_save(devices, tmp_path):
    """The error reaches the caller at once, nothing is saved, and the next save is as if it had not been."""
    value = device_state(devices)
    with mc.CheckpointManager(tmp_path, experiment="e", progress=False) as manager:
        manager.track(model=value["model"], optimizer=value["optimizer"])
        manager.save(0).result()
        devices[1].fails_at = 1
        with pytest.raises(RuntimeError, match="gpu1 broke"):
            manager.save(1)
        assert not devices[0].locked
        manager.save(2).result()
        assert [checkpoint.step for checkpoint in manager.list()] == [2, 0]
    assert devices[0].in_flight == devices[1].in_flight == 0


def test_a_state_of_the_host_locks_nothing(devices):
    """Without a tensor on a device there is no reason to lock memory."""
    take(SnapshotArena(), state())
    assert devices[0].log == []


@pytest.mark.parametrize("at", [1, 2])
def test_memory_that_a_device_failed_on_is_given_up(devices, at):
    """If a copy cannot be enqueued, the others are waited for, the memory is unlocked, and the next snapshot works."""
    arena = SnapshotArena()
    devices[1].fails_at = at
    with pytest.raises(RuntimeError, match="gpu1 broke"):
        take(arena, device_state(devices))
    assert devices[0].in_flight == devices[1].in_flight == arena.nbytes == 0
    assert devices[0].log[-1] == "gpu0 unpin"
    assert {"gpu0 wait", "gpu1 wait"} <= set(devices[0].log)
    tree, files = take(arena, device_state(devices))
    assert state_of(tree, files)["optimizer"]["exp"].tolist() == [1, 1, 1]
    arena.close()


def test_memory_that_cannot_be_locked_is_used_all_the_same(devices):
    """A save does not fail for want of locked memory."""
    devices[0].refuses = True
    tree, files = take(SnapshotArena(), device_state(devices))
    assert state_of(tree, files)["model"]["a"].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_takes_memory_of_its_own(devices):
    """It does not touch what its parent has locked; the parent's is as it was."""
    arena = SnapshotArena()
    _, files = take(arena, device_state(devices))
    inherited = arena._memory
    pid = os.fork()
    if pid == 0:
        ok = False
        try:
            tree, mine = take(arena, state())
            ok = state_of(tree, mine)["model"]["a"].tolist() == [0, 1, 2, 3, 4, 5] and arena._memory is not inherited
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert arena._memory is inherited
    assert inherited.is_locked
    assert bytes(files[0].sources[0]) == torch.arange(6.0).numpy().tobytes()
    arena.close()
